import json
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from nucleus_dags.local import servers
from nucleus_dags.local.home import Home
from nucleus_dags.local.processes import ServersError
from nucleus_dags.upkeep import backup, home_files
from nucleus_dags.upkeep.archive import Archive
from nucleus_dags.upkeep.errors import UpkeepError
from nucleus_dags.upkeep.installation import Installation, of_home
from nucleus_dags.upkeep.restore import restore


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """A home with a result, records, a plate in the inbox and both databases."""
    monkeypatch.setenv("NUCLEUS_INBOX_QUIET_S", "0")
    folder = tmp_path / "home"
    Home(folder).make_folders()
    write(folder / "store/score/0123456789abcdef/f1.csv", "0.9")
    write(folder / "store/score/0123456789abcdef/result.json", "{}")
    write(folder / "store/arrivals/plate/1.json", "{}")
    write(folder / "store/retired/plate/000001.json", "{}")
    write(folder / "store/dag_runs/dag/run/1.json", "{}")
    write(folder / "inbox/plate/plate.json", "{}")
    write(folder / "mlflow/artifacts/1/a/report.html", "a report")
    for name in ("airflow", "mlflow"):
        with closing(sqlite3.connect(folder / name / f"{name}.db")) as database, database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE rows (number INTEGER)")
    return of_home(folder)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith((".db", "-wal", "-shm"))]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_restored_home_has_all_that_was_there(home: Installation, tmp_path: Path) -> None:
    write(home.folder / "store/score/.0123456789abcdef.lock", "")
    write(home.folder / "store/score/.fedcba9876543210.partial/output/f1.csv", "half")
    backup.save(home, tmp_path / "to")
    new = of_home(tmp_path / "new")
    restore(Archive(tmp_path / "to"), new, None, False)
    expected = content(home.folder)
    assert {name for name in expected if name not in content(new.folder)} == {
        "store/score/.0123456789abcdef.lock",
        "store/score/.fedcba9876543210.partial/output/f1.csv",
    }
    assert content(new.folder).items() <= expected.items()
    assert sqlite3.connect(new.folder / "mlflow/mlflow.db").execute("SELECT count(*) FROM rows").fetchone() == (0,)


def test_folders_of_restored_results_have_the_times_of_their_results(home: Installation, tmp_path: Path) -> None:
    result = "store/score/0123456789abcdef/result.json"
    os.utime(home.folder / result, (1000, 1000))
    backup.save(home, tmp_path / "to")
    new = of_home(tmp_path / "new")
    restore(Archive(tmp_path / "to"), new, None, False)
    assert (new.folder / result).parent.stat().st_mtime == 1000


