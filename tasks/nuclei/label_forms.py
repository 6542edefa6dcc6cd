"""Measures of the forms of labels: the pieces that they have, what they enclose, what they touch."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.measure import edge_pixels, intensity_histogram

LARGE_PIECE = 0.25
"""Size of a piece, as a share of the largest, from which it may be a nucleus, and not a splinter of one."""


LEAST_OF_LABELS = 0.01
"""Share of the pixels that are 0, as background, from which an image is looked at."""
STEPS_PX = (1, 3)
"""The second is for images that were enlarged by repeating pixels."""
SECOND_CHANGES = 0.1
"""Share of the changes along a row that another one follows after a step, up to which an image is of labels: 0.06 at
most in label images, 0.4 at least in images, and 0.2 in enlarged ones."""


def looks_like_labels(image: NDArray[Any]) -> bool:
    """Whether an image, (y, x) integers, is a label image or a mask: pieces of one value each on a background of 0.

    Along a row, the value changes once at the edge of a label; in an image, edges go through grey levels, and noise
    goes up and down. Outlines of one pixel aren't told.
    """
    if np.count_nonzero(image == 0) < LEAST_OF_LABELS * image.size:
        return False
    return all(_second_changes(image, step_px) <= SECOND_CHANGES for step_px in STEPS_PX)


def _second_changes(image: NDArray[Any], step_px: int) -> float:
    first, second, third = (image[:, k * step_px : image.shape[1] - (2 - k) * step_px] for k in range(3))
    changes, follow = first != second, second != third
    return int(np.count_nonzero(changes & follow)) / max(int(np.count_nonzero(changes | follow)), 1)


def edges(label_image: NDArray[np.integer]) -> tuple[NDArray[np.integer], ...]:
    return label_image[0], label_image[-1], label_image[:, 0], label_image[:, -1]


def contrast(image: NDArray[Any], label_image: NDArray[np.integer], largest: int) -> float:
    """Give the AUC, less 0.5, of the pixels of a label against those of the other labels; 0 where there are none."""
    inside, others = (
        intensity_histogram(image[pixels])
        for pixels in (label_image == largest, (label_image > 0) & (label_image != largest))
    )
    pairs = float(inside.sum()) * float(others.sum())
    return float((inside * (np.cumsum(others) - others / 2)).sum()) / pairs - 0.5 if pairs else 0.0


def large_pieces(label_image: NDArray[np.integer]) -> int:
    stats = cv2.connectedComponentsWithStats((label_image > 0).astype(np.uint8), connectivity=8)[2]
    areas_px = stats[1:, cv2.CC_STAT_AREA]
    return int(np.count_nonzero(areas_px >= LARGE_PIECE * areas_px.max(initial=0)))


def holes(
    label_image: NDArray[np.integer], ignored: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the label around each piece of background that one label encloses alone, and the areas in px.

    One that touches background that is `ignored`, (y, x) too, is not enclosed.
    """
    if ignored is not None:
        beyond = int(label_image.max(initial=0)) + 1
        owners, areas_px = holes(np.where(ignored & (label_image == 0), beyond, label_image))
        return owners[owners < beyond], areas_px[owners < beyond]
    count, pieces, stats, _ = cv2.connectedComponentsWithStats((label_image == 0).astype(np.uint8), connectivity=4)
    lowest, highest = np.full(count, np.iinfo(np.int64).max), np.zeros(count, np.int64)
    for here, there in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[1:], np.s_[:-1]),
    ):
        border = (label_image[here] == 0) & (label_image[there] > 0)
        piece, label = pieces[here][border], label_image[there][border].astype(np.int64)
        np.minimum.at(lowest, piece, label)
        np.maximum.at(highest, piece, label)
    at_edge = np.unique(edge_pixels(pieces))
    enclosed = (lowest == highest) & ~np.isin(np.arange(count), at_edge)
    enclosed[0] = False
    return highest[enclosed], stats[enclosed, cv2.CC_STAT_AREA].astype(np.int64)
