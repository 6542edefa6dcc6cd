"""Tests of tasks.nuclei.plates.image_files."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.image_files import read_image, read_numbered, write_label_image
from tasks.nuclei.plates.pixel_size import pixel_size_of_image
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


@pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30, 4), (3, 20, 30), (20, 30, 2), (20, 30, 5)])
def test_colour_and_several_channels_are_refused_with_the_shape_that_came(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    planar = "separate" if shape[0] == 3 else "contig"
    photometric = "rgb" if {3, 4} & set(shape) else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", image, photometric=photometric, planarconfig=planar)
    with pytest.raises(InputError, match=r"a\.tif: has the shape \(\d+, \d+, \d+\), as colour"):
        read_image(tmp_path / "a.tif")


def test_several_pages_are_refused_with_their_number(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([IMAGE] * 5), photometric="minisblack")
    with pytest.raises(InputError, match=r"a\.tif: holds 5 images \(20 x 30\); allowed is one plane of one channel"):
        read_image(tmp_path / "a.tif")


def test_a_colour_png_is_refused(tmp_path: Path) -> None:
    colours = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(colours))
    with pytest.raises(InputError, match=r"a\.png: has the shape \(20, 30, 3\)"):
        read_image(tmp_path / "a.png")


def test_pages_of_different_shapes_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(IMAGE)
        tiff.write(IMAGE[:10])
    with pytest.raises(InputError, match=r"a\.tif: holds 2 images \(10 x 30, 20 x 30\); allowed is one"):
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


def test_a_link_to_itself_and_a_name_too_long_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").symlink_to("b.tif")
    (tmp_path / "b.tif").symlink_to("a.tif")
    with pytest.raises(InputError, match=r"a\.tif: is a link that leads back to itself; put the file in its place"):
        read_image(tmp_path / "a.tif")
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        read_image(tmp_path / ("x" * 300))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_a_storage_that_does_not_answer_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(path: Path, flags: int) -> int:
        raise OSError(number, "reading failed")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OSError, match=r"reading failed: '.*a\.tif'") as caught:
        read_image(tmp_path / "a.tif")
    assert caught.value.errno == number


@pytest.mark.parametrize(("largest", "dtype"), [(2, np.uint16), (65_535, np.uint16), (65_536, np.uint32)])
def test_a_label_image_is_written_as_small_as_its_labels_allow_and_read_back(
    tmp_path: Path, largest: int, dtype: type
) -> None:
    label_image = LABEL_IMAGE.astype(np.int32)
    label_image[label_image == 2] = largest
    write_label_image(tmp_path / "a.tif", label_image)
    read = read_numbered(tmp_path / "a.tif")
    np.testing.assert_array_equal(read.label_image, LABEL_IMAGE)
    assert read.ids.tolist() == [1, largest]
    assert tifffile.imread(tmp_path / "a.tif").dtype == dtype
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE


@pytest.mark.parametrize("largest", [2, 65_536])
def test_a_label_image_states_its_pixel_size_in_um_and_its_model_as_imagej_does(tmp_path: Path, largest: int) -> None:
    path, label_image = tmp_path / "a.tif", LABEL_IMAGE.astype(np.int32)
    label_image[label_image == 2] = largest
    write_label_image(path, label_image, 0.325, "nucleus-segmenter version 3, 0123456789abcdef")
    with tifffile.TiffFile(path) as tiff:
        assert tiff.imagej_metadata is not None
        assert tiff.imagej_metadata["unit"] == "micron"
        assert tiff.imagej_metadata["Info"] == "nucleus-segmenter version 3, 0123456789abcdef"
        for axis in "XY":
            pixels, length_um = tiff.pages.first.tags[f"{axis}Resolution"].value
            assert length_um / pixels == pytest.approx(0.325)
    assert pixel_size_of_image(path.read_bytes(), path).um == pytest.approx(0.325)
    np.testing.assert_array_equal(tifffile.imread(path), label_image)


def test_float_labels_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got \\(20, 30\\) float64"):
        write_label_image(tmp_path / "a.tif", LABEL_IMAGE.astype(float))
    assert not (tmp_path / "a.tif").exists()


def test_labels_that_uint32_cannot_hold_are_not_written(tmp_path: Path) -> None:
    for labels, message in (
        (LABEL_IMAGE.astype(np.int64) << 32, "got 0 to 8589934592"),
        (-IMAGE.astype(int), "got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            write_label_image(tmp_path / "a.tif", labels)


def test_the_content_tells_what_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(imagecodecs.png_encode(IMAGE))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), IMAGE)
    (tmp_path / "a.tif").write_bytes(imagecodecs.jpeg_encode((IMAGE // 4).astype(np.uint8)))
    with pytest.raises(InputError, match=r"a\.tif: is neither TIFF nor PNG by its content"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("content", [_tiff(IMAGE), imagecodecs.png_encode(IMAGE)], ids=["tiff", "png"])
def test_what_lies_behind_the_image_does_not_matter(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(content + b"x" * 1000)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), IMAGE)


def test_a_damaged_png_is_refused_wherever_it_is_changed(tmp_path: Path) -> None:
    content = imagecodecs.png_encode(IMAGE)
    for place in range(8, len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x10
        (tmp_path / "a.png").write_bytes(changed)
        # What isn't refused was changed where nothing of the image lies.
        with contextlib.suppress(InputError):
            np.testing.assert_array_equal(read_image(tmp_path / "a.png"), IMAGE)


def test_a_size_beyond_all_bounds_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    content = bytearray(_tiff(IMAGE, compression="zlib", metadata=None))
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        places = [tiff.pages.first.tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
    for place in places:
        content[place : place + 4] = (10**6).to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tif: is 1000000 x 1000000 px, allowed are 268,435,456 px in all"):
        read_image(tmp_path / "a.tif")


def test_a_size_of_many_numbers_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    content = bytearray(_tiff(IMAGE, metadata=None))
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        place = tiff.pages.first.tags["ImageWidth"].offset + 4
    content[place : place + 8] = struct.pack("<II", 100, 8)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tif: is damaged or cut short \(its size is "):
        read_image(tmp_path / "a.tif")
