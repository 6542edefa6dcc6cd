"""What DAGs and the page write is there after a power loss, whole, from the moment when somebody is told so."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nucleus_dags.files import write_whole
from nucleus_dags.planning.gate import change_gate, changes
from nucleus_dags.planning.send_to_annotation import lay_out
from nucleus_dags.plates.inbox import judge, set_aside
from nucleus_dags.plates.uploads import (
    ROOTS,
    hand_over,
    hand_over_labels,
    new_upload,
    receiving,
    take_folder,
    unpack,
    write_plate_json,
)
from nucleus_dags.upkeep.archive import Archive
from tests.power import Disk

FILES = {"images/a.tif": b"an image", "labels/deep/a.tif": b"its labels"}
REQUEST = "0123456789abcdef"


def sent_one_by_one(inbox: Path, folder: Path) -> None:
    for name, content in FILES.items():
        with receiving(folder, name) as file:
            file.write(content)


def sent_as_archive(inbox: Path, folder: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    with receiving(folder, "plate.zip") as file:
        file.write(packed.getvalue())
    unpack(folder, "plate.zip")


def taken_from_the_server(inbox: Path, folder: Path) -> None:
    source = inbox.parent / "microscope"
    for name, content in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    take_folder(inbox, folder, str(source))


def copied_from_the_server(inbox: Path, folder: Path) -> None:
    def other_disk(*args: object, **options: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    with pytest.MonkeyPatch.context() as disks:
        disks.setattr(os, "link", other_disk)
        taken_from_the_server(inbox, folder)


WAYS = [sent_one_by_one, sent_as_archive, taken_from_the_server, copied_from_the_server]


@pytest.fixture
def disk(tmp_path: Path, inbox: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    monkeypatch.setenv(ROOTS, str(tmp_path))
    disk = Disk(tmp_path, monkeypatch)
    yield disk
    disk.close()


@pytest.fixture
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a power loss leaves what it leaves."""
    return tmp_path_factory.mktemp("left")


def after_power_loss(disk: Disk, path: Path, left: Path) -> Path:
    disk.copy(left / "now")
    return left / "now" / path.relative_to(disk.folder)


@pytest.mark.parametrize("put", WAYS)
def test_a_plate_that_was_handed_over_is_whole_after_a_power_loss_at_any_moment(
    disk: Disk, inbox: Path, store: Path, put: Callable[[Path, Path], None], left: Path
) -> None:
    disk.copy_at_renames(left)
    upload = new_upload(inbox, "p")
    put(inbox, upload.folder)
    write_plate_json(upload.folder, {"name": "p", "role": "screen"})
    hand_over(inbox, upload.id, store)
    assert disk.lost == []
    plates = [copy / "inbox/p" for copy in left.iterdir() if (copy / "inbox/p").exists()]
    assert plates
    for plate in plates:
        assert {name: (plate / name).read_bytes() for name in FILES} == FILES
        assert (plate / "DONE").exists()
        assert (plate / "plate.json").read_text() == (inbox / "p/plate.json").read_text()


@pytest.mark.parametrize("put", [sent_one_by_one, sent_as_archive, copied_from_the_server])
def test_a_file_of_an_upload_that_has_its_name_is_whole(
    disk: Disk, inbox: Path, put: Callable[[Path, Path], None], left: Path
) -> None:
    disk.copy_at_renames(left)
    put(inbox, new_upload(inbox, "p").folder)
    assert disk.lost == []
    found = [path for copy in left.iterdir() for path in (copy / "inbox").rglob("a.tif")]
    assert found
    assert {path.read_bytes() for path in found} <= set(FILES.values())


def test_labels_that_were_handed_over_are_whole(disk: Disk, inbox: Path, store: Path, left: Path) -> None:
    (store / "send_to_annotation" / REQUEST).mkdir(parents=True)
    upload = new_upload(inbox, "returned")
    for number in range(2):
        with receiving(upload.folder, f"labels/{number}_annotation-{REQUEST}.tif") as file:
            file.write(b"labels")
    folder, _ = hand_over_labels(inbox, upload.id, store)
    assert disk.lost == []
    assert [path.read_bytes() for path in after_power_loss(disk, folder, left).rglob("*.tif")] == [b"labels"] * 2


def test_the_first_change_of_the_gate_is_there(disk: Disk, store: Path, left: Path) -> None:
    change_gate(store, {"most_loss": 0.02}, "A stricter screen.", "anna", datetime(2026, 7, 1, tzinfo=UTC), "run")
    assert changes(after_power_loss(disk, store, left)) == changes(store)


def test_a_record_in_folders_that_were_not_there_is_there(disk: Disk, store: Path, left: Path) -> None:
    write_whole(store / "arrivals/deep/p.json", {"plate": "p"})
    assert (after_power_loss(disk, store, left) / "arrivals/deep/p.json").exists()


def test_a_plate_that_was_set_aside_is_there_with_the_reason(disk: Disk, inbox: Path, store: Path, left: Path) -> None:
    (inbox / "p").mkdir()
    write_plate_json(inbox / "p", {"name": "p", "role": "screen"})
    arrival = judge(inbox / "p", 0)
    assert arrival is not None
    report = set_aside(arrival, store, "It has no images.")  # type: ignore[arg-type]
    rejected = after_power_loss(disk, inbox, left) / "rejected"
    assert (rejected / report.name).read_text() == report.read_text()
    assert (rejected / report.stem / "plate.json").exists()


def test_what_is_laid_out_to_be_annotated_is_whole(disk: Disk, inbox: Path, store: Path, left: Path) -> None:
    (store / "request.zip").write_bytes(b"images")
    copy = lay_out(store / "request.zip", inbox)
    assert disk.lost == []
    assert after_power_loss(disk, copy, left).read_bytes() == b"images"


def test_what_a_backup_keeps_is_there(disk: Disk, tmp_path: Path, left: Path) -> None:
    (tmp_path / "database").write_bytes(b"rows")
    archive = Archive(tmp_path / "backups of the laboratory")
    archive.prepare()
    kept = archive.keep(tmp_path / "database", "database")
    assert after_power_loss(disk, archive.object(kept.sha256), left).read_bytes() == b"rows"
