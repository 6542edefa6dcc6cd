"""Tests of images whose strips, tiles, pages or pixels are missing."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.image_files import (
    decode_image,
    decode_numbered,
    image_doubts,
    label_doubts,
    read_image,
)
from tests import dsb2018
from tests.repository import REPOSITORY

PATH = Path("images/a.tif")
# As of a camera with an offset: no pixel is 0.
IMAGE = np.random.default_rng(0).integers(90, 900, (256, 320)).astype(np.uint16)
ROWS: dict[str, Any] = {"rowsperstrip": 64}
TILES: dict[str, Any] = {"tile": (64, 64)}
OFFSETS, COUNTS = ("StripOffsets", "TileOffsets"), ("StripByteCounts", "TileByteCounts")


def tiff(array: NDArray[Any] = IMAGE, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def change_last(content: bytes, tags: tuple[str, str], value: int) -> bytes:
    """Change the last entry of the first of the tags that is there."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tag = next(file.pages.first.tags[name] for name in tags if name in file.pages.first.tags)
    code = {3: "<H", 4: "<I", 16: "<Q"}[int(tag.dtype)]
    place = tag.valueoffset + (tag.count - 1) * struct.calcsize(code)
    return content[:place] + struct.pack(code, value) + content[place + struct.calcsize(code) :]


