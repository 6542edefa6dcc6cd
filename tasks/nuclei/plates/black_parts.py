"""Parts of an image that were never written: long runs of exact zeros where hardly any other pixel is 0.

A copy that broke off after the file had got its size leaves zeros, as do holes in a sparse copy, and a TIFF without
compression has no checksum that tells. A camera adds an offset, so its pixels are never 0 for long. Where the
background was subtracted zeros are everywhere, so they tell nothing: in 383 images of two public sets, at least 35 %
of the pixels outside the longest run were 0 in every image with a run of over 10 px.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

REFUSED_SHARE = 0.05
"""Share of the pixels in runs of zeros from which on an image is refused; a black edge of stitching is narrower."""
ZEROS_OF_CAMERA = 0.05
"""Share of zeros among the other pixels up to which a run of zeros can't be the background."""
ZEROS_IN_DOUBT = 0.3
"""Up to this share it may be either."""
SMALLEST_HOLE_BYTES = 4096
"""The block of most file systems; nothing smaller goes missing."""
NUCLEI_CUT = 3
"""How many nuclei that end in one row, with nothing below, tell that a label image was cut there. In 2 of 383 label
images of two public sets as many do by chance."""
EMPTY_BELOW = 0.05
"""Share of the rows that must be empty below."""
SMALLEST_PIECE_PX = 100
"""A black image with single bright pixels has runs of zeros too, and nothing but these pixels between them."""


class BlackPart(NamedTuple):
    """Pixels that lie in long runs of zeros."""

    share: float
    """Of all pixels."""
    torn_share: float
    """Of all pixels, those that no border explains: the longer of the runs at the beginning and at the end, or all
    runs between. Images that were stitched or shifted may have a narrow border at both."""
    first: int
    last: int
    """Numbers of the first and the last of these pixels, in the order of the file."""
    zeros_elsewhere: float
    """Share of zeros among the other pixels."""
    piece_px: float
    """How many other pixels lie between two runs, on average."""


def black_part(pixels: NDArray[Any], longer_than_px: int) -> BlackPart | None:
    """Find the runs of zeros of `SMALLEST_HOLE_BYTES` or more that are longer than asked for, such as than a row.

    `pixels` are one-dimensional, in the order of the file. None if there is no such run, or nothing else.
    """
    is_zero = pixels == 0
    shortest = max(SMALLEST_HOLE_BYTES // pixels.itemsize, longer_than_px + 1)
    zeros = int(np.count_nonzero(is_zero))
    if zeros < shortest or zeros == pixels.size:
        return None
    edges = np.flatnonzero(np.diff(is_zero, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    is_long = ends - starts >= shortest
    if not is_long.any():
        return None
    lengths, starts, ends = (ends - starts)[is_long], starts[is_long], ends[is_long]
    is_at_border = (starts == 0) | (ends == pixels.size)
    in_runs = int(lengths.sum())
    others = pixels.size - in_runs
    return BlackPart(
        share=in_runs / pixels.size,
        torn_share=max(lengths[is_at_border].max(initial=0), lengths[~is_at_border].sum()) / pixels.size,
        first=int(starts[0]),
        last=int(ends[-1]) - 1,
        zeros_elsewhere=(zeros - in_runs) / others,
        piece_px=others / len(lengths),
    )


def was_not_written(part: BlackPart | None) -> bool:
    """Whether a part in runs longer than a row is so large and so unlike the rest that it can't be an image's own."""
    return (
        part is not None
        and part.torn_share >= REFUSED_SHARE
        and part.zeros_elsewhere < ZEROS_OF_CAMERA
        and part.piece_px >= SMALLEST_PIECE_PX
    )


def row_of_cut(label_image: NDArray[np.integer]) -> int | None:
    """Find the last row with nuclei of a (y, x) label image, if several end there at once and many empty rows follow.

    Zeros are usual in a label image; nuclei that are all cut in one row are not. None if nothing is cut.
    """
    rows = np.flatnonzero(label_image.any(axis=1))
    if len(rows) < 2 or len(label_image) - 1 - rows[-1] < EMPTY_BELOW * len(label_image):
        return None
    # A file breaks off anywhere in a row; the one above is whole.
    return int(rows[-1]) if np.count_nonzero(np.unique(label_image[rows[-1] - 1])) >= NUCLEI_CUT else None
