"""Tests of tasks.nuclei.plates.info."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.info import read_plate_info
from tasks.nuclei.plates.pixel_size import PixelSize
from tests.plates import INFO, make_plate, two_squares

IMAGE, LABEL_IMAGE = two_squares()


def _plate(tmp_path: Path, **info: Any) -> Path:
    return make_plate(tmp_path / "plate", {"a": IMAGE}, {"a": LABEL_IMAGE}, **info)


def test_a_folder_without_plate_json_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{tmp_path}/plate\.json: does not exist"):
        open_plate(tmp_path)


def test_an_unknown_key_of_plate_json_is_refused_with_the_allowed_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"plate\.json: objectiv: unknown key; allowed are name, cell_line, objective"):
        open_plate(_plate(tmp_path, objectiv="60X"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "a/b"),
        ("name", "../up"),
        ("name", ".hidden"),
        ("name", "x@y"),
        ("cell_line", "Zürich"),
        ("cell_line", ""),
        ("cell_line", "all"),
        ("binning", "2 x 2"),
        ("binning", 3),
        ("pixel_size_um", 0),
        ("role", "validation"),
        ("replicate", "none"),
        ("annotation", "automatic"),
    ],
)
def test_a_wrong_value_in_plate_json_is_refused_with_key_and_value(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(InputError) as error:
        open_plate(_plate(tmp_path, **{key: value}))
    assert f"plate.json: {key}: " in str(error.value)
    assert f"got {value!r}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_key_of_plate_json_is_named(tmp_path: Path) -> None:
    folder = _plate(tmp_path)
    (folder / "plate.json").write_text(json.dumps({key: INFO[key] for key in INFO if key != "role"}))
    with pytest.raises(InputError, match="role: required, and not given"):
        open_plate(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_plate_json_that_is_no_object_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    folder = _plate(tmp_path)
    (folder / "plate.json").write_text(text)
    with pytest.raises(InputError, match=r"plate\.json: [^\n]+$"):
        open_plate(folder)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_plate_json_may_have_the_encodings_of_windows(tmp_path: Path, encoding: str) -> None:
    folder = _plate(tmp_path)
    text = json.dumps(INFO | {"objective": "60X Öl"}, ensure_ascii=False)
    (folder / "plate.json").write_text(text, encoding=encoding)
    assert read_plate_info(folder).objective == "60X Öl"


def test_another_encoding_is_refused_with_the_one_to_use(tmp_path: Path) -> None:
    folder = _plate(tmp_path)
    (folder / "plate.json").write_text(json.dumps(INFO | {"objective": "60X Öl"}, ensure_ascii=False), "latin-1")
    with pytest.raises(InputError, match=r"plate\.json: isn't text in UTF-8; save it again with this encoding"):
        read_plate_info(folder)


BEGINNING = '{"name": "p", "role": "screen"'


@pytest.mark.parametrize(
    "text",
    [
        BEGINNING + ",}",
        BEGINNING + "} // ours",
        "# ours\n" + BEGINNING + "}",
        BEGINNING + ', "pixel_size_um": 0,216}',
        "{'name': 'p'}",
        "{“name”: “p”}",
        "{name: 1}",
        BEGINNING + '} {"name": "q"}',
        '{"a": ' + "1" * 5000 + "}",
    ],
)
def test_what_is_no_json_is_refused_with_what_json_is(tmp_path: Path, text: str) -> None:
    (tmp_path / "plate.json").write_text(text)
    message = r"plate\.json: isn't JSON: .*straight double quotes, numbers have a decimal point, .*comments aren't"
    with pytest.raises(InputError, match=message) as error:
        read_plate_info(tmp_path)
    assert "\n" not in str(error.value)


def test_brackets_without_an_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "plate.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="has brackets in brackets without an end"):
        read_plate_info(tmp_path)


@pytest.mark.parametrize("text", ["[1]", "null", '"name"', "3"])
def test_json_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plate.json").write_text(text)
    with pytest.raises(InputError, match="must be one JSON object"):
        read_plate_info(tmp_path)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plate.json").write_text('{"name": "p", "role": "train", "role": "test"}')
    with pytest.raises(InputError, match="role stands there more than once; keep one of them"):
        read_plate_info(tmp_path)


@pytest.mark.parametrize(("key", "value"), [("name", "Zürich 1"), ("cell_line", "HeLa+")])
def test_what_a_name_may_have_is_said_in_words(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(
        InputError, match=rf"{key}: allowed are letters from A to Z, digits, .* a letter or digit first, got"
    ):
        read_plate_info(_plate(tmp_path, **{key: value}))


@pytest.mark.parametrize("channel", [0, 100, -1, "", [1], 1.5])
def test_a_wrong_channel_is_refused_once_and_in_words(tmp_path: Path, channel: Any) -> None:
    with pytest.raises(
        InputError, match=r"json: channel: allowed is a number from 1 to 99, or the channel's name, got [^;]+$"
    ):
        read_plate_info(_plate(tmp_path, channel=channel))


def test_keys_that_are_not_given_leave_the_identity_of_a_plate_as_it_was(tmp_path: Path) -> None:
    before = {
        "name",
        "cell_line",
        "objective",
        "binning",
        "pixel_size_um",
        "role",
        "replicate",
        "annotation",
        "channel",
    }
    assert set(read_plate_info(_plate(tmp_path)).identity) == before
    later = {"z": 0, "time": 0, "acquisition": 0, "labels": "n", "image": "", "wells": 96}
    (tmp_path / "plate/plate.json").write_text(json.dumps(INFO | later))
    assert set(read_plate_info(tmp_path / "plate").identity) == before | set(later)


@pytest.mark.parametrize(
    ("key", "written", "read"),
    [
        ("cell_line", "  HeLa\t Kyoto ", "HeLa Kyoto"),
        ("objective", 60, "60X"),
        ("objective", 2.5, "2.5X"),
        ("objective", "60X  Öl ", "60X Öl"),
        ("binning", "2", 2),
        ("annotation", "Semi-Automatic", "semi-automatic"),
        ("role", " TEST", "test"),
    ],
)
def test_what_is_unambiguous_is_read(tmp_path: Path, key: str, written: object, read: object) -> None:
    assert getattr(read_plate_info(_plate(tmp_path, **{key: written}), stated=[]), key) == read


@pytest.mark.parametrize(
    ("key", "written"), [("pixel_size_um", 216), ("objective", "60X\u00a0"), ("cell_line", "A  b ")]
)
def test_what_was_imported_before_is_read_as_it_is(tmp_path: Path, key: str, written: object) -> None:
    assert getattr(read_plate_info(_plate(tmp_path, **{key: written})), key) == written


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cell_line: has a no-break space .*binning: .*pixel_size_um: "):
        read_plate_info(_plate(tmp_path, cell_line="\u00a0A", binning=True, pixel_size_um=216), stated=[])


def test_whose_the_pixel_size_is_is_known(tmp_path: Path) -> None:
    folder = _plate(tmp_path)
    assert not read_plate_info(folder, stated=[]).size_is_of_images
    (folder / "plate.json").write_text(json.dumps({key: INFO[key] for key in INFO if key != "pixel_size_um"}))
    info = read_plate_info(folder, stated=[PixelSize(0.65)])
    assert (info.pixel_size_um, info.size_is_of_images) == (0.65, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{} {}", "line 1, column 4: something stands behind the closing bracket"),
        ('{"a": 1,}', "a key in straight double quotes is expected here"),
        ('{"a": }', "a value is expected here"),
        ('{"a": 1 "b": 2}', "a comma or a closing bracket is missing here"),
        ('{"a" 1}', "a colon is missing between key and value"),
        ('{"a": "b}', "the text that begins here has no closing quote"),
        ('{"a": "b\n"}', "a text holds a line break or a tab"),
        ('{"a": "C:\\x"}', "a text holds a single backslash"),
        ('{"a": "\\u12"}', "a text holds a single backslash"),
        ('{"a": ' + "1" * 5000 + "}", "a number has thousands of digits"),
    ],
)
def test_what_is_no_json_is_said_in_words(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "plate.json").write_text(text)
    with pytest.raises(InputError, match=words):
        read_plate_info(tmp_path)
