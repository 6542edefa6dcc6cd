"""Tests of tasks.nuclei.plates.info."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.files import open_plate
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
