"""The rectangles of a field in which all is annotated, for tools that can't leave anything out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

CELL_PX = 16
"""Rectangles are found to whole cells of this side, counted from the upper left corner of the field."""

Rectangle = tuple[slice, slice]
"""Rows and columns."""


def annotated_rectangles(ignored: NDArray[np.bool_], least_px: int) -> list[Rectangle]:
    """Give rectangles of a field without `ignored` pixels, (y, x), that don't overlap, the largest first.

    No side is shorter than `least_px`. Each is the largest one in what the ones before it leave.
    """
    rows, columns = ([*range(0, length, CELL_PX), length] for length in ignored.shape)
    in_rows = np.logical_or.reduceat(ignored, rows[:-1], axis=0)
    free = ~np.logical_or.reduceat(in_rows, columns[:-1], axis=1)
    found = []
    while (cells := _largest(free, rows, columns, least_px)) is not None:
        top, bottom, left, right = cells
        free[top:bottom, left:right] = False
        found.append((slice(rows[top], rows[bottom]), slice(columns[left], columns[right])))
    return found


def _largest(
    free: NDArray[np.bool_], rows: list[int], columns: list[int], least_px: int
) -> tuple[int, int, int, int] | None:
    """Give the largest rectangle of free cells: top, bottom, left and right, the ends exclusive."""
    best, best_px = None, 0
    for top, bottom, left, right in _widest(free):
        height_px, width_px = rows[bottom] - rows[top], columns[right] - columns[left]
        if min(height_px, width_px) >= least_px and height_px * width_px > best_px:
            best, best_px = (top, bottom, left, right), height_px * width_px
    return best


def _widest(free: NDArray[np.bool_]) -> Iterator[tuple[int, int, int, int]]:
    """Give all rectangles of free cells that can't be made wider or higher upwards, by the stack of their columns."""
    heights = np.zeros(free.shape[1] + 1, np.int64)
    for row, is_free in enumerate(free):
        heights[:-1] = np.where(is_free, heights[:-1] + 1, 0)
        waiting: list[tuple[int, int]] = []
        for column, height in enumerate(heights.tolist()):
            left = column
            while waiting and waiting[-1][1] >= height:
                left, higher = waiting.pop()
                if higher:
                    yield row + 1 - higher, row + 1, left, column
            waiting.append((left, height))
