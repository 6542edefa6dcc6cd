"""The check of the store finds what is incomplete, altered or orphaned; the clean-up removes what nothing refers to."""

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks import tracking
from tasks.contract import Task, execute
from tasks.steps import ingest
from tasks.store import check as store_check
from tasks.store.contents import look_into, unreferenced
from tests.plates import make_plate, two_squares
from tests.repository import REPOSITORY
from tests.store_tasks import AUGMENT, REGISTER_MODEL, TRAIN_FPN, Params
from tests.tracked import track_in

DAY_S = 86_400


@pytest.fixture(autouse=True)
def without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """An empty store."""
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


def add(task: Task[Params], store: Path, *made_from: str, text: str = "text") -> str:
    """Run a task by hand; gives the name of its result."""
    return f"{task.name}/{execute(task, Params(made_from=made_from, text=text), store).key}"


def add_in_dag_run(task: Task[Params], store: Path, *made_from: str, days_ago: float = 0) -> str:
    """Run a task as a DAG does; gives the name of its result."""
    receipt = store / "dag_runs" / "dag" / f"run {days_ago} days ago" / task.name / "-1.json"
    result = execute(task, Params(made_from=made_from, text=f"{days_ago}"), store, receipt)
    set_age(receipt, days_ago)
    return f"{task.name}/{result.key}"


def add_plate(store: Path) -> str:
    image, label_image = two_squares()
    plate = make_plate(store.parent / "plate", {"a": image}, {"a": label_image})
    return execute(ingest.TASK, ingest.Params(folder=str(plate)), store).outputs["plate"]


def set_age(path: Path, days: float) -> None:
    then = time.time() - days * DAY_S
    os.utime(path, (then, then))


def findings(store: Path) -> list[tuple[str, str]]:
    """Kind and path of all findings, models in the store counted as registered unless MLflow is set."""
    contents = look_into(store)
    found = store_check.check(contents, store_check.registered_models(contents), keep_days=30)
    return [(finding.kind, finding.path) for finding in found]


def call(store: Path, *arguments: str) -> int:
    return store_check.main(["--store", str(store), *arguments])


def files(store: Path) -> set[str]:
    """All files but the locks."""
    paths = (path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())
    return {path for path in paths if not path.endswith(".lock")}


@contextmanager
def half_done(store: Path, go_on: Path) -> Iterator[subprocess.Popen]:
    """A process of the task augment that waits in the middle of its work until `go_on` is there."""
    command = [sys.executable, "-m", "tests.store_tasks", "--store", str(store), "--params", params_of(go_on)]
    process = subprocess.Popen(command, cwd=REPOSITORY)
    try:
        while not list(store.glob("augment/.*.partial/output/first.txt")):
            assert process.poll() is None
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def params_of(go_on: Path) -> str:
    return json.dumps({"waits_for": str(go_on)})


