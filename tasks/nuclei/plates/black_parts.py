"""Parts of an image that are missing: long runs of exact zeros, and areas of one exact value with straight edges.

Runs are those of files that were never written to their end, in a file where hardly any other pixel is 0.
A copy that broke off after the file had got its size leaves zeros, as do holes in a sparse copy, and a TIFF without
compression has no checksum that tells. A camera adds an offset, so its pixels are never 0 for long. Where the
background was subtracted zeros are everywhere, so they tell nothing: in 383 images of two public sets, at least 35 %
of the pixels outside the longest run were 0 in every image with a run of over 10 px.

Areas are the tiles that stitching lost, the half of a camera, and gaps that were filled up. A background of one exact
value, a round field of view and the corners of a turned image have no straight edges: in the same images, the
`STRAIGHT_LINES` longest make up 18 % of the outline at most.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

REFUSED_SHARE = 0.05
"""Share of the pixels in runs of zeros from which on an image is refused; a black edge of stitching is narrower."""
ZEROS_OF_CAMERA = 0.05
"""Share of zeros among the other pixels up to which a run of zeros can't be the background."""
ZEROS_IN_DOUBT = 0.3
"""Up to this share it may be either."""
SMALLEST_HOLE_BYTES = 4096
"""The block of most file systems; nothing smaller goes missing."""
NUCLEI_CUT = 3
"""How many nuclei that end flat in one row, with nothing below, tell that a label image was cut there."""
ROUNDED_PX = 2
"""Within so many rows a nucleus that ends by itself gets narrower."""
FLAT_SHARE = 0.5
"""Of the width before, at least, in the last row of a nucleus that was cut."""
EMPTY_BELOW = 0.05
"""Share of the rows that must be empty below."""
SMALLEST_PIECE_PX = 100
"""A black image with single bright pixels has runs of zeros too, and nothing but these pixels between them."""

NARROW_SHARE = 0.05
"""Of the height and the width: a margin in which black edges of stitching lie."""
BLOCKS_ALONG_SIDE = 32
"""An area is looked for where it fills one of so many blocks along the shorter side."""
STRAIGHT_LINES = 8
"""An area with a corner at each end of so many lines, such as three of four quadrants, is a missing one."""
STRAIGHT_SHARE = 0.7
"""Share of the outline in these lines from which on it is straight; where pixels beside have the value too, of a gap
that was filled up with the background's, it is 0.9."""
SHORTEST_OUTLINE = 0.25
"""Of the shorter side; the outline of one small nucleus alone on a background of 0 is straight too."""


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


class FilledArea(NamedTuple):
    """Pixels of one exact value that hang together, in an outline of straight lines."""

    value: int
    share: float
    """Of all pixels."""
    rows: tuple[int, int]
    """The first and the last."""
    columns: tuple[int, int]


def filled_area(image: NDArray[Any]) -> FilledArea | None:
    """Find the largest area of one value with straight edges in a (y, x) image; None if there is none.

    One in the margin of `NARROW_SHARE` isn't found, nor one of less than `SMALLEST_HOLE_BYTES`.
    """
    value = _value_of_blocks(image)
    if value is None:
        return None
    pieces, _ = ndimage.label(image == value)
    sizes = np.bincount(pieces.ravel())
    number = int(sizes[1:].argmax()) + 1
    if sizes[number] * image.itemsize < SMALLEST_HOLE_BYTES or not _has_straight_edges(pieces == number):
        return None
    rows, columns = ndimage.find_objects(pieces, number)[number - 1]
    return FilledArea(value, sizes[number] / image.size, (rows.start, rows.stop - 1), (columns.start, columns.stop - 1))


def _value_of_blocks(image: NDArray[Any]) -> int | None:
    """Give the value that fills most blocks inside the margin; None if each has several values."""
    side = max(min(image.shape) // BLOCKS_ALONG_SIDE, 4)
    margins = [math.ceil(NARROW_SHARE * length) for length in image.shape]
    rows, columns = ((length - 2 * margin) // side for length, margin in zip(image.shape, margins, strict=True))
    if rows < 1 or columns < 1:
        return None
    top, left = margins
    blocks = image[top : top + rows * side, left : left + columns * side].reshape(rows, side, columns, side)
    lowest, highest = blocks.min(axis=(1, 3)), blocks.max(axis=(1, 3))
    values = lowest[lowest == highest]
    return int(np.bincount(values).argmax()) if values.size else None


def _has_straight_edges(is_area: NDArray[np.bool_]) -> bool:
    """Whether hardly more than `STRAIGHT_LINES` lines hold the outline inside the image."""
    lines = np.concatenate(
        [np.count_nonzero(np.diff(is_area, axis=axis), axis=1 - axis) for axis in (0, 1)],
    )
    outline = int(lines.sum())
    straight = int(np.sort(lines)[-STRAIGHT_LINES:].sum())
    return outline >= SHORTEST_OUTLINE * min(is_area.shape) and straight >= STRAIGHT_SHARE * outline


def row_of_cut(label_image: NDArray[np.integer]) -> int | None:
    """Find the last row with nuclei of a (y, x) label image, if several end there at once and many empty rows follow.

    Zeros are usual in a label image; nuclei that are all cut in one row are not. None if nothing is cut.
    """
    rows = np.flatnonzero(label_image.any(axis=1))
    if len(rows) < 2 or len(label_image) - 1 - rows[-1] < EMPTY_BELOW * len(label_image):
        return None
    # A file breaks off anywhere in a row; the one above is whole.
    last, before = (np.bincount(label_image[max(rows[-1] - up, 0)]) for up in (1, 1 + ROUNDED_PX))
    known = min(len(last), len(before))
    is_cut = (before[1:known] > 0) & (last[1:known] >= FLAT_SHARE * before[1:known])
    return int(rows[-1]) if np.count_nonzero(is_cut) >= NUCLEI_CUT else None
