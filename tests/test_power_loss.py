"""What is in the store after a power loss at any moment: a result that is whole, or none."""

import logging
from pathlib import Path
from typing import Any

import pytest

from tasks.contract import Result, Task, TaskParams, execute, remove_result
from tasks.files import move, seal, sha256_of_all, written_whole
from tasks.steps import ingest, segment
from tasks.store.check import Finding, check
from tasks.store.contents import look_into
from tests.bright_pieces import NETWORK, segment_with_it
from tests.plates import make_plate, two_squares
from tests.power import Disk

IMAGE, LABEL_IMAGE = two_squares()
FIELDS = ("a", "b", "c")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "lab"
    images, labels = dict.fromkeys(FIELDS, IMAGE), dict.fromkeys(FIELDS, LABEL_IMAGE)
    for plate in (folder / "plate", folder / "store" / ".plate"):
        make_plate(plate, images, labels, role="test", name="plate")
    segment_with_it(folder / "store", monkeypatch)
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    (folder / "made" / "deep").mkdir(parents=True)
    return folder


def test_a_result_that_gets_its_name_before_it_is_on_the_disk_is_noticed(work, tmp_path, monkeypatch):
    disk = Disk(work, monkeypatch)
    (work / "made" / "deep" / "labels.tif").write_text("labels")
    move(work / "made", work / "sealed")
    disk.copy(tmp_path / "left")
    disk.close()
    assert disk.lost == [f"{work}/sealed/deep/", f"{work}/sealed/deep/labels.tif"]
    assert list((tmp_path / "left" / "sealed" / "deep").iterdir()) == []


def test_a_sealed_folder_is_on_the_disk_with_all_that_is_in_it(work, tmp_path, monkeypatch):
    disk = Disk(work, monkeypatch)
    (work / "made" / "deep" / "labels.tif").write_text("labels")
    seal(work / "made", work / "sealed")
    disk.copy(tmp_path / "left")
    disk.close()
    assert disk.lost == []
    assert sha256_of_all(tmp_path / "left" / "sealed") == sha256_of_all(work / "sealed")


def test_a_file_that_is_written_whole_is_the_old_or_the_new_one_at_any_moment(work, tmp_path, monkeypatch):
    (work / "a.json").write_text("old")
    disk = Disk(work, monkeypatch)
    disk.copy_at_renames(tmp_path / "left")
    with written_whole(work / "a.json") as beside:
        beside.write_text("new")
        disk.copy(tmp_path / "before")
    disk.close()
    assert (tmp_path / "before" / "a.json").read_text() == "old"
    assert (tmp_path / "left" / "1" / "a.json").read_text() == "new"


def outcome_of(work: tuple[Task[Any], TaskParams], lab: Path) -> tuple[Result, str]:
    """Run a task; gives its result and a hash of all its files but those that have a time in them."""
    task, params = work
    result = execute(task, params, lab / "store")
    folder = lab / "store" / task.name / result.key
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"]
    return result, " ".join(f"{path.relative_to(folder)} {sha256_of_all(path)}" for path in sorted(files))


def imported(lab: Path) -> tuple[Task[Any], TaskParams]:
    return ingest.TASK, ingest.Params(folder=str(lab / "plate"))


def segmented(lab: Path) -> tuple[Task[Any], TaskParams]:
    return segment.TASK, segment.Params(method="fpn2_ws", networks=[NETWORK], plate=".plate")


def is_work(finding: Finding) -> bool:
    """Whether it is about a folder of work that isn't finished, or the network or plate, which are none of a task's."""
    return any(name.startswith(".") or name == "network" for name in Path(finding.path).parts)


@pytest.mark.parametrize("task", [imported, segmented])
def test_after_a_power_loss_at_any_moment_a_result_is_whole_or_not_there_and_is_made_as_ever(
    lab, tmp_path, monkeypatch, caplog, task
):
    caplog.set_level(logging.ERROR)
    with monkeypatch.context() as recorded:
        disk = Disk(lab, recorded)
        disk.copy_at_renames(tmp_path / "left")
        expected, files = outcome_of(task(lab), lab)
        disk.copy(tmp_path / "left" / "end")
        disk.close()
    left = sorted((tmp_path / "left").iterdir())
    assert len(left) > (5 if task is segmented else 1)
    whole = 0
    for lab_then in left:
        contents = look_into(lab_then / "store")
        assert [found for found in check(contents, {}, 30) if found.kind != "orphaned" and not is_work(found)] == []
        whole += bool(contents.results)
        result, files_then = outcome_of(task(lab_then), lab_then)
        assert (result.counts, result.values, files_then) == (expected.counts, expected.values, files)
    assert whole


def test_a_result_that_is_removed_is_gone_or_whole_at_any_moment(lab, tmp_path, monkeypatch):
    result = execute(*imported(lab), lab / "store")
    disk = Disk(lab, monkeypatch)
    remove_result(lab / "store" / "ingest" / result.key)
    disk.copy(tmp_path / "left")
    disk.close()
    assert not (tmp_path / "left" / "store" / "ingest" / result.key).exists()