def last_part(content: bytes) -> tuple[int, int]:
    """Give offset and size of the last strip or tile."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        return file.pages.first.dataoffsets[-1], file.pages.first.databytecounts[-1]


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "packbits", "jpeg2000"])
@pytest.mark.parametrize(("parts", "missing"), [(ROWS, "1 of its 4 strips"), (TILES, "1 of its 20 tiles")])
def test_a_strip_or_tile_that_lies_nowhere_or_is_empty_is_refused(
    parts: dict[str, Any], missing: str, compression: str | None
) -> None:
    content = tiff(compression=compression, **parts)
    np.testing.assert_array_equal(decode_image(content, PATH), IMAGE)
    for tags, value in ((OFFSETS, 0), (COUNTS, 0), (OFFSETS, len(content))):
        changed = change_last(content, tags, value)
        for decode in (decode_image, decode_numbered):
            with pytest.raises(InputError, match=rf"a\.tif: is damaged or cut short \({missing} of pixels are missing"):
                decode(changed, PATH)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd", "lzma", "packbits", "jpeg2000", "jpeg"])
@pytest.mark.parametrize("parts", [ROWS, TILES], ids=["strips", "tiles"])
def test_a_compressed_part_whose_end_was_never_written_is_refused(parts: dict[str, Any], compression: str) -> None:
    image = (IMAGE // 4).astype(np.uint8) if compression == "jpeg" else IMAGE
    content = tiff(image, compression=compression, **parts)
    offset, count = last_part(content)
    for lost in (count, count // 2):
        end = offset + count
        with pytest.raises(InputError, match=r"a\.tif: is damaged or cut short \("):
            decode_image(content[: end - lost] + bytes(lost) + content[end:], PATH)


def test_an_uncompressed_strip_that_is_too_short_is_refused() -> None:
    with pytest.raises(InputError, match="1 of its 4 strips of pixels are missing"):
        decode_image(change_last(tiff(**ROWS), COUNTS, 1000), PATH)


SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
OME = f'<OME xmlns="{SCHEMA}" UUID="urn:uuid:1"><Image><Pixels {{}}</Pixels></Image></OME>'
PART = '<TiffData IFD="0" FirstZ="{}" PlaneCount="1"><UUID FileName="{}.tif">urn:uuid:{}</UUID></TiffData>'
TOO_FEW_PAGES = {
    "OME-XML": OME.format('SizeX="320" SizeY="256" SizeZ="2" SizeC="2" SizeT="1"><TiffData/>'),
    "ImageJ's description": "ImageJ=1.54f\nimages=4\nslices=4\n",
    "its description": '{"shape": [4, 256, 320]}',
}


@pytest.mark.parametrize("source", TOO_FEW_PAGES)
def test_a_file_that_promises_more_pages_than_it_has_is_refused(source: str) -> None:
    with pytest.raises(InputError, match=rf"a\.tif: holds 1 page, and {source} promises 4; allowed is one plane"):
        decode_image(tiff(description=TOO_FEW_PAGES[source], metadata=None), PATH)


def test_of_files_that_belong_together_each_is_read_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = PART.format(0, "a", 1) + PART.format(1, "b", 2)
    description = OME.format(f'SizeX="320" SizeY="256" SizeZ="2" SizeC="1" SizeT="1">{parts}')
    for name in "ab":
        (tmp_path / f"{name}.tif").write_bytes(tiff(description=description, metadata=None))
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(read_image(Path("a.tif")), IMAGE)


@pytest.mark.parametrize("ome", [True, False])
def test_of_a_pyramid_the_full_resolution_is_read(ome: bool) -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, ome=ome) as writer:
        writer.write(IMAGE, subifds=1, tile=(64, 64))
        writer.write(IMAGE[::2, ::2], subfiletype=1, tile=(64, 64))
    np.testing.assert_array_equal(decode_image(file.getvalue(), PATH), IMAGE)


def test_a_thumbnail_beside_the_image_is_left_out_and_one_alone_refused() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(IMAGE)
        writer.write(IMAGE[::4, ::4], subfiletype=1)
    np.testing.assert_array_equal(decode_image(file.getvalue(), PATH), IMAGE)
    with pytest.raises(InputError, match="holds 1 thumbnails and no image"):
        decode_image(tiff(IMAGE[::4, ::4], subfiletype=1), PATH)


@pytest.mark.parametrize("share", [0.06, 0.25, 0.5, 0.99])
@pytest.mark.parametrize("parts", [{}, ROWS, TILES], ids=["one strip", "strips", "tiles"])
def test_an_image_whose_last_pixels_were_never_written_is_refused(parts: dict[str, Any], share: float) -> None:
    content = tiff(**parts)
    lost = round(share * IMAGE.nbytes)
    with pytest.raises(InputError, match=rf"a\.tif: {share:.1%} of its pixels are exactly 0 in long .*copy it again"):
        decode_image(content[:-lost] + bytes(lost), PATH)


def test_holes_of_a_sparse_copy_are_refused() -> None:
    content = bytearray(tiff())
    for start in range(8192, len(content) - 8192, 32768):
        content[start : start + 8192] = bytes(8192)
    with pytest.raises(InputError, match="exactly 0 in long stretches"):
        decode_image(bytes(content), PATH)


def test_a_missing_part_of_some_rows_is_a_doubt_that_names_them() -> None:
    image = IMAGE.copy()
    image[200:208] = 0
    assert decode_image(tiff(image), PATH).shape == IMAGE.shape
    (doubt,) = image_doubts(image)
    assert doubt.startswith("3.1% of its pixels are exactly 0 in long stretches (between rows 200 and 207 of 256)")
    assert image_doubts(IMAGE) == []


@pytest.mark.parametrize("value", [0, 100, 65535])
def test_a_lost_tile_is_a_doubt_that_names_its_place(value: int) -> None:
    image = IMAGE.copy()
    image[100:164, 200:280] = value
    (doubt,) = image_doubts(image)
    assert doubt.startswith(f"6.2% of its pixels are exactly {value} in an area with straight edges")
    assert "(rows 100 to 163 of 256, columns 200 to 279 of 320)" in doubt


def test_a_lost_tile_is_found_among_dead_pixels() -> None:
    image = IMAGE.copy()
    image[np.random.default_rng(1).random(image.shape) < 0.02] = 0
    assert image_doubts(image) == []
    image[:, 160:] = 0
    assert len(image_doubts(image)) == 1


def test_dead_columns_and_a_narrow_border_are_no_lost_tiles() -> None:
    image = IMAGE.copy()
    image[:, 100:103] = 65535
    image[:, :12] = 0
    assert image_doubts(image) == []


def framed(width: int) -> NDArray[np.uint16]:
    image = np.zeros_like(IMAGE)
    image[width:-width, width:-width] = IMAGE[width:-width, width:-width]
    return image


def specks() -> NDArray[np.uint16]:
    image = np.zeros_like(IMAGE)
    image.flat[::3001] = 300
    return image


BLACK_AND_WHOLE = {
    "a frame of stitching": framed(8),
    "a wide frame": framed(40),
    "a black left half": np.where(np.arange(320) < 160, 0, IMAGE),
    "a background of 0": np.where(IMAGE < 600, 0, IMAGE),
    "black but for a few pixels": specks(),
}


@pytest.mark.parametrize("image", BLACK_AND_WHOLE.values(), ids=BLACK_AND_WHOLE)
def test_images_that_are_black_in_part_are_read(image: NDArray[Any]) -> None:
    np.testing.assert_array_equal(decode_image(tiff(image.astype(np.uint16)), PATH), image)


def test_an_image_that_was_imported_before_is_read_all_the_same(tmp_path: Path) -> None:
    image = IMAGE.copy()
    image[128:] = 0
    (tmp_path / "a.tif").write_bytes(tiff(image))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


@pytest.mark.parametrize("rows", [40, 100, 200])
def test_a_label_image_whose_nuclei_all_end_in_one_row_is_doubted(rows: int) -> None:
    y, x = np.mgrid[:256, :320]
    # Nuclei 16 px high every 20 px, each column of them 3 px lower than the one before.
    shifted = y + 3 * (x // 20)
    labels = np.where(shifted % 20 < 16, 1 + shifted // 20 * 16 + x // 20, 0)
    assert label_doubts(labels) == []
    labels.flat[rows * 320 + 11 :] = 0
    (doubt,) = label_doubts(labels)
    assert doubt.startswith("several nuclei end in row ")
    assert "of 256, and none follows; look whether its end is missing" in doubt


def test_nuclei_that_all_end_where_a_patch_of_a_field_ends_are_not_doubted() -> None:
    y, x = np.mgrid[:256, :320]
    shifted = y + 3 * (x // 20)
    labels = np.where((shifted % 20 < 16) & (y < 100), 1 + shifted // 20 * 16 + x // 20, 0)
    assert label_doubts(labels, y >= 100) == []
    assert label_doubts(labels, y < 20) == label_doubts(labels) != []


def test_a_label_image_without_nuclei_is_not_doubted() -> None:
    assert label_doubts(np.zeros((20, 30), np.int32)) == []


@pytest.mark.skipif(not dsb2018.is_available(), reason="the images are not there")
def test_no_image_or_label_image_of_two_public_sets_is_refused_or_doubted() -> None:
    paths = sorted((REPOSITORY.parent / "shared/data").glob("*/*/*/images/*.tif"))
    assert len(paths) > 300
    for path in paths:
        image = decode_image(path.read_bytes(), path)
        assert image_doubts(image) == [], path
        labels_path = path.parent.parent / "labels" / path.name
        assert label_doubts(decode_numbered(labels_path.read_bytes(), labels_path).label_image) == [], path
