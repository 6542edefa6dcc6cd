"""The reader of plate.json."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.errors import FormError
from nucleus_dags.plates.plate_json import plates_in, read_plate_folder
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.info import read_plate_info
from tests.limits import within_limits


def add_plate(inbox: Path, folder: str, **info: Any) -> Path:
    (inbox / folder).mkdir()
    (inbox / folder / "plate.json").write_text(json.dumps(info))
    return inbox / folder


def test_a_plate_is_known_by_what_its_plate_json_says(tmp_path: Path) -> None:
    folder = add_plate(tmp_path, "copy of a", name="a", role="screen", cell_line="U2OS", objective="20X")
    plate = read_plate_folder(folder)
    assert (plate.name, plate.role, plate.cell_line, plate.folder) == ("a", "screen", "U2OS", folder)


def test_without_a_cell_line_it_is_empty(tmp_path: Path) -> None:
    assert read_plate_folder(add_plate(tmp_path, "a", name="a", role="train")).cell_line == ""


def test_blanks_and_capitals_are_read_as_ingest_reads_them(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    (folder / "plate.json").write_text('{" name ": "p ", "role": " TRAIN", "cell_line": "HeLa  S3 "}')
    plate = read_plate_folder(folder)
    assert (plate.name, plate.role, plate.cell_line) == ("p", "train", "HeLa S3")
    (folder / "plate.json").write_text('{"name": "p", "role": "train", " role": "test"}')
    with pytest.raises(FormError, match="role stands there more than once"):
        read_plate_folder(folder)


@pytest.mark.parametrize("content", ['{"name": ', "", "not json"])
def test_a_file_that_is_no_json_is_refused_with_its_path(tmp_path: Path, content: str) -> None:
    (tmp_path / "plate.json").write_text(content)
    with pytest.raises(FormError, match=rf"{tmp_path}/plate\.json can't be read \(.*\); correct it\."):
        read_plate_folder(tmp_path)


@pytest.mark.parametrize("content", ["[]", '"a"', "3", "null", '{"name": "x"}', '{"role": "train"}'])
def test_what_has_no_name_or_role_is_refused_with_its_path(tmp_path: Path, content: str) -> None:
    (tmp_path / "plate.json").write_text(content)
    with pytest.raises(FormError, match=rf"{tmp_path}/plate\.json must be a JSON object with name and role"):
        read_plate_folder(tmp_path)


def test_a_folder_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormError, match=r"plate\.json can't be read"):
        read_plate_folder(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_the_encodings_of_windows_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "plate.json").write_text('{"name": "a", "role": "train", "cell_line": "Zürich"}', encoding=encoding)
    assert read_plate_folder(tmp_path).cell_line == "Zürich"


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plate.json").write_text('{"name": "a", "role": "train", "role": "test"}')
    with pytest.raises(FormError, match="role stands there more than once; keep one"):
        read_plate_folder(tmp_path)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": ' + "1" * 5000 + "}", '{"a": 1,}', '{"a": 1} // of ours'])
def test_what_json_does_not_allow_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "plate.json").write_text(content)
    with pytest.raises(FormError, match="a comma stands between entries and not after the last one, and comments"):
        read_plate_folder(tmp_path)


def test_text_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plate.json").write_bytes('{"name": "Brünn"}'.encode("latin-1"))
    with pytest.raises(FormError, match=r"plate\.json can't be read"):
        read_plate_folder(tmp_path)


def test_the_plates_of_a_folder_come_by_name_and_other_folders_do_not_count(tmp_path: Path) -> None:
    for folder, name in (("1", "b"), ("2", "a")):
        add_plate(tmp_path, folder, name=name, role="train")
    (tmp_path / "no plate").mkdir()
    (tmp_path / "file").touch()
    assert [plate.name for plate in plates_in(tmp_path).plates] == ["a", "b"]


def test_two_folders_with_plates_of_one_name_are_refused_where_one_of_them_is_chosen(tmp_path: Path) -> None:
    for folder in ("a", "copy"):
        add_plate(tmp_path, folder, name="a", role="train")
    add_plate(tmp_path, "b", name="b", role="train")
    found = plates_in(tmp_path)
    found.refuse_twins([plate for plate in found.plates if plate.name == "b"])
    with pytest.raises(FormError, match="the folders a, copy hold plates of one name, a; rename all but one"):
        found.refuse_twins(found.plates)


NO_JSON, NO_NAME = "can't be read", "must be a JSON object with name and role"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", NO_JSON),
        ("[" * 100_000, NO_JSON),
        ('{"name": 5, "role": "train"}', NO_NAME),
        ('{"name": "b", "role": ["train"]}', NO_NAME),
        ('{"name": "b", "role": "train", "cell_line": null}', NO_NAME),
        ('{"name": "\\ud800", "role": "train"}', NO_JSON),
        (None, NO_JSON),
    ],
    ids=["cut short", "nested", "number", "list", "null", "half a character", "folder"],
)
def test_a_plate_json_that_cannot_be_read_keeps_no_other_plate_from_being_found(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    add_plate(tmp_path, "a", name="a", role="train")
    folder = add_plate(tmp_path, "faulty", name="faulty", role="train")
    if content is None:
        (folder / "plate.json").unlink()
        (folder / "plate.json").mkdir()
    else:
        (folder / "plate.json").write_text(content)
    found = plates_in(tmp_path)
    assert [plate.name for plate in found.plates] == ["a"]
    assert problem in found.unreadable["faulty"]
    found.refuse_unreadable(["a"])
    with pytest.raises(FormError, match=problem):
        found.refuse_unreadable(["a", "faulty"])


def test_a_folder_whose_name_can_not_be_stored_is_left_out_and_what_systems_leave_is_not_looked_at(
    tmp_path: Path,
) -> None:
    add_plate(tmp_path, "caf\udce9", name="a", role="train")
    add_plate(tmp_path, "@eaDir", name="b", role="train")
    add_plate(tmp_path, ".snapshot", name="c", role="train")
    found = plates_in(tmp_path)
    assert found.plates == []
    (problem,) = found.unreadable.values()
    assert problem.startswith(f"The folder caf\\xe9 of {tmp_path} has a name in another encoding than UTF-8")


WHOLE = """{
  "name": "a", "cell_line": "HeLa", "objective": "20X in Zürich", "binning": 1, "pixel_size_um": 0.5, "role": "screen"
}"""
ADVICE = "a comma stands between entries and not after the last one, and comments aren't allowed"


@pytest.mark.parametrize(
    ("content", "refused_for"),
    [
        (WHOLE.encode(), None),
        (WHOLE.encode("utf-8-sig"), None),
        (WHOLE.encode("utf-16"), None),
        (WHOLE.encode("utf-16-le"), None),
        (WHOLE.encode("utf-32"), None),
        (WHOLE.replace('"name"', '" name "').replace('"a"', '" a "').encode(), None),
        (WHOLE.replace('"screen"', '" Screen"').encode(), None),
        (WHOLE.encode("latin-1"), "isn't text in UTF-8; save it again with this encoding"),
        (WHOLE.replace("}", ', "name": "b"}').encode(), "name stands there more than once; keep one of them"),
        (WHOLE.replace("}", ', " name": "b"}').encode(), "name stands there more than once; keep one of them"),
        (WHOLE.replace("}", ",}").encode(), ADVICE),
        (WHOLE.replace("}", "} // ours").encode(), ADVICE),
        (WHOLE.replace("0.5", "0,5").encode(), ADVICE),
        (WHOLE.replace('"', "'").encode(), ADVICE),
        (WHOLE.replace("0.5", "5" * 5000).encode(), ADVICE),
        (b"", ADVICE),
        (b"[" * 100_000, ""),
        (WHOLE.replace('"a"', "NaN").encode(), ""),
        (f"[{WHOLE}]".encode(), "must be "),
        (b"null", "must be "),
    ],
    ids=[
        *("plain", "byte order mark", "UTF-16 with mark", "UTF-16", "UTF-32", "blanks around", "capital"),
        *("Latin 1", "key twice", "key twice with a blank", "trailing comma", "comment", "decimal comma"),
        *("single quotes", "long number", "empty", "brackets without an end", "NaN", "list", "null"),
    ],
)
def test_the_dags_and_ingest_read_and_refuse_the_same_and_say_the_same(
    tmp_path: Path, content: bytes, refused_for: str | None
) -> None:
    """Neither may import the other, so each has a reader."""
    (tmp_path / "plate.json").write_bytes(content)
    if refused_for is None:
        of_dags, of_ingest = read_plate_folder(tmp_path), read_plate_info(tmp_path, stated=())
        assert (of_dags.name, of_dags.role, of_dags.cell_line) == ("a", "screen", "HeLa")
        assert (of_ingest.name, of_ingest.role, of_ingest.cell_line) == ("a", "screen", "HeLa")
        return
    with pytest.raises(FormError) as error_of_dags:
        read_plate_folder(tmp_path)
    with pytest.raises(InputError) as error_of_ingest:
        read_plate_info(tmp_path, stated=())
    assert refused_for in str(error_of_dags.value)
    assert refused_for in str(error_of_ingest.value)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def of_others(path: Path) -> None:
    (path.parents[1] / "of others.json").write_text('{"name": "x", "role": "train"}')
    path.symlink_to("../of others.json")


def of_gigabytes(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**33)


@pytest.mark.parametrize(
    ("put", "words"),
    [
        (pipe, "is not a file but a device or a pipe; remove it"),
        (endless, "is a link that leads out of the plate"),
        (of_others, "is a link that leads out of the plate; put the file itself in its place"),
        (of_gigabytes, "has over 1,048,576 bytes"),
    ],
)
def test_what_is_put_in_the_place_of_a_plate_json_keeps_nobody_from_the_other_plates(
    tmp_path: Path, put: Callable[[Path], None], words: str
) -> None:
    add_plate(tmp_path, "good", name="good", role="train")
    (tmp_path / "bad").mkdir()
    put(tmp_path / "bad/plate.json")
    with within_limits():
        found = plates_in(tmp_path)
    assert [plate.name for plate in found.plates] == ["good"]
    assert found.unreadable["bad"].startswith(f"{tmp_path}/bad/plate.json {words}")
