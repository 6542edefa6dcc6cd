"""Tests of tasks.nuclei.plates.files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.nuclei.errors import InputError, raise_if_any
from tasks.nuclei.plates.files import open_plate
from tests.plates import INFO, make_plate, two_squares

IMAGE, LABEL_IMAGE = two_squares()


def _plate(tmp_path: Path, **info: Any) -> Path:
    return make_plate(tmp_path / "plate", {"a": IMAGE}, {"a": LABEL_IMAGE}, **info)


def test_a_plate_opens_with_its_info_and_its_pairs_sorted_by_name(tmp_path: Path) -> None:
    arrays = {"b": IMAGE, "a": IMAGE}
    plate = open_plate(make_plate(tmp_path / "p", arrays, arrays, cell_line="MCF10A"))
    assert plate.info.cell_line == "MCF10A"
    assert [fov.name for fov in plate.fovs] == ["a", "b"]
    assert [fov.labels_path for fov in plate.fovs] == [tmp_path / "p/labels/a.tif", tmp_path / "p/labels/b.tif"]


def test_an_image_and_its_labels_pair_up_across_extensions(tmp_path: Path) -> None:
    plate = open_plate(make_plate(tmp_path / "p", {"a.ome.tif": IMAGE, "b.PNG": IMAGE}, {"a": IMAGE, "b.tiff": IMAGE}))
    assert [(fov.name, fov.labels_path) for fov in plate.fovs] == [
        ("a", tmp_path / "p/labels/a.tif"),
        ("b", tmp_path / "p/labels/b.tiff"),
    ]


def test_an_image_without_labels_opens_without_a_labels_path(tmp_path: Path) -> None:
    (fov,) = open_plate(make_plate(tmp_path / "p", {"a": IMAGE}, {})).fovs
    assert fov.labels_path is None


def test_a_name_of_the_cv7000_gives_well_site_channel_and_z(tmp_path: Path) -> None:
    name = "AssayPlate_Greiner_B07_T0001F002L01A01Z04C03"
    (fov,) = open_plate(make_plate(tmp_path / "p", {name: IMAGE}, {})).fovs
    assert (fov.name, fov.well, fov.site, fov.channel, fov.z) == (name, "B07", 2, 3, 4)


@pytest.mark.parametrize("name", ["nucleus_1", "B7", "XB07"])
def test_another_name_is_a_site_of_no_well(tmp_path: Path, name: str) -> None:
    (fov,) = open_plate(make_plate(tmp_path / "p", {name: IMAGE}, {})).fovs
    assert (fov.well, fov.site, fov.channel, fov.z) == ("", None, None, None)


def test_hidden_files_and_thumbs_db_are_no_images(tmp_path: Path) -> None:
    folder = _plate(tmp_path)
    for name in (".DS_Store", "._a.tif", "Thumbs.db"):
        (folder / "images" / name).write_bytes(b"x")
    assert [fov.name for fov in open_plate(folder).fovs] == ["a"]


def test_an_unknown_file_is_refused_by_its_name(tmp_path: Path) -> None:
    folder = _plate(tmp_path)
    (folder / "images/notes.docx").write_bytes(b"x")
    with pytest.raises(InputError, match=r"images/notes\.docx: is not an image; allowed are .*\.tif"):
        open_plate(folder)


def test_a_label_without_an_image_is_refused_by_its_name(tmp_path: Path) -> None:
    folder = make_plate(tmp_path / "p", {"a": IMAGE}, {"a": LABEL_IMAGE, "lost": LABEL_IMAGE})
    with pytest.raises(InputError, match=r"labels/lost\.tif: has no image"):
        open_plate(folder)


def test_two_images_of_one_name_are_refused_with_both_names(tmp_path: Path) -> None:
    folder = make_plate(tmp_path / "p", {"a.tif": IMAGE, "a.png": IMAGE}, {})
    with pytest.raises(InputError, match=r"images/a\.tif: has the same name as a\.png"):
        open_plate(folder)


def test_a_screening_plate_is_without_images_of_one_name_which_are_named(tmp_path: Path) -> None:
    images = dict.fromkeys(("a.tif", "a.png", "a.ome.tif", "b.tif"), IMAGE)
    plate = open_plate(make_plate(tmp_path / "p", images, {"a": LABEL_IMAGE}, role="screen"))
    assert [fov.name for fov in plate.fovs] == ["b"]
    first, second = plate.faults
    assert first.problem.startswith("images/a.png: has the same name as a.ome.tif; remove or rename")
    assert second.problem.startswith("images/a.tif: has the same name as a.ome.tif; remove or rename")
    with pytest.raises(InputError, match=r"images/a\.tif: has the same name as a\.png"):
        open_plate(make_plate(tmp_path / "q", {"a.tif": IMAGE, "a.png": IMAGE}, {}, role="screen"))


def test_labels_of_one_name_are_not_those_of_a_screening_plate(tmp_path: Path) -> None:
    labels = {"a.tif": LABEL_IMAGE, "a.png": LABEL_IMAGE}
    plate = open_plate(make_plate(tmp_path / "p", {"a": IMAGE}, labels, role="screen"))
    assert [(fov.name, fov.labels_path) for fov in plate.fovs] == [("a", None)]
    assert [fault.problem.split(";")[0] for fault in plate.faults] == ["labels/a.tif: has the same name as a.png"]


def test_an_empty_plate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="images/: holds no image"):
        open_plate(make_plate(tmp_path / "p", {}, {}))


def test_a_plate_without_a_folder_of_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plate.json").write_text(json.dumps(INFO))
    with pytest.raises(InputError, match="has no folder images/"):
        open_plate(tmp_path)


def test_ten_problems_are_shown_and_the_rest_counted() -> None:
    with pytest.raises(InputError, match=r"^plate: 0; 1; 2; 3; 4; 5; 6; 7; 8; 9; and 2 more\.$"):
        raise_if_any([str(number) for number in range(12)], Path("plate"))
