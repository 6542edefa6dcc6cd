"""Tests of how colours, palettes, transparency and white as 0 are read, or refused."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.image_files import decode_image, decode_numbered
from tests.plates import two_squares

LABEL_IMAGE = two_squares()[1].astype(np.uint8)
GREY: NDArray[np.uint8] = np.random.default_rng(0).integers(20, 200, (20, 30)).astype(np.uint8)
BLACK = np.zeros_like(GREY)
RAMP = np.arange(256, dtype=np.uint16) * 257
ANY_COLOURS = np.random.default_rng(0).integers(0, 2**16, (3, 256)).astype(np.uint16)
PATH = Path("images/a.tif")


def tiff(array: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def png(array: NDArray[Any]) -> bytes:
    return bytes(imagecodecs.png_encode(array))


def palette_png(indices: NDArray[np.uint8], colours: list[int], **options: Any) -> bytes:
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    image.putpalette(colours)
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


SHOWN_IN_A_COLOUR = {
    "red, green and blue are equal": [GREY, GREY, GREY],
    "blue alone": [BLACK, BLACK, GREY],
    "cyan": [BLACK, GREY, GREY],
    "with a constant transparency": [GREY, GREY, GREY, BLACK + 255],
}


@pytest.mark.parametrize("channels", SHOWN_IN_A_COLOUR.values(), ids=SHOWN_IN_A_COLOUR)
def test_grey_that_was_saved_in_a_colour_is_read(channels: list[NDArray[np.uint8]]) -> None:
    colour = np.stack(channels, axis=-1)
    samples = {"extrasamples": ["unassalpha"]} if len(channels) == 4 else {}
    for content in (tiff(colour, photometric="rgb", **samples), png(colour)):
        np.testing.assert_array_equal(decode_image(content, PATH), GREY)


def test_grey_with_a_constant_transparency_is_read() -> None:
    np.testing.assert_array_equal(decode_image(png(np.stack([GREY, BLACK + 9], -1)), PATH), GREY)


@pytest.mark.parametrize("channels", [[GREY, BLACK, GREY // 2], [GREY, GREY, GREY, GREY], [GREY, GREY]])
def test_colours_or_transparencies_that_differ_are_refused(channels: list[NDArray[np.uint8]]) -> None:
    with pytest.raises(InputError, match=r"has the shape \(20, 30, \d\), as colour and transparency have, and their"):
        decode_image(png(np.stack(channels, axis=-1)), PATH)


def test_three_planes_that_tifffile_has_saved_as_colour_are_refused() -> None:
    with pytest.raises(InputError, match=r"has the shape \(3, 20, 30\), as colour and several pages have"):
        decode_image(tiff(np.stack([GREY] * 3), photometric="rgb"), PATH)


@pytest.mark.parametrize("colours", [[RAMP, RAMP, RAMP], [0 * RAMP, 0 * RAMP, RAMP]], ids=["grey", "blue"])
def test_an_image_with_a_lookup_table_that_rises_is_read_as_its_numbers(colours: list[NDArray[np.uint16]]) -> None:
    content = tiff(GREY, photometric="palette", colormap=np.array(colours))
    np.testing.assert_array_equal(decode_image(content, PATH), GREY)


@pytest.mark.parametrize("colours", [[RAMP[::-1]] * 3, list(ANY_COLOURS)], ids=["inverted", "any colours"])
def test_an_image_with_another_lookup_table_is_refused(colours: list[NDArray[np.uint16]]) -> None:
    content = tiff(GREY, photometric="palette", colormap=np.array(colours))
    with pytest.raises(InputError, match="lookup table whose colours don't rise with intensity; save it in grey"):
        decode_image(content, PATH)


def test_a_png_with_a_palette_of_greys_is_read_and_one_of_colours_is_refused() -> None:
    greys = [value for index in range(256) for value in [255 - index] * 3]
    np.testing.assert_array_equal(decode_image(palette_png(GREY, greys), PATH), 255 - GREY)
    with pytest.raises(InputError, match=r"has the shape \(20, 30, 3\), as colour"):
        decode_image(palette_png(GREY, [int(value) for value in ANY_COLOURS.T.ravel() >> 8]), PATH)


@pytest.mark.parametrize("options", [{}, {"bits": 2}, {"bits": 4}, {"transparency": 0}])
def test_the_indices_of_a_palette_are_the_labels(options: dict[str, Any]) -> None:
    # Both nuclei have the same colour.
    colours = [0, 0, 0, 255, 0, 0, 255, 0, 0] + [7] * 3 * (13 if "bits" not in options else 2 ** options["bits"] - 3)
    content = palette_png(LABEL_IMAGE, colours, **options)
    np.testing.assert_array_equal(decode_numbered(content, PATH).label_image, LABEL_IMAGE)


def test_the_indices_of_a_tiff_with_a_palette_are_the_labels() -> None:
    content = tiff(LABEL_IMAGE, photometric="palette", colormap=ANY_COLOURS)
    np.testing.assert_array_equal(decode_numbered(content, PATH).label_image, LABEL_IMAGE)


def test_labels_that_were_saved_as_equal_colours_are_read() -> None:
    content = png(np.stack([LABEL_IMAGE] * 3, axis=-1))
    np.testing.assert_array_equal(decode_numbered(content, PATH).label_image, LABEL_IMAGE)


def test_an_image_with_0_as_white_is_refused_and_labels_stay_what_they_are() -> None:
    with pytest.raises(InputError, match=r"says that 0 is white \(PhotometricInterpretation 0\), which programs read"):
        decode_image(tiff(255 - GREY, photometric="miniswhite"), PATH)
    content = tiff(LABEL_IMAGE, photometric="miniswhite")
    np.testing.assert_array_equal(decode_numbered(content, PATH).label_image, LABEL_IMAGE)
