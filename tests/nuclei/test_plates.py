"""Tests of tasks.nuclei.plates."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates import open_plate, raise_if_any, read_image, read_label_image, to_uint8, write_label_image
from tests.plates import INFO, make_plate, two_squares

IMAGE, LABEL_IMAGE = two_squares()


def _tiff(array: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


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


@pytest.mark.parametrize("name", ["nucleus_1", "B07", "X_B07_T0001F002L01A01Z01C01_copy", "XB07_T0001F002L01A01Z01C01"])
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


def test_an_empty_plate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="images/: holds no image"):
        open_plate(make_plate(tmp_path / "p", {}, {}))


def test_a_plate_without_a_folder_of_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plate.json").write_text(json.dumps(INFO))
    with pytest.raises(InputError, match="has no folder images/"):
        open_plate(tmp_path)


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


def test_ten_problems_are_shown_and_the_rest_counted() -> None:
    with pytest.raises(InputError, match=r"^plate: 0; 1; 2; 3; 4; 5; 6; 7; 8; 9; and 2 more problems\.$"):
        raise_if_any([str(number) for number in range(12)], Path("plate"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ome": True},
        {"byteorder": ">"},
        {"tile": (16, 16), "compression": "zlib"},
        {"rowsperstrip": 3, "compression": "lzw"},
        {"bigtiff": True},
    ],
)
def test_a_tiff_is_read_as_written(tmp_path: Path, dtype: type, options: dict[str, Any]) -> None:
    written: NDArray[Any] = (IMAGE // 4).astype(dtype)
    path = tmp_path / "a.tif"
    path.write_bytes(_tiff(written, **options))
    read = read_image(path)
    assert read.dtype == dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, written)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_png_is_read_as_written(tmp_path: Path, dtype: type) -> None:
    written: NDArray[Any] = (IMAGE // 4).astype(dtype)
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(written))
    read = read_image(path)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, written)


@pytest.mark.parametrize("shape", [(1, 20, 30), (20, 30, 1), (1, 1, 20, 30)])
def test_axes_of_length_one_are_dropped(tmp_path: Path, shape: tuple[int, ...]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGE.reshape(shape), photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), IMAGE)


def test_an_image_one_pixel_high_stays_two_dimensional(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGE[:1])
    assert read_image(tmp_path / "a.tif").shape == (1, 30)


@pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30, 4), (3, 20, 30), (5, 20, 30)])
def test_colour_and_several_pages_are_refused_with_the_shape_that_came(tmp_path: Path, shape: tuple[int, ...]) -> None:
    photometric = "rgb" if 3 in shape else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint8), photometric=photometric)
    with pytest.raises(InputError, match=r"a\.tif: has the shape \(") as error:
        read_image(tmp_path / "a.tif")
    assert str(shape) in str(error.value)


def test_a_colour_png_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.zeros((20, 30, 3), np.uint8)))
    with pytest.raises(InputError, match=r"a\.png: has the shape \(20, 30, 3\)"):
        read_image(tmp_path / "a.png")


def test_pages_of_different_shapes_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(IMAGE)
        tiff.write(IMAGE[:10])
    with pytest.raises(InputError, match=r"a\.tif: holds 2 images; allowed is one"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint32])
def test_an_image_of_another_dtype_is_refused_with_both(tmp_path: Path, dtype: type) -> None:
    tifffile.imwrite(tmp_path / "a.tif", IMAGE.astype(dtype))
    with pytest.raises(InputError, match=rf"pixels are {np.dtype(dtype)}; allowed are uint8 and uint16"):
        read_image(tmp_path / "a.tif")


CUT = {
    "tif": _tiff(IMAGE, metadata=None),
    "zlib.tif": _tiff(IMAGE, compression="zlib", metadata=None),
    "strips.tif": _tiff(IMAGE, rowsperstrip=3, metadata=None),
    "png": imagecodecs.png_encode(IMAGE),
}


@pytest.mark.parametrize("kind", CUT)
def test_a_file_cut_anywhere_is_refused_in_one_line_with_its_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    for length in range(0, len(CUT[kind]), 5):
        path.write_bytes(CUT[kind][:length])
        with pytest.raises(InputError, match=rf"^{path}: is damaged or cut short \([^\n]+$"):
            read_image(path)


def test_a_missing_file_and_a_folder_are_refused_with_the_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.tif: does not exist"):
        read_image(tmp_path / "a.tif")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_image(tmp_path)


def test_float_labels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", LABEL_IMAGE.astype(np.float32))
    with pytest.raises(InputError, match=r"a\.tif: labels are float32; allowed are integers"):
        read_label_image(tmp_path / "a.tif")


def test_negative_labels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", LABEL_IMAGE.astype(np.int16) - 1)
    with pytest.raises(InputError, match="has the negative label -1"):
        read_label_image(tmp_path / "a.tif")


@pytest.mark.parametrize(("largest", "dtype"), [(2, np.uint16), (65_535, np.uint16), (65_536, np.uint32)])
def test_a_label_image_is_written_as_small_as_its_labels_allow_and_read_back(
    tmp_path: Path, largest: int, dtype: type
) -> None:
    label_image = LABEL_IMAGE.astype(np.int32)
    label_image[label_image == 2] = largest
    write_label_image(tmp_path / "a.tif", label_image)
    read = read_label_image(tmp_path / "a.tif")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, label_image)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE


def test_float_labels_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got \\(20, 30\\) float64"):
        write_label_image(tmp_path / "a.tif", LABEL_IMAGE.astype(float))
    assert not (tmp_path / "a.tif").exists()


def test_scaling_to_8_bit_maps_the_minimum_to_0_and_the_maximum_to_255() -> None:
    scaled = to_uint8(np.array([[100, 200], [300, 610]], np.uint16))
    assert scaled.dtype == np.uint8
    assert scaled.tolist() == [[0, 50], [100, 255]]


def test_a_constant_image_scales_to_zero() -> None:
    assert to_uint8(np.full((2, 2), 7, np.uint16)).tolist() == [[0, 0], [0, 0]]


def test_scaling_covers_all_16_bit_intensities_in_order() -> None:
    scaled = to_uint8(np.arange(2**16, dtype=np.uint16).reshape(256, 256)).ravel()
    assert (scaled[0], scaled[-1]) == (0, 255)
    assert (np.diff(scaled.astype(int)) >= 0).all()
