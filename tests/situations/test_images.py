"""Images that laboratories bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.situations.outcomes import Accepted, Change, Outcome, Refused, Row, check, table
from tests.situations.plain import NUCLEI, SIDE_PX, field, put_image, put_labels, to_screen

IMAGE, LABEL_IMAGE = field(1)
ENLARGED = np.maximum(IMAGE, 105)[::2, ::2].repeat(2, 0).repeat(2, 1) - np.uint16(105)
BYTE_COUNTS = 279
STRIP_OFFSETS = 273


def written(image: NDArray[Any] = IMAGE, **options: Any) -> Change:
    return lambda plate: put_image(plate, image, **options)


def as_png(image: NDArray[Any]) -> Change:
    def change(plate: Path) -> None:
        (plate / "images/f1.tif").unlink()
        (plate / "images/f1.png").write_bytes(imagecodecs.png_encode(image))

    return change


def content(change_bytes: Any) -> Change:
    def change(plate: Path) -> None:
        path = plate / "images/f1.tif"
        path.write_bytes(change_bytes(path.read_bytes()))

    return change


def of_screen(change: Change) -> Change:
    def of_both(plate: Path) -> None:
        to_screen(plate)
        change(plate)

    return of_both


def lost_strip(plate: Path) -> None:
    put_image(plate, IMAGE, rowsperstrip=64, compression="zlib")
    path = plate / "images/f1.tif"
    with tifffile.TiffFile(path) as tiff:
        tags = tiff.pages.first.tags
        places = [tags[STRIP_OFFSETS].valueoffset + 4 * 3, tags[BYTE_COUNTS].valueoffset + 4 * 3]
    data = bytearray(path.read_bytes())
    for at in places:
        data[at : at + 4] = bytes(4)
    path.write_bytes(data)


def half_zero(image: NDArray[Any]) -> NDArray[Any]:
    half = image.copy()
    half[SIDE_PX // 2 :] = 0
    return half


def hot(image: NDArray[Any]) -> NDArray[Any]:
    image = image.copy()
    image[7, 9] = 65535
    return image


def framed(image: NDArray[Any], value: int) -> NDArray[Any]:
    inner = image[6:-6, 6:-6]
    return np.pad(inner, 6, constant_values=value)


HALF, END = slice(SIDE_PX // 2, None), slice(None)


def lost(rows: slice, columns: slice, value: int = 0) -> Change:
    """Make a screening plate, with one value in a part of an image."""
    image = IMAGE.copy()
    image[rows, columns] = value
    return of_screen(written(image, compression="zlib"))


def three_quadrants_lost(plate: Path) -> None:
    image = np.zeros_like(IMAGE)
    image[HALF, HALF] = IMAGE[HALF, HALF]
    of_screen(written(image))(plate)


def seen_through(is_seen: NDArray[np.bool_]) -> Change:
    return of_screen(written(np.where(is_seen, IMAGE, 0).astype(np.uint16)))


FROM_CENTRE = np.mgrid[:SIDE_PX, :SIDE_PX] - SIDE_PX // 2
ROUND = np.hypot(*FROM_CENTRE) < SIDE_PX // 2
TURNED = np.abs(FROM_CENTRE[0] * 3 + FROM_CENTRE[1]) < SIDE_PX * 1.4


def without_file_of_an_image(plate: Path) -> None:
    (plate / "images/f1.tif").unlink()
    (plate / "images/f1.tif").symlink_to(plate / "nowhere.tif")


def folder_as_image(plate: Path) -> None:
    (plate / "images/f1.tif").unlink()
    (plate / "images/f1.tif").mkdir()


COLOUR = np.stack([IMAGE, IMAGE // 2, IMAGE // 4], axis=-1)
OME_OF_THREE = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="320" SizeY="320" SizeZ="3" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData IFD="0" PlaneCount="3"/></Pixels></Image></OME>'  # noqa: E501

ROWS: list[Row] = [
    ("the plain plate", lambda plate: None, Accepted()),
    ("a hot pixel", written(hot(IMAGE)), Accepted()),
    ("8 bit", written((IMAGE // 4).astype(np.uint8)), Accepted()),
    ("tiles and compression", written(tile=(64, 64), compression="zlib"), Accepted()),
    ("LZW with a predictor", written(compression="lzw", predictor=True), Accepted()),
    ("BigTIFF", written(bigtiff=True), Accepted()),
    ("big-endian", written(byteorder=">"), Accepted()),
    ("PNG", as_png(IMAGE), Accepted()),
    ("bytes behind the end of a TIFF", content(lambda data: data + b"\0" * 100), Accepted()),
    ("a narrow black border of stitching", written(framed(IMAGE, 0)), Accepted()),
    ("float pixels", written(IMAGE.astype(np.float32)), Refused("f1.tif: .*float32.*uint16")),
    ("signed pixels", written(IMAGE.astype(np.int32)), Refused("f1.tif: .*int32.*uint16")),
    ("colour", written(COLOUR, photometric="rgb"), Refused("f1.tif: .*colour")),
    ("three planes", written(np.stack([IMAGE, IMAGE.T, IMAGE]), photometric="minisblack"), Refused("f1.tif: .*3")),
    ("an empty file", content(lambda data: b""), Refused("f1.tif: .*(empty|damaged|cut)")),
    ("text called .tif", content(lambda data: b"see the other folder"), Refused("f1.tif: is neither TIFF nor PNG")),
    ("the first half of a file", content(lambda data: data[: len(data) // 2]), Refused("f1.tif: .*(cut|missing)")),
    (
        "a file whose second half was never written",
        written(half_zero(IMAGE)),
        Refused("f1.tif: .*exactly 0 in long stretches"),
    ),
    ("the right half lost", lost(END, HALF), Accepted(r"50\.0%.*columns 160 to 319 of 320", 2, 0)),
    ("a quadrant lost", lost(HALF, HALF), Accepted("exactly 0 in an area with straight edges", 2, 0)),
    ("three of four quadrants lost", three_quadrants_lost, Accepted("75.0%.*exactly 0", 2, 0)),
    ("a tile in the middle lost", lost(slice(90, 210), slice(100, 220)), Accepted("exactly 0 in an area", 2, 0)),
    ("a fifth of the columns lost", lost(END, slice(0, 70)), Accepted("21.9%.*exactly 0", 2, 0)),
    ("the lower half saturated", lost(HALF, END, 65535), Accepted("exactly 65535.*overexposed", 2, 0)),
    ("a gap filled up with 100", lost(HALF, END, 100), Accepted("50.0%.*exactly 100", 2, 0)),
    ("a tile filled up with the background", lost(slice(90, 210), HALF, 110), Accepted("exactly 110", 2, 0)),
    ("a black border at one side", lost(END, slice(0, 12)), Accepted(None, 2, 0)),
    ("a round field of view", seen_through(ROUND), Accepted(None, 2, 0)),
    ("the black corners of a turned image", seen_through(TURNED), Accepted(None, 2, 0)),
    ("a background of 0", seen_through(LABEL_IMAGE > 0), Accepted(None, 2, 0)),
    ("one nucleus, and a background of 0", seen_through(LABEL_IMAGE == 1), Accepted(None, 2, 0)),
    ("a strip that isn't there", lost_strip, Refused("f1.tif: .*(missing|lack)")),
    ("OME-XML that promises three planes", written(description=OME_OF_THREE), Refused("f1.tif: .*3")),
    (
        "ImageJ that promises three images",
        written(description="ImageJ=1.53\nimages=3\nslices=3\n", metadata=None),
        Refused("f1.tif: .*3"),
    ),
    ("white is zero", written(photometric="miniswhite"), Refused("f1.tif: .*white")),
    ("labels in place of an image", written(LABEL_IMAGE), Refused("images/f1.tif: looks like a label image or a mask")),
    ("a mask in place of an image", written((LABEL_IMAGE > 0) * np.uint8(255)), Refused("f1.tif: looks like .*a mask")),
    (
        "a label image among the images of a screen",
        of_screen(lambda plate: tifffile.imwrite(plate / "images/f1_nuclei.tif", LABEL_IMAGE)),
        Accepted("f1_nuclei.tif: looks like a label image", 2, 0),
    ),
    ("an image enlarged by repeating pixels, background 0", written(ENLARGED), Accepted()),
    ("a constant image", written(np.full_like(IMAGE, 7)), Refused("f1.tif: every pixel is 7")),
    ("a link to nowhere", without_file_of_an_image, Refused("f1.tif")),
    ("a folder called .tif", folder_as_image, Refused("f1.tif")),
    (
        "a photograph beside",
        lambda plate: (plate / "images/x.jpg").write_bytes(b"x"),
        Refused("x.jpg: is not an image"),
    ),
    (
        "a screen with a constant image",
        of_screen(written(np.full_like(IMAGE, 7))),
        Accepted("f1.tif.*every pixel is 7", 1, 0),
    ),
    (
        "a screen with an image that is cut short",
        of_screen(content(lambda data: data[:-300])),
        Accepted("f1.tif.*(cut|missing)", 1, 0),
    ),
    (
        "a screen without one good image",
        of_screen(lambda plate: [path.write_bytes(b"") for path in (plate / "images").iterdir()]),
        Refused("f1.tif.*f2.tif"),
    ),
    (
        "labels of another size",
        lambda plate: put_labels(plate, LABEL_IMAGE[:-1]),
        Refused("f1.tif is .*319 x 320|319 x 320"),
    ),
    (
        "three faulty files",
        lambda plate: [
            (plate / name).write_bytes(b"x") for name in ("images/f1.tif", "images/f2.tif", "labels/f1.tif")
        ],
        Refused("images/f1.tif.*labels/f1.tif.*images/f2.tif"),
    ),
    ("a field without nuclei", lambda plate: empty_field(plate), Accepted(fovs=2, nuclei=NUCLEI)),
]


def empty_field(plate: Path) -> None:
    """A field of background, and its labels."""
    rng = np.random.default_rng(0)
    put_image(plate, rng.normal(110, 5, IMAGE.shape).round().astype(np.uint16))
    put_labels(plate, np.zeros_like(LABEL_IMAGE))


@table(ROWS)
def test_an_image_is_right_or_refused(change: Change, outcome: Outcome, tmp_path: Path) -> None:
    check(change, outcome, tmp_path)