def test_in_a_whole_store_nothing_is_found(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plate = add_plate(store)
    rois = add_in_dag_run(AUGMENT, store, plate)
    add_in_dag_run(TRAIN_FPN, store, f"{rois}/first.txt")
    assert call(store) == 0
    assert capsys.readouterr().out == "3 results and 2 receipts: nothing found\n"


def test_what_dags_write_down_is_no_result_and_stays(store: Path) -> None:
    of_plates = ("arrivals/plate/0123456789abcdef.json", "retired/plate/000001.json", "skipped/plate.json")
    for name in (*of_plates, "retrainings/0123456789abcdef.json", "gates/000001.json"):
        (store / name).parent.mkdir(parents=True)
        (store / name).write_text("{}")
        set_age(store / name, 100)
    before = files(store)
    assert findings(store) == []
    assert call(store, "--clean", "--really") == 0
    assert files(store) == before


def test_how_old_something_is_is_told_by_the_clock_of_the_store(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = store / "dag_runs" / ".7.-1.json"
    beside.parent.mkdir()
    beside.write_text("")
    name = add(AUGMENT, store)
    now = time.time
    # This machine is two hours ahead: the file isn't old, and what comes after the look is no older than it.
    monkeypatch.setattr(time, "time", lambda: now() + 7200)
    contents = look_into(store)
    assert contents.half_written == []
    time.sleep(0.05)
    add(AUGMENT, store)
    store_check.clean(contents, [store_check.Removal(store / name, "nothing refers to it")], really=True)
    assert f"stays: {name}, since a task works with it" in capsys.readouterr().out


def test_a_task_killed_in_the_middle_leaves_its_partial_folder_and_nothing_else(store: Path, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    with half_done(store, go_on):
        pass
    [partial] = store.glob("augment/.*.partial")
    assert findings(store) == [("incomplete", f"augment/{partial.name}")]

    go_on.touch()
    receipt = store / "dag_runs" / "dag" / "run" / "augment" / "-1.json"
    arguments = ["--store", str(store), "--params", params_of(go_on), "--result", str(receipt)]
    assert AUGMENT.main(arguments) == 0
    assert findings(store) == []


def test_the_partial_folder_of_a_running_task_is_neither_named_nor_removed(store: Path, tmp_path: Path) -> None:
    with half_done(store, tmp_path / "go on") as process:
        assert findings(store) == []
        assert call(store, "--clean", "--really", "--keep-days", "0") == 0
        (tmp_path / "go on").touch()
        assert process.wait(30) == 0


@pytest.mark.parametrize("file", ["first.txt", "second.txt", "result.json"])
def test_a_changed_byte_of_a_result_is_found(store: Path, file: str) -> None:
    path = store / add_in_dag_run(AUGMENT, store) / file
    path.write_text(path.read_text().replace("augment", "augment ").replace("0", "1"))
    assert ("altered", path.relative_to(store).as_posix()) in findings(store)


def test_a_changed_byte_of_an_imported_plate_is_found(store: Path) -> None:
    path = store / add_plate(store) / "labels/a.tif"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    assert findings(store) == [("altered", path.relative_to(store).as_posix())]


def test_what_misses_a_file_is_incomplete(store: Path) -> None:
    names = [add_in_dag_run(AUGMENT, store, days_ago=number) for number in range(4)]
    for name, file in zip(names, ("first.txt", "second.txt", "result.json", "files.json"), strict=True):
        (store / name / file).unlink()
    expected = {f"{names[0]}/first.txt", f"{names[1]}/second.txt", names[2], names[3]}
    assert set(findings(store)) == {("incomplete", path) for path in expected}


def test_a_file_that_came_later_is_named_except_what_python_leaves(store: Path) -> None:
    folder = store / add_in_dag_run(AUGMENT, store)
    (folder / "third.txt").touch()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").touch()
    assert findings(store) == [("altered", f"augment/{folder.name}/third.txt")]


def test_a_result_under_the_key_of_another_is_named(store: Path) -> None:
    folder = store / add_in_dag_run(AUGMENT, store)
    shutil.copytree(folder, folder.with_name("0" * 16))
    assert ("altered", f"augment/{'0' * 16}") in findings(store)


def test_a_removed_input_is_named_with_what_was_made_from_it(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rois = add(AUGMENT, store)
    network = add_in_dag_run(TRAIN_FPN, store, f"{rois}/first.txt")
    shutil.rmtree(store / rois)
    assert call(store) == 1
    assert f"orphaned    {network}: it was made from {rois}, which isn't in the store; put" in capsys.readouterr().out


def test_a_receipt_without_its_result_is_named_and_removed(store: Path) -> None:
    shutil.rmtree(store / add_in_dag_run(AUGMENT, store, days_ago=2))
    assert findings(store) == [("orphaned", "dag_runs/dag/run 2 days ago/augment/-1.json")]
    assert call(store, "--clean", "--really") == 0
    assert list((store / "dag_runs").iterdir()) == []


def test_params_that_were_too_long_for_an_argument_are_no_receipt(store: Path) -> None:
    add_in_dag_run(AUGMENT, store)
    [receipt] = store.glob("dag_runs/*/*/*/*.json")
    receipt.with_suffix(".params").write_text("{}")
    assert [found.path for found in look_into(store).receipts] == [receipt]


def test_a_damaged_receipt_is_named(store: Path) -> None:
    add_in_dag_run(AUGMENT, store)
    [receipt] = store.glob("dag_runs/*/*/*/*.json")
    receipt.write_text("{")
    assert ("incomplete", receipt.relative_to(store).as_posix()) in findings(store)


@pytest.mark.parametrize("name", ["dag_runs/dag/run/augment/.123.-1.json", "arrivals/plate/0123456789abcdef.partial"])
def test_a_record_that_was_never_finished_is_named_after_an_hour(store: Path, name: str) -> None:
    left = store / name
    left.parent.mkdir(parents=True)
    left.touch()
    assert findings(store) == []
    set_age(left, days=0.1)
    assert findings(store) == [("incomplete", left.relative_to(store).as_posix())]
    assert call(store, "--clean", "--really") == 0
    assert not left.exists()


def test_what_nothing_refers_to_is_named(store: Path) -> None:
    rois = add(AUGMENT, store)
    network = add(TRAIN_FPN, store, rois)
    assert findings(store) == [("orphaned", rois), ("orphaned", network)]


def test_the_dry_run_lists_with_sizes_and_removes_nothing(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rois = add(AUGMENT, store, text="x" * 600_000)
    before = files(store)
    assert call(store, "--clean") == 0
    assert files(store) == before
    assert capsys.readouterr().out.splitlines() == [
        f"       1.8 MB  {rois}: nothing refers to it",
        "       1.8 MB  could be removed, and nothing was",
    ]


def test_the_clean_up_removes_what_nothing_refers_to_and_only_that(store: Path) -> None:
    plate = add_plate(store)
    rois = add(AUGMENT, store, plate)
    add_in_dag_run(TRAIN_FPN, store, f"{rois}/first.txt", days_ago=29)
    referred_to = files(store)
    old_rois = add(AUGMENT, store, plate, text="old")
    add_in_dag_run(TRAIN_FPN, store, old_rois, days_ago=31)
    assert call(store, "--clean", "--really") == 0
    assert files(store) == referred_to
    assert findings(store) == []


def test_a_segmented_plate_stays_with_what_it_was_made_from(store: Path) -> None:
    plate = add_plate(store)
    assembled = add(dataclasses.replace(AUGMENT, name="assemble_plate"), store, plate)
    assert call(store, "--clean", "--really") == 0
    assert (store / assembled).exists()
    assert findings(store) == []


def test_a_name_of_a_segmented_plate_that_leads_nowhere_is_named(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assembled = add(dataclasses.replace(AUGMENT, name="assemble_plate"), store, add_plate(store))
    for name, target in (("v3", assembled), ("v4", "assemble_plate/fedcba9876543210")):
        link = store.parent / "results" / "plate-7" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../store/{target}")
    assert findings(store) == [("orphaned", "results/plate-7/v4")]
    assert call(store) == 1
    assert "segment the plate again with this model, or remove the link" in capsys.readouterr().out


def test_the_clean_up_counts_nothing_under_the_names_of_segmented_plates_and_leaves_them(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assembled = add(dataclasses.replace(AUGMENT, name="assemble_plate"), store, add_plate(store))
    link = store.parent / "results/plate-7/v3"
    link.parent.mkdir(parents=True)
    link.symlink_to(f"../../store/{assembled}")
    assert call(store, "--clean", "--really") == 0
    assert (link / "result.json").exists()
    assert capsys.readouterr().out.split() == ["0.0", "MB", "removed"]


def test_receipts_count_as_many_days_as_are_asked_for(store: Path) -> None:
    name = add_in_dag_run(AUGMENT, store, days_ago=31)
    assert call(store, "--clean", "--really", "--keep-days", "32") == 0
    assert (store / name).exists()


def test_a_result_that_is_asked_for_while_the_clean_up_runs_stays(store: Path) -> None:
    name = add(AUGMENT, store)
    contents = look_into(store)
    unused = list(store_check.removals(contents, {}, keep_days=30))
    assert [removal.path for removal in unused] == [store / name]
    time.sleep(0.01)  # The clock of file systems ticks every few milliseconds.
    assert execute(AUGMENT, Params(), store).reused
    store_check.clean(contents, unused, really=True)
    assert (store / name / "result.json").exists()


def test_a_result_that_is_being_logged_to_mlflow_counts_as_referred_to(store: Path) -> None:
    unused: list[list[str]] = []
    task = dataclasses.replace(AUGMENT, log=lambda *_: unused.append(unreferenced(look_into(store), {}, 30)))
    name = add(task, store)
    assert unused == [[]]
    assert findings(store) == [("orphaned", name)]


def test_a_checkpoint_stays_as_long_as_a_receipt(store: Path, tmp_path: Path) -> None:
    with half_done(store, tmp_path / "go on"):
        pass
    [partial] = store.glob("augment/.*.partial")
    (partial / "checkpoint" / "cycle-3").touch()
    assert findings(store) == [("incomplete", partial.relative_to(store).as_posix())]
    assert call(store, "--clean", "--really") == 0
    assert (partial / "checkpoint" / "cycle-3").exists()
    for path in [partial, *partial.rglob("*")]:
        set_age(path, 31)
    assert call(store, "--clean", "--really") == 0
    assert not partial.exists()


def test_what_lies_behind_a_link_out_of_the_store_stays(store: Path, tmp_path: Path) -> None:
    name = add(AUGMENT, store)
    (store / "augment").rename(tmp_path / "elsewhere")
    (store / "augment").symlink_to(tmp_path / "elsewhere")
    assert findings(store) == [("orphaned", name)]
    assert call(store, "--clean", "--really") == 0
    assert (store / name / "result.json").exists()


def test_a_link_in_a_result_is_removed_and_not_followed(store: Path, tmp_path: Path) -> None:
    name = add(AUGMENT, store)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    (store / name / "link").symlink_to(tmp_path / "mine")
    set_age(store / name, 1)
    assert call(store, "--clean", "--really") == 0
    assert not (store / name).exists()
    assert (tmp_path / "mine" / "file").exists()


def test_without_mlflow_models_count_as_registered_and_nothing_is_cleaned_up(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(REGISTER_MODEL, store, add(TRAIN_FPN, store))
    rois = add(AUGMENT, store)
    assert findings(store) == [("orphaned", rois)]
    assert call(store, "--clean", "--really") == 2
    assert "only MLflow knows the registered models" in caplog.text
    assert (store / rois).exists()


def test_nothing_is_cleaned_up_while_a_history_is_broken(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    rois = add(AUGMENT, store)
    network = add_in_dag_run(TRAIN_FPN, store, rois)
    (store / network / "result.json").write_text("{")
    assert call(store, "--clean", "--really") == 2
    assert f"{network}: no readable result.json" in caplog.text
    assert (store / rois).exists()


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real MLflow in SQLite with an open run."""
    track_in(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("experiment", "dag run 1", "name"))


def register(model: str, store: Path) -> None:
    tracking.Run().register_model(store / model, Path(model).name, {}, "A model.")


@pytest.mark.usefixtures("mlflow")
def test_a_registered_model_keeps_its_whole_history_and_another_goes(store: Path) -> None:
    rois = add(AUGMENT, store, add_plate(store))
    model = add(REGISTER_MODEL, store, add(TRAIN_FPN, store, f"{rois}/first.txt"))
    register(model, store)
    referred_to = files(store)
    add(REGISTER_MODEL, store, add(TRAIN_FPN, store, rois))
    assert call(store, "--clean", "--really") == 0
    assert files(store) == referred_to
    assert findings(store) == []


@pytest.mark.usefixtures("mlflow")
def test_a_registered_model_that_the_store_lacks_is_named(store: Path) -> None:
    model = add(REGISTER_MODEL, store)
    register(model, store)
    shutil.rmtree(store / model)
    assert findings(store) == [("orphaned", "models:/nucleus-segmenter/1")]


def test_while_mlflow_is_away_nothing_is_checked_or_removed(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    rois = add(AUGMENT, store)
    assert call(store) == call(store, "--clean", "--really") == 2
    assert "doesn't answer" in caplog.text
    assert (store / rois).exists()


def test_a_store_that_is_not_there_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert call(tmp_path / "store") == 2
    assert "is no folder; give the one that holds all results" in caplog.text
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("arguments", [["--really"], ["--clean", "--keep-days", "-1"], ["--keep-days", "long"]])
def test_arguments_that_make_no_sense_are_refused(
    store: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        call(store, *arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err
