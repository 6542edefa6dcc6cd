"""Tests of tasks.nuclei.plates.hcs_plates, and of ingesting such plates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.contract import execute
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.hcs import HcsWriter
from tasks.nuclei.plates.hcs_plates import HCS_FOLDER, pair_fields
from tasks.nuclei.plates.image_files import decode_image, decode_label_image, read_image, read_label_image
from tasks.steps.ingest import TASK, Params
from tests.nuclei.plates.test_hcs import make_0_5
from tests.plates import INFO, two_squares

IMAGE, LABEL_IMAGE = two_squares()
NAMES = ["screen_B07_T0001F001L01A01Z01C01", "screen_B07_T0001F004L01A01Z01C01", "screen_D08_T0001F002L01A01Z01C01"]


def write_info(folder: Path, **info: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "plate.json").write_text(json.dumps(INFO | {"name": folder.name} | info))


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """Sites 1 and 4 of B07, site 2 of D08; each brighter than the one before by 1."""
    write_info(tmp_path / "screen")
    writer = HcsWriter(tmp_path / "screen" / HCS_FOLDER, "screen", {"B07": [1, 4], "D08": [2]}, 0.5, "a model")
    for brighter, (well, site) in enumerate([("B07", 1), ("B07", 4), ("D08", 2)]):
        writer.write_field(well, site, IMAGE + np.uint16(brighter), LABEL_IMAGE)
    return tmp_path / "screen"


def test_fields_are_presented_as_files_whose_names_say_well_and_site(plate: Path) -> None:
    opened = pair_fields(plate)
    assert [(fov.name, fov.well, fov.site, fov.channel) for fov in opened.fovs] == [
        (NAMES[0], "B07", 1, 1),
        (NAMES[1], "B07", 4, 1),
        (NAMES[2], "D08", 2, 1),
    ]
    for brighter, fov in enumerate(opened.fovs):
        assert fov.labels_path is not None
        image = decode_image(opened.read(fov.image_path), fov.image_path)
        labels = decode_label_image(opened.read(fov.labels_path), fov.labels_path)
        np.testing.assert_array_equal(image, IMAGE + brighter)
        np.testing.assert_array_equal(labels, LABEL_IMAGE)


def test_an_ingested_plate_is_one_of_tiff_files_like_any_other(plate: Path, tmp_path: Path) -> None:
    result = execute(TASK, Params(folder=str(plate)), tmp_path / "store")
    imported = open_plate(tmp_path / "store" / result.outputs["plate"])
    assert [(fov.name, fov.well, fov.site) for fov in imported.fovs] == [
        (NAMES[0], "B07", 1),
        (NAMES[1], "B07", 4),
        (NAMES[2], "D08", 2),
    ]
    for brighter, fov in enumerate(imported.fovs):
        assert fov.labels_path is not None
        np.testing.assert_array_equal(read_image(fov.image_path), IMAGE + brighter)
        np.testing.assert_array_equal(read_label_image(fov.labels_path), LABEL_IMAGE)
    assert not (imported.folder / HCS_FOLDER).exists()


def test_the_digest_of_a_plate_is_that_of_its_pixels(plate: Path, tmp_path: Path) -> None:
    first = TASK.output_key(Params(folder=str(plate)), tmp_path / "store")
    assert TASK.output_key(Params(folder=str(plate)), tmp_path / "store") == first
    (plate / HCS_FOLDER).rename(tmp_path / "old")
    writer = HcsWriter(plate / HCS_FOLDER, "screen", {"B07": [1, 4], "D08": [2]}, 0.5, "a model")
    for well, site in [("B07", 1), ("B07", 4), ("D08", 2)]:
        writer.write_field(well, site, IMAGE, LABEL_IMAGE)
    assert TASK.output_key(Params(folder=str(plate)), tmp_path / "store") != first


def test_a_field_without_labels_is_refused_unless_it_is_a_screening_plate(tmp_path: Path) -> None:
    write_info(tmp_path / "p")
    make_0_5(tmp_path / "p" / HCS_FOLDER, IMAGE, "yx")
    with pytest.raises(InputError, match=r"images/p_C03_T0001F000L01A01Z01C01\.tif: has no label image"):
        execute(TASK, Params(folder=str(tmp_path / "p")), tmp_path / "store")
    write_info(tmp_path / "p", role="screen")
    result = execute(TASK, Params(folder=str(tmp_path / "p")), tmp_path / "store")
    assert result.counts == {"fovs": 1, "nuclei": 0, "warnings": 0, "doubts": 0, "left_out": 0}


def test_of_several_channels_plate_json_must_say_which(tmp_path: Path) -> None:
    write_info(tmp_path / "p")
    channels = [{"label": "GFP"}, {"label": "DAPI"}]
    make_0_5(tmp_path / "p" / HCS_FOLDER, np.stack([IMAGE, IMAGE + 1]), "cyx", ("n",), omero={"channels": channels})
    with pytest.raises(InputError, match=r"has 2 channels \(1 GFP, 2 DAPI\); say in plate\.json which one"):
        pair_fields(tmp_path / "p")
    write_info(tmp_path / "p", channel=2)
    opened = pair_fields(tmp_path / "p")
    (fov,) = opened.fovs
    assert (fov.name, fov.channel) == ("p_C03_T0001F000L01A01Z01C02", 2)
    np.testing.assert_array_equal(decode_image(opened.read(fov.image_path), fov.image_path), IMAGE + 1)


def test_every_field_of_another_pixel_size_is_named(plate: Path) -> None:
    write_info(plate, pixel_size_um=0.65)
    message = r"B/07/0: has pixels of 0\.5 µm, and plate\.json says 0\.65; correct the wrong one; .*D/08/0: has pixels"
    with pytest.raises(InputError, match=message):
        pair_fields(plate)


def test_several_label_images_are_refused_with_their_field(tmp_path: Path) -> None:
    write_info(tmp_path / "p")
    make_0_5(tmp_path / "p" / HCS_FOLDER, IMAGE, "yx", ("cells", "nuclei"))
    with pytest.raises(InputError, match=r"C/3/0/labels: has 2 label images \(cells, nuclei\); allowed is one"):
        pair_fields(tmp_path / "p")


def test_tiff_files_beside_an_ome_zarr_plate_are_refused(plate: Path) -> None:
    (plate / "labels").mkdir()
    with pytest.raises(InputError, match=r"labels/: lies beside images\.ome\.zarr; keep one of them"):
        pair_fields(plate)
