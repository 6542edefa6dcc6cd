"""Tests of tasks.nuclei.plates.hcs_plates, and of ingesting such plates."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.contract import execute
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.hcs import Channel, HcsWriter
from tasks.nuclei.plates.hcs_listing import list_hcs
from tasks.nuclei.plates.hcs_plates import pair_fields
from tasks.nuclei.plates.image_files import decode_image, decode_numbered, read_image, read_label_image
from tasks.nuclei.plates.layouts import HCS_FOLDER
from tasks.steps.ingest import TASK, Params
from tests.nuclei.plates.test_hcs import change, make_0_5
from tests.plates import INFO, two_squares

IMAGE, LABEL_IMAGE = two_squares()
CHANNEL = Channel("DAPI", 100, 4000)
NAMES = ["screen_B07_T0001F001L01A01Z01C01", "screen_B07_T0001F004L01A01Z01C01", "screen_D08_T0001F002L01A01Z01C01"]


def write_info(folder: Path, **info: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "plate.json").write_text(json.dumps(INFO | {"name": folder.name} | info))


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """Sites 1 and 4 of B07, site 2 of D08; each brighter than the one before by 1."""
    write_info(tmp_path / "screen")
    writer = HcsWriter(tmp_path / "screen" / HCS_FOLDER, "screen", {"B07": [1, 4], "D08": [2]}, 0.5, "a model", CHANNEL)
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
        labels = decode_numbered(opened.read(fov.labels_path), fov.labels_path).label_image
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
    writer = HcsWriter(plate / HCS_FOLDER, "screen", {"B07": [1, 4], "D08": [2]}, 0.5, "a model", CHANNEL)
    for well, site in [("B07", 1), ("B07", 4), ("D08", 2)]:
        writer.write_field(well, site, IMAGE, LABEL_IMAGE)
    assert TASK.output_key(Params(folder=str(plate)), tmp_path / "store") != first


def test_a_field_without_labels_is_refused_unless_it_is_a_screening_plate(tmp_path: Path) -> None:
    write_info(tmp_path / "p")
    make_0_5(tmp_path / "p" / HCS_FOLDER, IMAGE, "yx")
    with pytest.raises(InputError, match=r"images\.ome\.zarr/C/3/0: has no label image; add one, called nuclei"):
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


def test_another_pixel_size_is_refused_once_for_all_fields(plate: Path, tmp_path: Path) -> None:
    write_info(plate, pixel_size_um=0.65)
    with pytest.raises(InputError, match=r"B07.*and 2 more: has pixels of 0\.5 µm, and the plate's are 0\.65 µm"):
        execute(TASK, Params(folder=str(plate)), tmp_path / "store")


def test_the_pixel_size_of_the_images_is_used_where_plate_json_leaves_it_out(plate: Path) -> None:
    (plate / "plate.json").write_text(json.dumps({k: v for k, v in INFO.items() if k != "pixel_size_um"}))
    assert pair_fields(plate).info.pixel_size_um == 0.5


@pytest.mark.parametrize(
    ("unit", "scale", "um"),
    [("nanometer", 500, 0.5), ("millimeter", 0.0005, 0.5), ("micrometre", 0.5, 0.5), ("angstrom", 5000, 0.5)],
)
def test_the_pixel_size_may_have_any_unit_of_length(plate: Path, unit: str, scale: float, um: float) -> None:
    rescale(plate, [scale, scale], unit)
    assert list_hcs(plate / HCS_FOLDER).fields[0].pixel_size.um == pytest.approx(um)


def test_a_size_without_a_unit_is_said_once_for_the_plate(plate: Path, tmp_path: Path) -> None:
    rescale(plate, [0.65, 0.65], None)
    result = execute(TASK, Params(folder=str(plate)), tmp_path / "store")
    report = json.loads((tmp_path / "store" / result.outputs["plate"] / "report.json").read_text())
    (warning,) = report["warnings"]
    assert "states a pixel size of 0.65 without a unit, which is no length; 0.5 µm is used" in warning["problem"]


def test_pixels_that_are_not_square_are_refused_with_their_field(plate: Path) -> None:
    rescale(plate, [0.5, 0.25], "micrometer")
    with pytest.raises(InputError, match=r"B/07/0: has pixels of 0\.5 x 0\.25 µm \(height x width\)"):
        pair_fields(plate)


def rescale(plate: Path, scale: list[float], unit: str | None) -> None:
    path = plate / HCS_FOLDER / "B/07/0/.zattrs"
    attributes = json.loads(path.read_text())
    (multiscale,) = attributes["multiscales"]
    for axis in multiscale["axes"]:
        axis.pop("unit")
        axis.update({"unit": unit} if unit else {})
    multiscale["datasets"][0]["coordinateTransformations"] = [{"type": "scale", "scale": scale}]
    path.write_text(json.dumps(attributes))


def test_a_screening_plate_is_imported_without_a_field_whose_image_is_not_there(plate: Path, tmp_path: Path) -> None:
    write_info(plate, role="screen", replicate=None, annotation=None)
    shutil.rmtree(plate / HCS_FOLDER / "D/08/0/s0")
    result = execute(TASK, Params(folder=str(plate)), tmp_path / "store")
    assert (result.counts["fovs"], result.counts["left_out"]) == (2, 1)
    assert result.values["left_out"] == [
        f"{HCS_FOLDER}/D/08/0/s0: is missing or cut short; copy the plate whole",
    ]
    for field in ("B/07/0", "B/07/1"):
        shutil.rmtree(plate / HCS_FOLDER / field / "s0")
    with pytest.raises(InputError, match=r"B/07/0/s0: is missing .*; .*D/08/0/s0: is missing"):
        execute(TASK, Params(folder=str(plate)), tmp_path / "store")


def test_a_channel_may_be_chosen_by_its_name(tmp_path: Path) -> None:
    channels = [{"label": "GFP"}, {"label": "DAPI"}]
    image = np.stack([IMAGE, IMAGE + 1])
    write_info(tmp_path / "p", channel="dapi")
    make_0_5(tmp_path / "p" / HCS_FOLDER, image, "cyx", ("n",), omero={"channels": channels})
    opened = pair_fields(tmp_path / "p")
    assert opened.fovs[0].channel == 2
    path = opened.fovs[0].image_path
    np.testing.assert_array_equal(decode_image(opened.read(path), path), IMAGE + 1)


@pytest.mark.parametrize("channel", ["mCherry", 3])
def test_a_channel_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, channel: int | str) -> None:
    channels = [{"label": "GFP"}, {"label": "DAPI"}]
    write_info(tmp_path / "p", channel=channel)
    make_0_5(tmp_path / "p" / HCS_FOLDER, np.stack([IMAGE, IMAGE]), "cyx", ("n",), omero={"channels": channels})
    message = rf"C/3/0: has no channel {channel}, as plate.json asks, but 1 GFP, 2 DAPI"
    with pytest.raises(InputError, match=message):
        pair_fields(tmp_path / "p")


def test_plane_and_time_are_chosen_by_index(tmp_path: Path) -> None:
    image = np.stack([np.stack([IMAGE + np.uint16(10 * t + z) for z in range(3)]) for t in range(2)])
    make_0_5(tmp_path / "p" / HCS_FOLDER, image, "tzyx", ("n",))
    write_info(tmp_path / "p")
    with pytest.raises(InputError, match=r'3 planes along z, 0 to 2; say in plate.json .*"z": 1.*2 time points'):
        pair_fields(tmp_path / "p")
    write_info(tmp_path / "p", z=3, time=0)
    with pytest.raises(InputError, match=r"3 planes along z, 0 to 2, and plate.json asks for z 3"):
        pair_fields(tmp_path / "p")
    write_info(tmp_path / "p", z=0, time=1)
    opened = pair_fields(tmp_path / "p")
    (fov,) = opened.fovs
    assert (fov.name, fov.z, fov.time) == ("p_C03_T0001F000L01A01Z00C01", 0, 1)
    np.testing.assert_array_equal(decode_image(opened.read(fov.image_path), fov.image_path), IMAGE + 10)


def test_label_images_are_chosen_by_name(tmp_path: Path) -> None:
    make_0_5(tmp_path / "p" / HCS_FOLDER, IMAGE, "yx", ("cells", "dapi"))
    write_info(tmp_path / "p")
    with pytest.raises(InputError, match=r"C/3/0/labels: has 2 label images \(cells, dapi\); say in plate.json"):
        pair_fields(tmp_path / "p")
    write_info(tmp_path / "p", labels="dapi")
    assert pair_fields(tmp_path / "p").fovs[0].labels_path is not None


def list_images(plate: Path, well: str, images: list[dict[str, Any]]) -> None:
    """Name the images of a well, whose folders are copies of its image 0."""
    for image in images:
        folder = plate / HCS_FOLDER / well / image["path"]
        if not folder.exists():
            shutil.copytree(plate / HCS_FOLDER / well / "0", folder)
            change(folder / ".zattrs", site=None)
    change(plate / HCS_FOLDER / well / ".zattrs", well={"version": "0.4", "images": images})


CYCLES = [{"path": "0", "acquisition": 0}, {"path": "5", "acquisition": 1}]


def test_of_several_acquisitions_plate_json_must_say_which(plate: Path) -> None:
    for well in ("B/07", "D/08"):
        list_images(plate, well, CYCLES)
    message = r'has 2 acquisitions, 0 \(2 images\), 1 \(2 images\); say in plate.json .* "acquisition": 0'
    with pytest.raises(InputError, match=message):
        pair_fields(plate)
    write_info(plate, acquisition=2)
    with pytest.raises(InputError, match="asks for acquisition 2, and there is only 0"):
        pair_fields(plate)
    write_info(plate, acquisition=1)
    opened = pair_fields(plate)
    assert [(fov.well, fov.site, fov.acquisition) for fov in opened.fovs] == [("B07", 5, 1), ("D08", 5, 1)]
    assert opened.not_used == {"images of other acquisitions": 2}


def test_a_well_without_the_chosen_acquisition_is_refused(plate: Path) -> None:
    list_images(plate, "B/07", CYCLES)
    list_images(plate, "D/08", CYCLES[:1])
    write_info(plate, acquisition=1)
    with pytest.raises(InputError, match="asks for acquisition 1, and 1 wells have no such image: D08"):
        pair_fields(plate)


def test_wells_that_were_taken_in_acquisitions_of_their_own_need_no_choice(plate: Path) -> None:
    list_images(plate, "B/07", CYCLES[:1])
    list_images(plate, "D/08", [{"path": "0", "acquisition": 7}])
    assert len(pair_fields(plate).fovs) == 2


@pytest.mark.parametrize(("image", "name"), [("illum_corr", "0_illum_corr"), ("", "0")])
def test_of_a_raw_and_a_corrected_image_plate_json_must_say_which(plate: Path, image: str, name: str) -> None:
    for well in ("B/07", "D/08"):
        list_images(plate, well, [{"path": "0"}, {"path": "0_illum_corr"}])
        change(plate / HCS_FOLDER / well / "0/.zattrs", site=None)
    with pytest.raises(InputError, match=r"has 2 kinds of images.*'' \(2 images\), illum_corr .*\"image\": \"\""):
        pair_fields(plate)
    write_info(plate, image=image)
    opened = pair_fields(plate)
    assert [(fov.well, fov.site) for fov in opened.fovs] == [("B07", 0), ("D08", 0)]
    assert opened.not_used == {"images of other kinds": 2}


def test_a_plate_that_lists_only_its_corrected_images_needs_no_choice(plate: Path) -> None:
    for well in ("B/07", "D/08"):
        list_images(plate, well, [{"path": "0_illum_corr"}])
    assert [fov.site for fov in pair_fields(plate).fovs] == [0, 0]


def test_tiff_files_beside_an_ome_zarr_plate_are_refused(plate: Path) -> None:
    (plate / "labels").mkdir()
    with pytest.raises(InputError, match=r"labels/: lies beside images\.ome\.zarr; keep one of them"):
        pair_fields(plate)


def test_what_is_ignored_is_not_passed_over_beside_an_ome_zarr_plate(plate: Path) -> None:
    (plate / "ignored").mkdir()
    with pytest.raises(InputError, match=r"ignored/: is for plates of files, not beside images\.ome\.zarr; export"):
        pair_fields(plate)
