"""How corrected labels are told from everything else in the inbox."""

import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from nucleus_dags.plates import inbox
from nucleus_dags.plates.inbox import NoPlate, Returned
from nucleus_dags.plates.returned import request_in
from tests.limits import within_limits

KEY = "0123456789abcdef"
IMAGE = f"B02_f1.p03.annotation-{KEY}.png"


def make_zip(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def make_tar(path: Path, files: dict[str, str]) -> Path:
    folder = make_folder(path.with_suffix(""), files)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "export")
    return path


def make_folder(path: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


@pytest.mark.parametrize("made", [make_zip, make_tar, make_folder])
@pytest.mark.parametrize(
    "files",
    [
        pytest.param({f"ds/ann/{IMAGE}.json": "{}"}, id="in the name of a file"),
        pytest.param({"annotations.xml": f'<annotations><image name="{IMAGE}"/>'}, id="in the content of a file"),
    ],
)
def test_an_answer_is_known_by_the_names_of_images_whatever_it_is_called(
    made: Callable[[Path, dict[str, str]], Path], files: dict[str, str], tmp_path: Path
) -> None:
    assert request_in(made(tmp_path / "42_job (1).zip", files)) == KEY


def test_a_single_file_is_known_by_its_name_or_its_content(tmp_path: Path) -> None:
    labels, coco = tmp_path / f"B02_f1.annotation-{KEY}.tif", tmp_path / "instances_default.json"
    labels.touch()
    coco.write_text(f'{{"images": [{{"file_name": "{IMAGE}"}}]}}')
    assert request_in(labels) == request_in(coco) == KEY


@pytest.mark.parametrize("packed", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_archive_is_told_of_and_does_not_stop_the_inbox(packed: int, tmp_path: Path) -> None:
    whole = tmp_path / "export.zip"
    with zipfile.ZipFile(whole, "w", packed) as archive:
        archive.writestr("labels.json", "".join(f'{{"number": {number}}}' for number in range(10_000)))
    content = bytearray(whole.read_bytes())
    middle = len(content) // 2
    for changed in (slice(60, 90), slice(middle, middle + 30)):
        damaged = content.copy()
        damaged[changed] = b"\xff" * 30
        whole.write_bytes(damaged)
        assert isinstance(inbox.judge(whole, 0), NoPlate)


@pytest.mark.parametrize("name", ["plate.zip", "annotation-xyz.zip", "annotation.zip"])
def test_what_names_no_request_is_no_answer(name: str, tmp_path: Path) -> None:
    assert request_in(make_zip(tmp_path / name, {"images/a.tif": "pixels"})) is None


def test_an_archive_that_breaks_off_is_no_answer_unless_its_name_says_so(tmp_path: Path) -> None:
    whole = make_zip(tmp_path / "whole.zip", {IMAGE: "pixels"}).read_bytes()
    half, named = tmp_path / "half.zip", tmp_path / f"annotation-{KEY}.zip"
    for path in (half, named):
        path.write_bytes(whole[:-20])
    assert request_in(half) is None
    assert request_in(named) == KEY


def test_an_answer_has_arrived_when_it_does_not_change_and_a_folder_with_plate_json_stays_a_plate(
    tmp_path: Path,
) -> None:
    answer = make_zip(tmp_path / "export.zip", {IMAGE: ""})
    assert inbox.judge(answer, 60) is None
    judged = inbox.judge(answer, 0)
    assert isinstance(judged, Returned)
    assert judged.request == KEY
    assert isinstance(inbox.judge(make_zip(tmp_path / "plate.zip", {"a.tif": ""}), 0), NoPlate)
    plate = make_folder(tmp_path / "plate", {"plate.json": "{}", f"labels/{IMAGE}": ""})
    assert isinstance(inbox.judge(plate, 0), inbox.Arrival)


def test_what_is_to_be_annotated_lies_in_the_inbox_without_being_taken_for_an_answer(tmp_path: Path) -> None:
    (tmp_path / "inbox" / "to_annotate").mkdir(parents=True)
    make_zip(tmp_path / "inbox" / "to_annotate" / f"annotation-{KEY}.zip", {IMAGE: ""})
    assert inbox.new_entries(tmp_path / "inbox", tmp_path, 0) == []


@pytest.mark.parametrize("name", ["a.zip", "labels.tar", f"x-annotation-{KEY}.json"])
def test_a_pipe_in_the_inbox_keeps_nobody_waiting(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with within_limits():
        assert request_in(tmp_path / name) in (None, KEY)
