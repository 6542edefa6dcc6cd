"""Files of an earlier try that are damaged: the work is done again, with a warning, and the result is as ever."""

import json
import shutil
from pathlib import Path

import h5py
import pytest

from tasks.contract import Outcome, Task, TaskParams, Workspace, execute, read_result
from tasks.file_hashes import write_hashes
from tasks.nuclei.errors import InputError
from tasks.steps import segment
from tests.bright_pieces import NETWORK, segment_with_it
from tests.plates import make_plate, two_squares


class Params(TaskParams):
    pass


def write_files(params: Params, workspace: Workspace) -> Outcome:
    (workspace.output_dir / "lines.txt").write_text("lines")
    (workspace.output_dir / "empty.txt").touch()
    (workspace.output_dir / "history.json").write_text('{"loss": 0.5}')
    with h5py.File(workspace.output_dir / "weights.h5", "w") as file:
        file["weights"] = list(range(1000))
    return Outcome({"folder": "."}, {}, {})


TASK = Task("write_files", 1, Params, write_files)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *(("result.json", damage) for damage in (cut, empty, Path.unlink)),
        *(("files.json", damage) for damage in (cut, empty)),
        *(("history.json", damage) for damage in (cut, empty, Path.unlink)),
        *(("weights.h5", damage) for damage in (cut, empty, Path.unlink)),
        *(("lines.txt", damage) for damage in (empty, Path.unlink)),
    ],
)
def test_a_stored_result_that_lost_something_is_made_anew_with_a_warning(tmp_path, caplog, name, damage):
    folder = tmp_path / "write_files" / execute(TASK, Params(), tmp_path).key
    damage(folder / name)
    result = execute(TASK, Params(), tmp_path)
    assert not result.reused
    assert f"{folder}: {name} is missing or damaged, maybe since the power went; the result is made anew" in caplog.text
    assert read_result(folder) == result
    assert execute(TASK, Params(), tmp_path).reused


def test_a_whole_result_and_one_of_before_there_were_hashes_are_reused(tmp_path, caplog):
    folder = tmp_path / "write_files" / execute(TASK, Params(), tmp_path).key
    (folder / "files.json").unlink()
    assert execute(TASK, Params(), tmp_path).reused
    assert caplog.text == ""


@pytest.mark.parametrize("damage", [cut, empty, Path.unlink])
def test_a_damaged_result_of_before_there_were_hashes_is_made_anew_too(tmp_path, damage):
    folder = tmp_path / "write_files" / execute(TASK, Params(), tmp_path).key
    (folder / "files.json").unlink()
    damage(folder / "result.json")
    assert not execute(TASK, Params(), tmp_path).reused


def test_a_result_of_a_later_version_is_whole_and_stays(tmp_path):
    folder = tmp_path / "write_files" / execute(TASK, Params(), tmp_path).key
    later = json.loads((folder / "result.json").read_text()) | {"new": 1}
    (folder / "result.json").write_text(json.dumps(later))
    (folder / "files.json").unlink()
    write_hashes(folder)
    with pytest.raises(InputError, match="of a later version of the pipeline"):
        execute(TASK, Params(), tmp_path)
    assert json.loads((folder / "result.json").read_text()) == later


def test_a_damaged_result_of_another_task_is_named_with_what_to_do(tmp_path):
    folder = tmp_path / "write_files" / execute(TASK, Params(), tmp_path).key
    empty(folder / "result.json")
    with pytest.raises(InputError, match=r"result.json is damaged or .* run write_files with the same params"):
        read_result(folder)


def test_whatever_is_damaged_of_the_fields_that_are_done_they_are_segmented_as_ever(tmp_path, monkeypatch, caplog):
    image, label_image = two_squares()
    fields = dict.fromkeys("abc", image), dict.fromkeys("abc", label_image)
    whole, store = tmp_path / "whole", tmp_path / "store"
    make_plate(store / "plate", *fields, role="test")
    segment_with_it(store, monkeypatch)
    cut_image, pixels = store / "plate/images/c.tif", (store / "plate/images/c.tif").read_bytes()
    cut(cut_image)
    params = segment.Params(method="fpn2_ws", networks=[NETWORK], plate="plate")
    with pytest.raises(InputError, match="1 of 3 fields failed, the others are done"):
        execute(segment.TASK, params, store)
    cut_image.write_bytes(pixels)
    shutil.copytree(store, whole)
    expected = segmented(store, params)

    names = [path.relative_to(whole) for path in whole.glob("segment/.*.partial/checkpoint/**/*") if path.is_file()]
    assert {path.suffix for path in names} == {".csv", ".json", ".tif"}
    assert len(names) == 7
    for number, (name, damage) in enumerate((name, damage) for name in names for damage in (cut, empty)):
        damaged = tmp_path / str(number)
        shutil.copytree(whole, damaged)
        damage(damaged / name)
        caplog.clear()
        assert segmented(damaged, params) == expected
        assert "an earlier try left" in caplog.text, name


def segmented(store: Path, params: segment.Params) -> dict[str, bytes]:
    """Segment; gives the content of all files but those with times in them."""
    folder = store / execute(segment.TASK, params, store).outputs["segmentation"]
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert set(json.loads(files.pop("files.json"))) == {*files}
    files.pop("result.json")
    return files
