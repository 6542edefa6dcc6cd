"""Choose the thresholds of the watershed on fields whose nuclei are known.

The paper names one marker threshold for all its models. The best ones differ from training to training,
above all the foreground threshold, on which the outlines and so F1 at IoU 0.9 depend.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.scoring import IOU_THRESHOLDS, Counts, count, f1_score, pool, score_instances
from tasks.nuclei.segmentation import SegmentationSettings, instances_from_maps

FOREGROUND_THRESHOLDS = (0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.10, 0.12, 0.14, 0.17, 0.20)
MARKER_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
COUNTED_FROM_IOU = 0.5


@dataclass(frozen=True)
class KnownField:
    """Predicted maps, (y, x) float, and the true label image, (y, x) integer, of a field."""

    distance_map: NDArray[np.floating]
    blurred_border: NDArray[np.floating]
    true_labels: NDArray[np.integer]


@dataclass(frozen=True)
class Trial:
    """A pair of thresholds and the F1 of all fields together, by `IOU_THRESHOLDS`."""

    marker_threshold: float
    foreground_threshold: float
    f1: NDArray[np.float64]

    @property
    def mean_f1(self) -> float:
        """Mean over IoU 0.5 to 0.95: nuclei found and outlines both count."""
        return float(self.f1[IOU_THRESHOLDS.index(COUNTED_FROM_IOU) :].mean())

    def f1_at(self, iou_threshold: float) -> float:
        return float(self.f1[IOU_THRESHOLDS.index(iou_threshold)])


def calibrate(fields: Sequence[KnownField], settings: SegmentationSettings) -> list[Trial]:
    """Try marker thresholds with the foreground threshold of `settings`, then foreground thresholds with the best one.

    Gives all trials, the best first. One after the other is enough: the first decides which nuclei there
    are, the second moves their outlines.
    """
    trials = [_trial(fields, settings, marker_threshold=value) for value in MARKER_THRESHOLDS]
    marker_threshold = _best_first(trials, settings)[0].marker_threshold
    others = [value for value in FOREGROUND_THRESHOLDS if value != settings.foreground_threshold]
    chosen = settings.model_copy(update={"marker_threshold": marker_threshold})
    trials += [_trial(fields, chosen, foreground_threshold=value) for value in others]
    return _best_first(trials, settings)


def _best_first(trials: list[Trial], settings: SegmentationSettings) -> list[Trial]:
    """Of equal ones, the nearest to the thresholds of `settings` first."""

    def rank(trial: Trial) -> tuple[float, float]:
        moved = abs(trial.marker_threshold - settings.marker_threshold)
        return -trial.mean_f1, moved + abs(trial.foreground_threshold - settings.foreground_threshold)

    return sorted(trials, key=rank)


def _trial(fields: Sequence[KnownField], settings: SegmentationSettings, **threshold: float) -> Trial:
    settings = settings.model_copy(update=threshold)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        counts = pool(list(threads.map(partial(_count, settings=settings), fields)))
    f1 = f1_score(counts.tp, counts.fp, counts.fn)
    return Trial(settings.marker_threshold, settings.foreground_threshold, f1)


def _count(field: KnownField, settings: SegmentationSettings) -> Counts:
    predicted = instances_from_maps(field.distance_map, field.blurred_border, settings)
    return count(score_instances(field.true_labels, predicted))
