"""Where truth and prediction of a field differ: "GT XOR Inference" in the paper's figures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.figures.pictures import tinted
from tasks.nuclei.scoring import iou_pairs

# Warm, because magenta looks blue to those who don't see red or green.
MISSED_COLOURS = np.array([[240, 228, 66], [240, 160, 0], [150, 215, 60], [255, 200, 120]], np.uint8)
DIFFERENCE_COLOUR = np.array([255, 0, 255], np.uint8)


class ErrorMasks(NamedTuple):
    """Which pixels are wrong: boolean (y, x), nowhere both true."""

    missed: NDArray[np.bool_]
    """Pixels of false negatives, which are marked whole."""
    differing: NDArray[np.bool_]
    """Pixels elsewhere in which truth and prediction differ: edges of hits, and false positives."""


def error_masks(
    true_labels: NDArray[np.integer],
    predicted_labels: NDArray[np.integer],
    iou_threshold: float,
    ignored: NDArray[np.bool_] | None = None,
) -> ErrorMasks:
    """Find the wrong pixels of two (y, x) label images. `iou_threshold` is at least 0.5, so that matches are unique.

    Pixels that are ignored, and nuclei that don't count for them, are not wrong.
    """
    pairs = iou_pairs(true_labels, predicted_labels, ignored)
    if ignored is not None:
        true_labels, predicted_labels = (np.where(ignored, 0, labels) for labels in (true_labels, predicted_labels))
    hits = pairs.iou >= iou_threshold
    partner = np.zeros(len(pairs.true_ids) + 1, np.int64)
    partner[pairs.true_position[hits] + 1] = pairs.predicted_ids[pairs.predicted_position[hits]]
    position = np.searchsorted(pairs.true_ids, true_labels) + 1
    expected_labels = partner[np.where(true_labels > 0, position, 0)]
    missed = (true_labels > 0) & (expected_labels == 0)
    differing = (predicted_labels != expected_labels) & ~missed
    if ignored is None:
        return ErrorMasks(missed, differing)
    not_counted = _among(true_labels, pairs.true_ids, ~pairs.true_counts)
    not_counted |= _among(predicted_labels, pairs.predicted_ids, ~pairs.predicted_counts)
    return ErrorMasks(missed & ~not_counted, differing & ~not_counted)


def _among(labels: NDArray[np.integer], ids: NDArray[np.integer], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Give the pixels of the chosen ones of the ids."""
    return np.isin(labels, ids[chosen])


def error_overlay(grey: NDArray[np.uint8], true_labels: NDArray[np.integer], errors: ErrorMasks) -> NDArray[np.uint8]:
    """Give a (y, x, 3) picture: missed nuclei whole and in colours, other differing pixels in magenta."""
    picture = tinted(grey, true_labels, errors.missed, MISSED_COLOURS)
    picture[errors.differing] = DIFFERENCE_COLOUR
    return picture
