"""Tests of tasks.steps.ingest: plates in the layouts that people already have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tifffile
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tests.plates import INFO
from tests.steps.ingesting import IMAGE, LABEL_IMAGE, ingest, report_of

LAYOUTS = {
    "plain": ("images/{}.tif", "labels/{}.tif"),
    "stardist": ("images/{}.tif", "masks/{}.tif"),
    "cellpose": ("images/{}.tif", "images/{}_cp_masks.tif"),
    "one folder": ("{}.tif", "{}_masks.tif"),
}


def plate_in(folder: Path, layout: str, label_image: NDArray[Any] = LABEL_IMAGE, **info: Any) -> Path:
    """Write a plate of the fields a and b, with two nuclei each; those of b are the given ones."""
    for name, labels in (("a", LABEL_IMAGE), ("b", label_image)):
        for pattern, array in zip(LAYOUTS[layout], (IMAGE, labels), strict=True):
            path = folder / pattern.format(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, array)
    (folder / "plate.json").write_text(json.dumps(INFO | info))
    return folder


def test_a_plate_is_the_same_version_in_every_layout(tmp_path: Path, store: Path) -> None:
    results = [ingest(plate_in(tmp_path / layout, layout), store) for layout in LAYOUTS]
    assert len({result.key for result in results}) == 1
    assert [result.reused for result in results] == [False, True, True, True]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_store_holds_images_and_labels_under_one_name(tmp_path: Path, store: Path, layout: str) -> None:
    result = ingest(plate_in(tmp_path / "p", layout), store)
    plate = store / result.outputs["plate"]
    assert sorted(path.relative_to(plate).as_posix() for path in plate.glob("*/*")) == [
        *("images/a.tif", "images/b.tif", "labels/a.tif", "labels/b.tif")
    ]
    assert [row["labels"] for row in report_of(result, store)["fovs"]] == ["labels/a.tif", "labels/b.tif"]
    assert result.counts["nuclei"] == 4
    assert not (tmp_path / "p/labels").exists() or layout == "plain"


def test_other_masks_are_another_version_with_the_same_fields(tmp_path: Path, store: Path) -> None:
    first = ingest(plate_in(tmp_path / "p", "plain"), store)
    more = LABEL_IMAGE.copy()
    more[17:19, 2:6] = 3
    second = ingest(plate_in(tmp_path / "q", "one folder", more), store)
    assert first.key != second.key
    assert first.key.partition("@")[0] == second.key.partition("@")[0] == "plate"
    assert report_of(second, store)["missing"] == []


@pytest.mark.parametrize(
    ("layout", "meaning"),
    [
        ("stardist", r"\(labels/ stands for masks/\)"),
        ("cellpose", r"\(labels/ stands for the masks in images/\)"),
        ("one folder", r"\(images/ and labels/ stand for the images and masks in the plate's folder itself\)"),
    ],
)
def test_faulty_labels_are_refused_and_the_error_says_what_its_names_stand_for(
    tmp_path: Path, store: Path, layout: str, meaning: str
) -> None:
    with pytest.raises(InputError, match=rf"{meaning}: labels/b\.tif: is 19 x 30 px and images/b\.tif is 20 x 30"):
        ingest(plate_in(tmp_path / "p", layout, LABEL_IMAGE[:-1]), store)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_how_labels_came_is_held_against_the_labels_in_every_layout(tmp_path: Path, store: Path, layout: str) -> None:
    plate = plate_in(tmp_path / "p", layout)
    (plate / "origins.csv").write_text("fov,label,origin,model,proposed_by\nb,7,drawn,,\n")
    with pytest.raises(InputError, match="row for label 7 of b, which has no label 7"):
        ingest(plate, store)
