"""The image in a PNG file."""

from __future__ import annotations

import io
import struct

import imagecodecs
import numpy as np
from PIL import Image

from tasks.nuclei.plates.raster import Raster, refuse_too_large

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# The last chunk of every PNG, with its checksum; the decoder doesn't miss it.
_END = b"IEND\xaeB`\x82"

_PALETTE = 3
_COLOURS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}
"""Samples without transparency, by the number of the kind of PNG (PNG specification, 11.2.1)."""


def size_of_png(data: bytes) -> tuple[int, int]:
    """Give height and width, as the header of a PNG has them."""
    width, height = struct.unpack(">II", data[16:24])
    return height, width


def decode_png(data: bytes, indices: bool) -> Raster:
    """Decode a PNG. With a palette, `indices` gives the indices, (y, x), in place of the colours, (y, x, sample).

    Every part of a PNG has a checksum, so what is damaged or missing raises an error, of many types.
    """
    bits, kind = data[24], data[25]
    refuse_too_large(size_of_png(data))
    if _END not in data:
        raise ValueError("the end of the file is missing")
    pixels = imagecodecs.png_decode(data)
    if kind == _PALETTE and indices:
        pixels = np.asarray(Image.open(io.BytesIO(data)))
        return Raster(pixels)
    if bits < 8 and kind != _PALETTE:
        # The decoder stretches the numbers of 1, 2 and 4 bits to 255.
        pixels = pixels // (255 // (2**bits - 1))
    return Raster(pixels, colours=_COLOURS[kind])