def test_what_is_there_is_not_copied_again(
    home: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(backup, "new_name", iter(("1", "2")).__next__)
    backup.save(home, tmp_path / "to")
    write(home.folder / "store/score/fedcba9876543210/f1.csv", "0.8")
    capsys.readouterr()
    backup.save(home, tmp_path / "to")
    assert "\n3 files, 0.00 GB, were copied" in capsys.readouterr().out  # It, and both databases.
    assert Archive(tmp_path / "to").names() == ["1", "2"]


def test_a_database_that_is_written_to_meanwhile_is_copied_as_of_one_moment(home: Installation, tmp_path: Path) -> None:
    stop = threading.Event()

    def write_pairs() -> None:
        with closing(sqlite3.connect(home.folder / "airflow/airflow.db", timeout=60)) as database:
            number = 0
            while not stop.is_set():
                number += 1
                with database:
                    database.executemany("INSERT INTO rows VALUES (?)", [(number,)] * 2)

    thread = threading.Thread(target=write_pairs)
    thread.start()
    try:
        backup.save(home, tmp_path / "to")
    finally:
        stop.set()
        thread.join()
    restore(Archive(tmp_path / "to"), of_home(tmp_path / "new"), None, False)
    with closing(sqlite3.connect(tmp_path / "new/airflow/airflow.db")) as database:
        pairs = database.execute("SELECT count(*), 2 * count(DISTINCT number) FROM rows").fetchone()
    assert pairs[0] == pairs[1]


def test_databases_name_nothing_that_the_backup_lacks(
    home: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    keep = Archive.keep

    def seen(archive: Archive, source: Path, path: str) -> object:
        order.append(path)
        return keep(archive, source, path)

    monkeypatch.setattr(Archive, "keep", seen)
    backup.save(home, tmp_path / "to")
    *records, airflow, mlflow, receipt = order[:5]
    assert records == ["store/arrivals/plate/1.json", "store/retired/plate/000001.json"]
    assert (airflow, mlflow) == ("airflow/airflow.db", "mlflow/mlflow.db")
    assert receipt.startswith("store/dag_runs/")


def test_a_result_that_comes_while_results_are_listed_comes_with_what_it_was_made_from(
    home: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, list_results = [], home_files._results

    def another(folder: Path) -> frozenset[str]:
        found = list_results(folder)
        listed.append(found)
        if len(listed) == 1:
            write(folder / "store/augment/1111111111111111/rois", "")
            write(folder / "store/train/2222222222222222/result.json", "")
        return found

    monkeypatch.setattr(home_files, "_results", another)
    files = home_files.list_rest(home.folder, ()).files
    assert {"store/augment/1111111111111111/rois", "store/train/2222222222222222/result.json"} <= set(files)
    assert len(listed) == 3


def test_the_names_of_segmented_plates_are_restored_and_lead_to_what_is_restored(
    home: Installation, tmp_path: Path
) -> None:
    write(home.folder / "store/assemble_plate/0123456789abcdef/labels/a.tif", "labels")
    name_plate(home.folder, "v3", "0123456789abcdef")
    saved = backup.save(home, tmp_path / "to")
    assert [file.path for file in saved.files if file.path.startswith("results/")] == []
    new = of_home(tmp_path / "elsewhere" / "new")
    restore(Archive(tmp_path / "to"), new, None, False)
    assert (new.folder / "results/plate/v3/labels/a.tif").read_text() == "labels"
    assert (new.folder / "results/plate/v3").readlink() == Path("../../store/assemble_plate/0123456789abcdef")


def test_a_plate_that_is_named_while_a_backup_is_made_has_no_name_without_its_result(
    home: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = home_files._results

    def then_another(folder: Path) -> frozenset[str]:
        found = listed(folder)
        key = "fedcba9876543210"
        if not (folder / "results/plate").exists():
            write(folder / f"store/assemble_plate/{key}/labels/a.tif", "labels")
            name_plate(folder, "v4", key)
        return found

    monkeypatch.setattr(home_files, "_results", then_another)
    backup.save(home, tmp_path / "to")
    new = of_home(tmp_path / "new")
    restore(Archive(tmp_path / "to"), new, None, False)
    assert [link for link in new.folder.glob("results/*/*") if not link.exists()] == []


def name_plate(folder: Path, model: str, key: str) -> None:
    (folder / "results/plate").mkdir()
    (folder / "results/plate" / model).symlink_to(f"../../store/assemble_plate/{key}")


def test_a_plate_that_is_still_being_copied_is_left_out_and_named(
    home: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUCLEUS_INBOX_QUIET_S", "3600")
    made = backup.save(home, tmp_path / "to")
    assert not any(file.path.startswith("inbox/plate") for file in made.files)
    assert made.left_out == [
        "inbox/plate changed lately, and may have been half of a plate; back up again when it is quiet."
    ]


def test_uploads_that_were_not_handed_over_are_left_out(home: Installation, tmp_path: Path) -> None:
    write(home.folder / "inbox/.uploads/0123456789abcdef/p/images/a.tif", "pixels")
    made = backup.save(home, tmp_path / "to")
    assert [file.path for file in made.files if file.path.startswith("inbox/")] == ["inbox/plate/plate.json"]


def test_a_result_that_is_not_what_its_task_wrote_is_named(home: Installation, tmp_path: Path) -> None:
    write(home.folder / "store/score/0123456789abcdef/files.json", json.dumps({"f1.csv": "0" * 64}))
    made = backup.save(home, tmp_path / "to")
    assert made.left_out == ["store/score/0123456789abcdef/f1.csv isn't what its task wrote; see `make check-store`."]


def damaged(folder: Path, text: bytes) -> None:
    [path] = [path for path in (folder / "objects").rglob("*") if path.is_file() and path.read_bytes() == text]
    path.write_bytes(text[::-1])


def test_a_damaged_backup_is_refused_before_anything_is_written(home: Installation, tmp_path: Path) -> None:
    backup.save(home, tmp_path / "to")
    damaged(tmp_path / "to", b"a report")
    with pytest.raises(
        UpkeepError, match=r"1 of 9 files, such as mlflow/artifacts/1/a/report.html. Nothing was restored"
    ):
        restore(Archive(tmp_path / "to"), of_home(tmp_path / "new"), None, False)
    assert not (tmp_path / "new").exists()
    restore(Archive(tmp_path / "to"), of_home(tmp_path / "new"), None, True)
    assert not (tmp_path / "new/mlflow/artifacts/1/a/report.html").exists()
    assert (tmp_path / "new/mlflow/mlflow.db").exists()


def test_what_is_damaged_in_a_backup_is_copied_anew_by_the_next_one(
    home: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "new_name", iter(("1", "2")).__next__)
    backup.save(home, tmp_path / "to")
    damaged(tmp_path / "to", b"a report")
    backup.save(home, tmp_path / "to")
    restore(Archive(tmp_path / "to"), of_home(tmp_path / "new"), None, False)
    assert (tmp_path / "new/mlflow/artifacts/1/a/report.html").read_text() == "a report"


def test_a_list_that_is_damaged_is_refused_with_the_one_before(
    home: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "new_name", iter(("1", "2")).__next__)
    backup.save(home, tmp_path / "to")
    backup.save(home, tmp_path / "to")
    (tmp_path / "to/backups/2.json.gz").write_bytes(b"")
    with pytest.raises(UpkeepError, match=r"backup 2 .* can't be read .*AT=1"):
        restore(Archive(tmp_path / "to"), of_home(tmp_path / "new"), None, False)


def test_nothing_is_restored_over_what_is_there(home: Installation, tmp_path: Path) -> None:
    backup.save(home, tmp_path / "to")
    before = content(home.folder)
    with pytest.raises(UpkeepError, match=r"isn't empty, and nothing there is overwritten"):
        restore(Archive(tmp_path / "to"), home, None, False)
    assert content(home.folder) == before


def test_a_restoration_that_was_broken_off_lets_no_servers_start_and_goes_on(
    home: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup.save(home, tmp_path / "to")
    with monkeypatch.context() as broken_off:
        broken_off.setattr(os, "sync", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            restore(Archive(tmp_path / "to"), of_home(tmp_path / "new"), None, False)
    with pytest.raises(ServersError, match="isn't restored whole"):
        servers.up(Home(tmp_path / "new"))
    restore(Archive(tmp_path / "to"), of_home(tmp_path / "new"), None, False)
    assert not Home(tmp_path / "new").is_half_restored
    assert content(tmp_path / "new") == content(home.folder)


def test_a_backup_into_the_home_itself_is_refused(home: Installation) -> None:
    with pytest.raises(UpkeepError, match="give a folder elsewhere"):
        backup.save(home, home.folder / "backups")
