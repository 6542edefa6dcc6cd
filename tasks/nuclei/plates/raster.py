"""The pixels of a file as they are stored, with what tells how they are to be read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError

MAX_PIXELS = 2**28
"""16,384 x 16,384. A damaged header can name any size, and a few bytes can unpack to all of it."""

MAX_FIELD_PIXELS = 2**26
"""8,192 x 8,192, twelve times a field of 2160 x 2560 px. A field that arrives takes 37 bytes of memory for each of its
pixels while its labels are checked, 2.5 GB with so many. What was imported when more was allowed stays readable."""


@dataclass(frozen=True)
class Raster:
    """What a file holds: (y, x), or with colours and transparency (y, x, sample)."""

    pixels: NDArray[Any]
    colours: int = 1
    """3 for red, green and blue; samples after them are transparency."""
    white_is_zero: bool = False
    """Whether the file says that larger numbers are darker."""
    palette: NDArray[Any] | None = None
    """(index, 3) red, green and blue, if the pixels are indices of colours."""
    tile: tuple[int, int] | None = None
    """Height and width of the tiles in which the pixels lie in the file; rows of the image if there are none."""

    def grey(self) -> NDArray[Any]:
        """Give the one channel, (y, x), whose grey was saved as colour or with a constant transparency.

        It is one where red, green and blue are equal, or those are that aren't 0 everywhere, as in an image shown in
        blue. Raises InputError for any other colours.
        """
        pixels = self.pixels.squeeze() if self.pixels.ndim > 3 else self.pixels
        samples = pixels.shape[-1] if pixels.ndim == 3 else 1
        if pixels.ndim != 3 or samples not in (1, self.colours, self.colours + 1):
            return pixels.squeeze() if pixels.ndim > 2 else pixels
        channels = [pixels[..., number] for number in range(self.colours)]
        used = [channel for channel in channels if channel.any()] or channels[:1]
        transparency = pixels[..., self.colours :]
        differ = any((channel != used[0]).any() for channel in used[1:])
        if differ or (transparency.size and (transparency != transparency.flat[0]).any()):
            raise InputError(
                f"has the shape {pixels.shape}, as colour and transparency have, and their values differ; "
                "allowed is one grey channel, (y, x), save the channel of the nuclei by itself."
            )
        return used[0]


def refuse_too_large(shape: tuple[int, ...], most: int = MAX_PIXELS) -> None:
    """Raise InputError for an image of more pixels than `most`, before memory is taken for it."""
    # Where a damaged tag holds many numbers in place of one, their product would fill the memory.
    if not all(isinstance(length, int) for length in shape):
        raise ValueError(f"its size is {shape!r:.60}")
    if math.prod(shape) > most:
        size = " x ".join(map(str, shape))
        raise InputError(f"is {size} px, allowed are {most:,} px in all; cut it into fields.")


def refuse_other_shapes(image: NDArray[Any]) -> None:
    """Raise InputError unless an image is one plane of one channel, (y, x), and has pixels."""
    if image.ndim != 2 or image.size == 0:
        raise InputError(
            f"has the shape {image.shape}, as colour and several pages have; "
            "allowed is one plane of one channel, (y, x), save it in this form."
        )


def in_file_order(image: NDArray[Any], tile: tuple[int, int] | None) -> NDArray[Any]:
    """Give the pixels of a (y, x) image one after the other as they lie in the file, tile by tile.

    Tiles at the right and the lower edge are filled up with copies of the last column and row.
    """
    if tile is None:
        return image.ravel()
    height, width = tile
    filled = np.pad(image, [(0, -image.shape[0] % height), (0, -image.shape[1] % width)], mode="edge")
    rows, columns = filled.shape[0] // height, filled.shape[1] // width
    return filled.reshape(rows, height, columns, width).swapaxes(1, 2).ravel()
