"""Tests of tasks.nuclei.plates.hcs: plates are read back with ome-zarr, and their JSON as it lies on the disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from numpy.typing import NDArray
from ome_zarr.format import FormatV05
from ome_zarr.io import parse_url
from ome_zarr.reader import Multiscales, Plate, Reader
from ome_zarr.writer import write_image, write_labels, write_plate_metadata, write_well_metadata

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.hcs import Channel, HcsWriter
from tasks.nuclei.plates.hcs_listing import list_hcs, refuse_fields_twice
from tasks.nuclei.plates.pixel_size import NOT_STATED, PixelSize
from tests.plates import two_squares

IMAGE, LABEL_IMAGE = two_squares()
MODEL = "nucleus-segmenter version 3, 0123456789abcdef"
CHANNEL = Channel("DAPI", 100, 4000)
NUCLEI = pd.DataFrame({"label": [1, 2], "area_px": [16, 36], "confidence": [0.9, np.nan], "touches_edge": False})
SPARSE = {"B07": [1, 4], "D08": [2]}


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    """Fields 1 and 4 of B07, field 2 of D08; each brighter than the one before by 1."""
    folder = tmp_path / "plate.ome.zarr"
    writer = HcsWriter(folder, "screen", SPARSE, 0.5, MODEL, CHANNEL)
    for brighter, (well, site) in enumerate([("B07", 1), ("B07", 4), ("D08", 2)]):
        writer.write_field(well, site, IMAGE + np.uint16(brighter), LABEL_IMAGE)
    return folder


def attributes(folder: Path) -> Any:
    return json.loads((folder / ".zattrs").read_text())


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def make_0_5(folder: Path, image: NDArray[Any], axes: str, labels: tuple[str, ...] = (), **metadata: Any) -> Path:
    """A plate of version 0.5 with one field, C03 site 0, as other programs write them."""
    root = zarr.open_group(folder, mode="w", zarr_format=3)
    write_plate_metadata(root, ["C"], ["3"], ["C/3"], FormatV05())
    write_well_metadata(root.require_group("C/3"), ["0"], FormatV05())
    field = root.require_group("C/3/0")
    write_image(image, field, axes=axes, scale_factors=[2], fmt=FormatV05(), metadata=metadata)
    for name in labels:
        write_labels(LABEL_IMAGE, field, name, axes="yx", scale_factors=[2], fmt=FormatV05())
    return folder


def test_a_plate_names_the_wells_it_has_and_no_other_in_the_grid_of_a_real_plate(plate: Path) -> None:
    metadata = attributes(plate)["plate"]
    assert [row["name"] for row in metadata["rows"]] == list("ABCDEFGH")
    assert [column["name"] for column in metadata["columns"]] == [f"{number:02d}" for number in range(1, 13)]
    assert metadata["wells"] == [
        {"path": "B/07", "rowIndex": 1, "columnIndex": 6},
        {"path": "D/08", "rowIndex": 3, "columnIndex": 7},
    ]
    assert (metadata["name"], metadata["field_count"], metadata["version"]) == ("screen", 2, "0.4")
    assert sorted(path.relative_to(plate).as_posix() for path in plate.glob("*/*/*/")) == ["B/07/0", "B/07/1", "D/08/0"]
    assert attributes(plate / "B/07")["well"] == {"images": [{"path": "0"}, {"path": "1"}], "version": "0.4"}


def test_the_well_p24_lies_in_the_last_corner_of_384(tmp_path: Path) -> None:
    HcsWriter(tmp_path / "p", "p", {"P24": [1]}, 0.5, MODEL, CHANNEL)
    metadata = attributes(tmp_path / "p")["plate"]
    assert (len(metadata["rows"]), len(metadata["columns"])) == (16, 24)
    assert metadata["wells"] == [{"path": "P/24", "rowIndex": 15, "columnIndex": 23}]


def test_the_library_shows_every_well_in_its_place_and_nothing_in_the_others(plate: Path) -> None:
    location = parse_url(plate)
    assert location is not None
    node = next(iter(Reader(location)()))
    assert any(isinstance(spec, Plate) for spec in node.specs)
    shown = np.asarray(node.data[0]).reshape(8, 20, 12, 30).swapaxes(1, 2)
    np.testing.assert_array_equal(shown[1, 6], IMAGE)
    np.testing.assert_array_equal(shown[3, 7], IMAGE + 2)
    assert np.argwhere(shown.any(axis=(2, 3))).tolist() == [[1, 6], [3, 7]]


def test_the_library_finds_the_image_of_a_field_and_its_labels(plate: Path) -> None:
    location = parse_url(plate / "D/08/0")
    assert location is not None
    image, _, labels = Reader(location)()
    assert any(isinstance(spec, Multiscales) for spec in image.specs)
    np.testing.assert_array_equal(np.asarray(image.data[0]), IMAGE + 2)
    np.testing.assert_array_equal(np.asarray(labels.data[0]), LABEL_IMAGE)


def test_viewers_show_all_fields_by_the_name_and_the_range_of_the_channel(plate: Path) -> None:
    for path in ("", "B/07", "B/07/1", "D/08/0"):
        location = parse_url(plate / path)
        assert location is not None
        node = next(iter(Reader(location)()))
        assert node.metadata["channel_names"] == ["DAPI"]
        assert node.metadata["contrast_limits"] == [[100, 4000]]
        assert node.metadata["colormap"] == [[[0, 0, 0], [1, 1, 1]]]
    assert {tuple(field.channels) for field in list_hcs(plate).fields} == {("DAPI",)}
    (channel,) = attributes(plate / "B/07/0")["omero"]["channels"]
    assert (channel["window"]["min"], channel["window"]["max"]) == (0, 65535)


def test_a_table_of_nuclei_lies_beside_the_labels_that_its_rows_belong_to(tmp_path: Path) -> None:
    writer = HcsWriter(tmp_path / "p", "p", {"B07": [1, 4]}, 0.5, MODEL, CHANNEL)
    for site, nuclei in ((1, NUCLEI), (4, NUCLEI.head(0))):
        writer.write_field("B07", site, IMAGE, LABEL_IMAGE)
        writer.write_nuclei("B07", site, nuclei)
    for place, nuclei in (("0", NUCLEI), ("1", NUCLEI.head(0))):
        tables = tmp_path / "p/B/07" / place / "tables"
        assert attributes(tables) == {"tables": ["nuclei"]}
        of_table = attributes(tables / "nuclei")
        assert (of_table["type"], of_table["table_version"], of_table["backend"]) == ("feature_table", "1", "parquet")
        assert (of_table["index_key"], of_table["instance_key"]) == ("label", "label")
        assert (tables / of_table["region"]["path"]).resolve() == tmp_path / "p/B/07" / place / "labels/nuclei"
        pd.testing.assert_frame_equal(pd.read_parquet(tables / "nuclei/table.parquet"), nuclei)


def test_every_group_of_pixels_names_the_model_and_the_labels_their_image(plate: Path) -> None:
    for folder in (plate, plate / "B/07/1", plate / "B/07/1/labels/nuclei"):
        assert attributes(folder)["segmented_with"] == MODEL
    assert attributes(plate / "B/07/1/labels") == {"labels": ["nuclei"]}
    assert attributes(plate / "B/07/1/labels/nuclei")["image-label"]["source"] == {"image": "../../"}


def test_a_pyramid_halves_odd_sizes_upwards_and_gives_each_level_its_pixel_size(tmp_path: Path) -> None:
    image = np.arange(35 * 51, dtype=np.uint16).reshape(35, 51)
    HcsWriter(tmp_path / "p", "p", {"A01": [1]}, 0.325, MODEL, CHANNEL).write_field("A01", 1, image, image)
    field = tmp_path / "p/A/01/0"
    for folder in (field, field / "labels/nuclei"):
        levels = [zarr.open_array(folder / f"s{level}", mode="r") for level in range(4)]
        assert [level.shape for level in levels] == [(35, 51), (18, 26), (9, 13), (5, 7)]
        (multiscale,) = attributes(folder)["multiscales"]
        assert multiscale["axes"] == [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
        transformations = [dataset["coordinateTransformations"] for dataset in multiscale["datasets"]]
        assert transformations == [[{"type": "scale", "scale": [0.325 * 2**level] * 2}] for level in range(4)]
    first_mean = np.asarray(zarr.open_array(field / "s1", mode="r"))[0, 0]
    assert first_mean == round((0 + 1 + 51 + 52) / 4)


@pytest.mark.parametrize("values", [np.arange(43), np.arange(43)[::-1]])
@pytest.mark.parametrize("is_along_rows", [False, True])
def test_labels_lie_on_their_image_at_every_level(tmp_path: Path, values: NDArray[Any], is_along_rows: bool) -> None:
    """Intensity and label of each column are its number, or of each row: so a difference is a distance in pixels."""
    ramp = np.broadcast_to(values, (35, 43)).astype(np.uint16)
    numbers = ramp.T.copy() if is_along_rows else ramp
    HcsWriter(tmp_path / "p", "p", {"A01": [1]}, 0.325, MODEL, CHANNEL).write_field("A01", 1, numbers, numbers)
    field = tmp_path / "p/A/01/0"
    for level in range(4):
        image, labels = (
            np.asarray(zarr.open_array(folder / f"s{level}")) for folder in (field, field / "labels/nuclei")
        )
        whole = tuple(slice(size // 2**level) for size in numbers.shape)
        assert np.abs(image[whole].astype(int) - labels[whole]).max() <= min(level, 1)


def test_a_label_of_a_lower_level_is_that_of_most_pixels_around_its_centre(tmp_path: Path) -> None:
    label_image = np.zeros((16, 16), np.uint16)
    label_image[0:2, 0:2] = [[0, 7], [7, 7]]
    label_image[0:2, 2:4] = [[5, 0], [0, 0]]
    label_image[2:4, 0:2] = [[3, 3], [0, 0]]
    HcsWriter(tmp_path / "p", "p", {"A01": [1]}, 0.325, MODEL, CHANNEL).write_field("A01", 1, label_image, label_image)
    labels = np.asarray(zarr.open_array(tmp_path / "p/A/01/0/labels/nuclei/s1", mode="r"))
    assert labels[:2, :2].tolist() == [[7, 0], [3, 0]]


def test_bright_pixels_do_not_overflow_in_the_pyramid(tmp_path: Path) -> None:
    white = np.full((9, 9), 65535, np.uint16)
    HcsWriter(tmp_path / "p", "p", {"A01": [1]}, 0.5, MODEL, CHANNEL).write_field("A01", 1, white, np.ones_like(white))
    assert (np.asarray(zarr.open_array(tmp_path / "p/A/01/0/s3", mode="r")) == 65535).all()


def test_a_plate_is_not_written_over_another(plate: Path) -> None:
    with pytest.raises(FileExistsError):
        HcsWriter(plate, "screen", SPARSE, 0.5, MODEL, CHANNEL)


def test_fields_are_read_back_by_well_and_site_with_their_pixels(plate: Path) -> None:
    fields = list_hcs(plate).fields
    assert [(field.well, field.site) for field in fields] == [("B07", 1), ("B07", 4), ("D08", 2)]
    for brighter, field in enumerate(fields):
        np.testing.assert_array_equal(field.read_image(1), IMAGE + brighter)
        np.testing.assert_array_equal(field.read_labels(), LABEL_IMAGE)
        assert (field.channels, field.pixel_size) == (["DAPI"], PixelSize(0.5))


def test_a_field_without_labels_has_no_folder_of_them(tmp_path: Path) -> None:
    (field,) = list_hcs(make_0_5(tmp_path / "p", IMAGE, "yx")).fields
    assert field.labels_folder() is None


def test_a_channel_of_version_0_5_is_chosen_by_its_number_and_axes_of_length_one_are_dropped(tmp_path: Path) -> None:
    image = np.stack([IMAGE, IMAGE + 1])[np.newaxis, :, np.newaxis]
    channels = [{"label": "DAPI"}, {"label": "GFP"}]
    folder = make_0_5(tmp_path / "p", image, "tczyx", ("cells",), omero={"channels": channels})
    (field,) = list_hcs(folder).fields
    assert (field.well, field.site, field.channels) == ("C03", 0, ["DAPI", "GFP"])
    np.testing.assert_array_equal(field.read_image(2), IMAGE + 1)
    np.testing.assert_array_equal(field.read_labels(), LABEL_IMAGE)
    with pytest.raises(InputError, match="C/3/0: has 2 channels, and channel 3 was asked for"):
        field.read_image(3)


def test_several_planes_are_refused_with_their_axis(tmp_path: Path) -> None:
    (field,) = list_hcs(make_0_5(tmp_path / "p", np.stack([IMAGE, IMAGE]), "zyx")).fields
    with pytest.raises(InputError, match="C/3/0: has 2 planes along z; allowed is 1"):
        field.read_image(1)


def test_of_several_planes_and_times_those_of_the_indices_are_read(tmp_path: Path) -> None:
    image = np.stack([np.stack([IMAGE + np.uint16(10 * t + z) for z in range(3)]) for t in range(2)])
    (field,) = list_hcs(make_0_5(tmp_path / "p", image, "tzyx", ("nuclei",))).fields
    assert field.sizes == {"t": 2, "z": 3, "y": 20, "x": 30}
    np.testing.assert_array_equal(field.read_image(1, z=2, time=1), IMAGE + 12)
    np.testing.assert_array_equal(field.read_labels(z=2, time=1), LABEL_IMAGE)
    with pytest.raises(InputError, match="C/3/0: has 3 planes along z, 0 to 2, not 3"):
        field.read_image(1, z=3, time=0)


def test_of_several_label_images_the_one_called_nuclei_is_read_or_one_that_is_named(tmp_path: Path) -> None:
    (field,) = list_hcs(make_0_5(tmp_path / "p", IMAGE, "yx", ("cells", "nuclei"))).fields
    assert field.labels_folder() == tmp_path / "p/C/3/0/labels/nuclei"
    assert field.labels_folder("cells") == tmp_path / "p/C/3/0/labels/cells"
    with pytest.raises(InputError, match=r"has 2 label images \(cells, nuclei\), and plate.json asks for nucleoli"):
        field.labels_folder("nucleoli")


def test_several_label_images_without_one_called_nuclei_are_refused_with_their_names(tmp_path: Path) -> None:
    (field,) = list_hcs(make_0_5(tmp_path / "p", IMAGE, "yx", ("cells", "dapi"))).fields
    message = r'labels: has 2 label images \(cells, dapi\); say in plate.json which .*, such as "labels": "cells"'
    with pytest.raises(InputError, match=message):
        field.labels_folder()


def test_a_label_image_of_several_channels_is_refused(plate: Path) -> None:
    (plate / "B/07/0/labels/nuclei").rename(plate / "old")
    axes = [{"name": name} for name in "cyx"]
    group = zarr.open_group(plate / "B/07/0/labels/nuclei", mode="w", zarr_format=2)
    group.create_array("0", data=np.stack([LABEL_IMAGE, LABEL_IMAGE]))
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    with pytest.raises(InputError, match="labels/nuclei: has 2 channels; a label image has one"):
        list_hcs(plate).fields[0].read_labels()


def test_a_pixel_size_of_1_without_a_unit_states_nothing(tmp_path: Path) -> None:
    (field,) = list_hcs(make_0_5(tmp_path / "p", IMAGE, "yx")).fields
    assert field.pixel_size == NOT_STATED


def test_a_folder_that_is_no_plate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing: is missing or cut short; copy the plate whole"):
        list_hcs(tmp_path / "nothing")
    zarr.open_group(tmp_path / "group.zarr", mode="w", zarr_format=2)
    with pytest.raises(InputError, match=r"group\.zarr: has no 'plate' in its attributes"):
        list_hcs(tmp_path / "group.zarr")


def test_attributes_of_another_shape_are_refused_with_their_folder(plate: Path) -> None:
    change(plate / "B/07/.zattrs", well={"images": [{}]})
    with pytest.raises(InputError, match=r"its attributes aren't those of OME-Zarr \(KeyError: 'path'\); convert it"):
        list_hcs(plate)
    change(plate / ".zattrs", plate={})
    with pytest.raises(InputError, match=r"its attributes aren't those of OME-Zarr \(KeyError: 'wells'\); convert it"):
        list_hcs(plate)


def test_a_well_that_is_named_and_not_there_is_refused(plate: Path) -> None:
    (plate / "D/08").rename(plate / "moved")
    listing = list_hcs(plate)
    assert {field.well for field in listing.fields} == {"B07"}
    assert "D/08: is missing or cut short; copy the plate whole" in str(listing.faulty_wells["D08"])


@pytest.mark.parametrize(
    ("name", "site", "ending"),
    [("7", 7, ""), ("0_illum_corr", 0, "illum_corr"), ("12-mip2", 12, "mip2"), ("field_3", 3, ""), ("0123", 123, "")],
)
def test_the_number_in_the_name_of_a_field_is_its_site(plate: Path, name: str, site: int, ending: str) -> None:
    (plate / "D/08/0").rename(plate / "D/08" / name)
    change(plate / "D/08" / name / ".zattrs", site="not a number")
    change(plate / "D/08/.zattrs", well={"images": [{"path": name}]})
    field = list_hcs(plate).fields[-1]
    assert (field.site, field.ending, field.folder) == (site, ending, plate / "D/08" / name)


@pytest.mark.parametrize("name", ["", "field", "a1_b2", "12345", "../../C/3/0", "/0"])
def test_names_that_are_no_field_are_refused(plate: Path, name: str) -> None:
    change(plate / "B/07/.zattrs", well={"images": [{"path": name}]})
    with pytest.raises(InputError, match=r"is not the name of a field; allowed is a number|leads out of it"):
        list_hcs(plate)


@pytest.mark.parametrize("path", ["1/6", "../B/07", "/B/07", "B/49"])
def test_names_that_are_no_well_are_refused(plate: Path, path: str) -> None:
    change(plate / ".zattrs", plate={"wells": [{"path": path}]})
    with pytest.raises(InputError, match=r"is not the name of a well|leads out of it"):
        list_hcs(plate)


def test_two_fields_of_one_site_are_refused_with_both_names(plate: Path) -> None:
    change(plate / "B/07/1/.zattrs", site=1)
    with pytest.raises(InputError, match=r"B/07/0 and .*B/07/1 are both site 1; remove one of them"):
        refuse_fields_twice(list_hcs(plate).fields)


def test_a_version_that_is_not_known_is_refused_with_the_allowed_ones(plate: Path) -> None:
    change(plate / "B/07/0/.zattrs", multiscales=[{"version": "0.6"}])
    with pytest.raises(InputError, match=r"B/07/0: is OME-Zarr 0\.6; allowed are 0\.1 to 0\.5"):
        list_hcs(plate).fields[0].read_image(1)


@pytest.mark.parametrize("version", [{}, {"version": "0.4"}])
@pytest.mark.parametrize("axes", [list("yx"), [{"name": name, "type": "space"} for name in "yx"]])
def test_axes_may_be_names_alone_and_the_version_may_be_missing(plate: Path, version: Any, axes: Any) -> None:
    datasets = [{"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1]}]}]
    change(plate / "B/07/0/.zattrs", multiscales=[{**version, "axes": axes, "datasets": datasets}])
    field = list_hcs(plate).fields[0]
    assert field.pixel_size == NOT_STATED
    np.testing.assert_array_equal(field.read_image(1), IMAGE)


@pytest.mark.parametrize("axes", [["y", "y"], ["x", "y"], ["y"], ["z", "x"], [{"name": True}, {"name": "x"}], "yxz", 3])
def test_axes_that_are_not_y_before_x_are_refused(plate: Path, axes: Any) -> None:
    change(plate / "B/07/0/.zattrs", multiscales=[{"axes": axes, "datasets": [{"path": "s0"}]}])
    with pytest.raises(InputError, match=r"B/07/0: its attributes aren't those of OME-Zarr"):
        list_hcs(plate).fields[0].read_image(1)


@pytest.mark.parametrize("version", [{}, {"version": "0.1"}, {"version": "0.2"}])
def test_without_axes_an_image_of_five_has_those_of_the_first_versions(plate: Path, version: Any) -> None:
    image = np.stack([IMAGE, IMAGE + 1])[np.newaxis, :, np.newaxis]
    group = zarr.open_group(plate / "B/07/0", mode="r+", zarr_format=2)
    group.create_array("old", data=image)
    change(plate / "B/07/0/.zattrs", multiscales=[{**version, "datasets": [{"path": "old"}]}])
    np.testing.assert_array_equal(list_hcs(plate).fields[0].read_image(2), IMAGE + 1)


def test_a_cut_file_of_pixels_or_of_metadata_is_refused_with_its_field(plate: Path) -> None:
    field = list_hcs(plate).fields[0]
    chunk = plate / "B/07/0/s0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"B/07/0: is damaged or cut short \([^\n]+\); copy it again"):
        field.read_image(1)
    (plate / "B/07/0/s0/.zarray").write_text("{")
    with pytest.raises(InputError, match="B/07/0/s0: is missing or cut short"):
        field.read_image(1)
