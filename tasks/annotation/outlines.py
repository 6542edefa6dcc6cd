"""Outlines along the corners of pixels: a mask becomes polygons and the same mask again, to the pixel.

OpenCV's contours go through the centres of the pixels at the edge, so that a nucleus loses half a pixel on all sides
each time. A point is (x, y); the pixel of row 0 and column 0 lies between the corners (0, 0) and (1, 1), as in QuPath,
ImageJ and CVAT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.annotation.sheet import Nucleus, cropped
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.raster import MAX_FIELD_PIXELS, refuse_too_large

Ring = NDArray[Any]
"""(n, 2) points (x, y) of a closed line, without the first at the end."""
Polygon = list[Ring]
"""What encloses it, then its holes."""

_RIGHT, _DOWN, _LEFT, _UP = range(4)
_FARTHEST_PX = 2**20
"""A point farther off is a mistake."""


class _Sides(NamedTuple):
    """The straight stretches of outlines, with the mask on their right."""

    start: NDArray[np.intp]
    end: NDArray[np.intp]
    """Corners, as row times columns plus column."""
    direction: NDArray[np.intp]


def polygons_of(nucleus: Nucleus) -> list[Polygon]:
    """Outline each piece of a nucleus whose pixels share sides. Polygons are valid by OGC: no ring touches itself."""
    count, pieces = cv2.connectedComponents(nucleus.mask.astype(np.uint8), connectivity=4)
    polygons = []
    for number in range(1, count):
        piece = nucleus.mask if count == 2 else pieces == number
        rings = [ring + (nucleus.left, nucleus.top) for ring in _rings(piece)]
        polygons.append(sorted(rings, key=_signed_area, reverse=True))
    return polygons


def _signed_area(ring: Ring) -> float:
    """Give the area in px, negative for a hole."""
    x, y = ring.T.astype(np.float64)
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _rings(mask: NDArray[np.bool_]) -> list[Ring]:
    padded = np.pad(mask, 1).astype(np.int8)
    # Differences across the lines of the grid: where there are some, the outline goes along.
    across, along = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    columns = mask.shape[1] + 1
    top, bottom, left, right = (
        _sides(across == 1, _RIGHT, 1, columns),
        _sides(across == -1, _LEFT, 1, columns),
        _sides(along.T == 1, _UP, columns, 1),
        _sides(along.T == -1, _DOWN, columns, 1),
    )
    parts = (top, bottom, left, right)
    sides = _Sides(*(np.concatenate(of_all) for of_all in zip(*parts, strict=True)))
    return [
        np.stack([corners % columns, corners // columns], axis=1)
        for walk in _walks(sides, columns * (mask.shape[0] + 1))
        for corners in map(np.asarray, _without_touching(walk))
    ]


def _sides(is_side: NDArray[np.bool_], direction: int, step: int, line_step: int) -> _Sides:
    """Find stretches of a line; `is_side` is (line, place), a line's corners are `step` apart, lines `line_step`."""
    changes = np.diff(np.pad(is_side, [(0, 0), (1, 1)]).astype(np.int8), axis=1)
    line, first = np.nonzero(changes == 1)
    last = np.nonzero(changes == -1)[1]
    ends = (line * line_step + first * step, line * line_step + last * step)
    start, end = ends if direction in (_RIGHT, _DOWN) else ends[::-1]
    return _Sides(start, end, np.full(len(start), direction))


def _walks(sides: _Sides, corners: int) -> list[list[int]]:
    """Put the sides one after the other. Where four meet, it turns right, so that it stays at the same pixel."""
    starting = np.full((corners, 4), -1, np.intp)
    starting[sides.start, sides.direction] = np.arange(len(sides.start))
    right, left = (starting[sides.end, (sides.direction + turn) % 4] for turn in (1, 3))
    following = np.where(right >= 0, right, left).tolist()
    starts = sides.start.tolist()
    walked = [False] * len(starts)
    walks = []
    for first in range(len(starts)):
        walk, side = [], first
        while not walked[side]:
            walked[side] = True
            walk.append(starts[side])
            side = following[side]
        if walk:
            walks.append(walk)
    return walks


def _without_touching(walk: list[int]) -> list[list[int]]:
    """Cut a walk that comes to a corner twice into walks that don't."""
    if len(set(walk)) == len(walk):
        return [walk]
    rings: list[list[int]] = []
    open_walk: list[int] = []
    for corner in walk:
        if corner in open_walk:
            place = open_walk.index(corner)
            rings.append(open_walk[place:])
            del open_walk[place:]
        open_walk.append(corner)
    return [*rings, open_walk]


def nucleus_in(polygons: Sequence[Sequence[Any]], size: tuple[int, int] | None) -> Nucleus | None:
    """Fill polygons, each a list of rings of points (x, y): the pixels whose centres they enclose; None without any.

    Where the rings of a polygon overlap, what an even number encloses is outside, as in holes. `size` is the height and
    width of the image if they are known. Raises InputError for rings that can't be.
    """
    all_rings = [[_checked(ring) for ring in rings] for rings in polygons]
    points = np.concatenate([ring for rings in all_rings for ring in rings])
    left, top = (int(value) for value in np.floor(points.min(axis=0)))
    right, bottom = (int(value) for value in np.ceil(points.max(axis=0)))
    refuse_too_large((bottom - top, right - left), MAX_FIELD_PIXELS)
    mask = np.zeros((bottom - top, right - left), np.bool_)
    for rings in all_rings:
        mask |= _filled([ring - (left, top) for ring in rings], mask.shape)
    return cropped(mask, top, left, size)


def _checked(ring: Any) -> NDArray[np.float64]:
    points = np.asarray(ring, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3:
        raise InputError(f"has an outline of the form {points.shape}; allowed are 3 points (x, y) and more.")
    if not np.isfinite(points).all() or np.abs(points).max() > _FARTHEST_PX:
        raise InputError("has an outline that leads far out of the image; draw it again.")
    return points


def _filled(rings: Sequence[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Count, for each pixel, how many edges its row crosses up to its centre: it is inside if that is odd."""
    crossed = np.zeros((shape[0], shape[1] + 1), np.int32)
    for ring in rings:
        x, y = ring.T
        next_x, next_y = np.roll(x, -1), np.roll(y, -1)
        # Rows whose centres lie between the ends of each edge; an end on a centre counts for the edge below it.
        first = np.ceil(np.minimum(y, next_y) - 0.5).astype(np.intp)
        rows_of_edge = np.ceil(np.maximum(y, next_y) - 0.5).astype(np.intp) - first
        edge = np.repeat(np.arange(len(x)), rows_of_edge)
        before = np.cumsum(rows_of_edge) - rows_of_edge
        rows = first[edge] + np.arange(len(edge)) - before[edge]
        slope = (next_x - x)[edge] / (next_y - y)[edge]
        at = x[edge] + (rows + 0.5 - y[edge]) * slope
        np.add.at(crossed, (rows, np.clip(np.ceil(at - 0.5), 0, shape[1]).astype(np.intp)), 1)
    inside: NDArray[np.bool_] = np.cumsum(crossed[:, :-1], axis=1) % 2 == 1
    return inside


def closed(ring: Ring) -> list[list[int]]:
    """Give the points of a ring as lists, the first once more at the end."""
    points: list[list[int]] = ring.tolist()
    return [*points, points[0]]
