"""Where in its nucleus a pixel lies: what the network is trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DIRECTIONS = ("y", "x", "dr", "dl")
"""Down, to the right, down to the right, down to the left; in the names of the pretrained weights."""
STEPS = ((1, 0), (0, 1), (1, 1), (1, -1))
"""From a pixel to the next in each direction, (y, x)."""
POSITIONS = 2 * len(DIRECTIONS)


def position_maps(label_image: NDArray[np.integer]) -> NDArray[np.float32]:
    """Positions (y, x, 8) float32 in [-1, 1] of a label image (y, x); 0 in the background.

    The first four are within the nucleus, from its first to its last pixel in each of the `DIRECTIONS`. The others
    are within the run of its pixels that lie in one line with this one. Of a single pixel, it is 0.
    """
    y, x = np.mgrid[: label_image.shape[0], : label_image.shape[1]]
    along = (y, x, y + x, y - x)
    within_nucleus = [_within_nucleus(label_image, coordinate) for coordinate in along]
    within_run = [_within_run(label_image, step) for step in STEPS]
    return np.stack([*within_nucleus, *within_run], axis=-1)


def _within_nucleus(label_image: NDArray[np.integer], coordinate: NDArray[np.integer]) -> NDArray[np.float32]:
    inside = label_image > 0
    labels, values = label_image[inside], coordinate[inside]
    amount = int(label_image.max(initial=0)) + 1
    first, last = np.full(amount, values.max(initial=0)), np.full(amount, values.min(initial=0))
    np.minimum.at(first, labels, values)
    np.maximum.at(last, labels, values)
    maps = np.zeros(label_image.shape, np.float32)
    maps[inside] = _scaled(values, first[labels], last[labels])
    return maps


def _within_run(label_image: NDArray[np.integer], step: tuple[int, int]) -> NDArray[np.float32]:
    """Runs become parts of columns when every row is moved against the step."""
    height, width = label_image.shape
    rows = np.arange(height)[:, np.newaxis]
    if step == (0, 1):
        return _within_run(label_image.T, (1, 0)).T
    columns = np.arange(width) - step[1] * rows
    columns -= columns.min()
    moved = np.zeros((height, int(columns.max()) + 1), label_image.dtype)
    moved[rows, columns] = label_image
    begins = np.ones(moved.shape, bool)
    begins[1:] = moved[1:] != moved[:-1]
    ends = np.ones(moved.shape, bool)
    ends[:-1] = begins[1:]
    first = np.maximum.accumulate(np.where(begins, rows, 0), axis=0)
    last = np.minimum.accumulate(np.where(ends, rows, height)[::-1], axis=0)[::-1]
    positions = np.where(moved > 0, _scaled(rows, first, last), 0).astype(np.float32)
    return np.asarray(positions[rows, columns])


def _scaled(values: NDArray[Any], first: NDArray[Any], last: NDArray[Any]) -> NDArray[Any]:
    """From -1 at the first to 1 at the last; 0 where both are one."""
    span = last - first
    return np.where(span > 0, 2 * (values - first) / np.maximum(span, 1) - 1, 0)
