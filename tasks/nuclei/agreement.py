"""How well two people's labels of the same fields agree: what no model can be expected to exceed by much.

The measure is F1 as of a model, but neither side is the truth: at an IoU threshold, it is the share of the nuclei of
both that have a counterpart in the other's labels with that IoU or more,

    F1(t) = (nuclei of A with one of B + nuclei of B with one of A) / (nuclei of A + nuclei of B).

Above 0.5, where a nucleus has one such counterpart at most, it is 2TP / (2TP + FN + FP) whichever of both is taken for
the truth. From 0.5 down, it doesn't depend on the order either, as that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.intervals import F1_ALONE, Interval, estimate, interval_of_scores, nuclei_of
from tasks.nuclei.scoring import IOU_THRESHOLDS, InstanceScores, score_instances


@dataclass(frozen=True)
class Agreement:
    """Of two label sets; arrays have one entry per IoU threshold."""

    f1: NDArray[np.float64]
    interval: Interval
    """95 %, of all fields that could have been annotated."""
    nuclei: tuple[int, int]
    """Of each side."""
    fields: int


def agreement(pairs: Sequence[tuple[NDArray[np.integer], NDArray[np.integer]]]) -> Agreement:
    """Compare label images (y, x) of two people, one pair per field; InputError without any, and for other shapes."""
    if not pairs:
        raise InputError("No field was annotated by both; give two label sets that share fields.")
    return agreement_of_scores([score_instances(one, other) for one, other in pairs])


def agreement_of_scores(fields: Sequence[InstanceScores]) -> Agreement:
    """Give the agreement of label sets that were compared field by field, in either order."""
    one, other = nuclei_of(fields, "true"), nuclei_of(fields, "predicted")
    thresholds = np.asarray(IOU_THRESHOLDS)[:, np.newaxis]
    shared = np.count_nonzero(one.iou >= thresholds, axis=1) + np.count_nonzero(other.iou >= thresholds, axis=1)
    nuclei = len(one.iou) + len(other.iou)
    f1 = shared / nuclei if nuclei else np.ones(len(IOU_THRESHOLDS))
    # The wider of both directions, which differ only where a nucleus has several counterparts.
    directions = [estimate(*sides, len(fields)) for sides in ((one, other), (other, one))]
    ends = [interval_of_scores(direction.combined(F1_ALONE)) for direction in directions]
    interval = Interval(np.min([end.low for end in ends], axis=0), np.max([end.high for end in ends], axis=0))
    return Agreement(f1, interval, (len(one.iou), len(other.iou)), len(fields))
