"""Tests of tasks.nuclei.plates.image_files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.image_files import read_image, read_label_image, write_label_image
from tests.plates import two_squares

IMAGE, LABEL_IMAGE = two_squares()


def _tiff(array: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


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
