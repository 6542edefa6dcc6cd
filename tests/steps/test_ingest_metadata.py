"""Tests of tasks.steps.ingest on what files say besides their pixels: pixel sizes, numbers of labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tasks.nuclei.errors import InputError
from tests.plates import INFO, make_plate
from tests.steps.ingesting import IMAGE, LABEL_IMAGE, ingest, relabel, report_of, stored_plates


def state_size(plate: Path, um: float, *names: str) -> None:
    for name in names:
        sizes = {"PhysicalSizeX": um, "PhysicalSizeY": um}
        tifffile.imwrite(plate / f"images/{name}.tif", IMAGE, ome=True, metadata={"axes": "YX", **sizes})


def without_size(plate: Path) -> None:
    (plate / "plate.json").write_text(json.dumps({k: v for k, v in INFO.items() if k != "pixel_size_um"}))


def test_images_of_another_pixel_size_are_refused_once_for_the_plate(plate: Path, store: Path) -> None:
    state_size(plate, 0.65, "a", "b")
    message = r"images/a\.tif and 1 more: has pixels of 0\.65 µm, and the plate's are 0\.5 µm"
    with pytest.raises(InputError, match=message) as error:
        ingest(plate, store)
    assert str(error.value).count("0.65") == 1
    assert stored_plates(store) == []


def test_images_of_the_same_pixel_size_or_none_are_imported(plate: Path, store: Path) -> None:
    state_size(plate, 0.5000001, "a")
    assert report_of(ingest(plate, store), store)["warnings"] == []


def test_the_pixel_size_of_the_images_is_used_and_kept_where_plate_json_leaves_it_out(plate: Path, store: Path) -> None:
    without_size(plate)
    state_size(plate, 0.65, "b")
    result = ingest(plate, store)
    assert json.loads((store / result.outputs["plate"] / "plate.json").read_text())["pixel_size_um"] == 0.65
    assert report_of(result, store)["table_s1"]["XY Px Size - micron"] == 0.65


def test_where_plate_json_leaves_it_out_the_images_must_agree_and_one_must_state_it(plate: Path, store: Path) -> None:
    without_size(plate)
    with pytest.raises(InputError, match=r"plate\.json: pixel_size_um is not given, and no image states it"):
        ingest(plate, store)
    state_size(plate, 0.65, "a")
    state_size(plate, 0.325, "b")
    with pytest.raises(InputError, match=r"images/b\.tif: has pixels of 0\.325 µm, and the plate's are 0\.65 µm"):
        ingest(plate, store)


def test_a_size_without_a_unit_is_a_warning(plate: Path, store: Path) -> None:
    for name in "ab":
        tifffile.imwrite(plate / f"images/{name}.tif", IMAGE, imagej=True, resolution=(2, 2))
    (warning,) = report_of(ingest(plate, store), store)["warnings"]
    assert warning["file"] == "images/a.tif and 1 more"
    assert warning["problem"].startswith("states a pixel size of 0.5 without a unit")


def test_a_black_stretch_of_an_image_is_a_doubt_that_names_its_file(tmp_path: Path, store: Path) -> None:
    image: Any = np.random.default_rng(0).integers(90, 110, (300, 400)).astype(np.uint16)
    image[290:] = 0
    labels = np.zeros(image.shape, np.uint16)
    labels[5:20, 5:20] = 1
    plate = make_plate(tmp_path / "p", {"a": image}, {"a": labels})
    doubts = [doubt for doubt in report_of(ingest(plate, store), store)["doubts"] if doubt.startswith("images/a.tif: ")]
    assert len(doubts) == 1
    assert "between rows 290 and 299 of 300" in doubts[0]


def test_a_warning_names_a_label_by_its_number_in_the_file(plate: Path, store: Path) -> None:
    labels = LABEL_IMAGE.astype(np.uint64) * 2**40
    labels[0, 29] = 2**41
    relabel(plate, labels)
    warnings = report_of(ingest(plate, store), store)["warnings"]
    assert [(warning["file"], warning["label"], warning["problem"]) for warning in warnings] == [
        ("labels/a.tif", 2**41, "2 pieces"),
        ("labels/b.tif", 2**41, "2 pieces"),
    ]
