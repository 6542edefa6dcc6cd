"""Choose the settings of a segmentation on fields whose nuclei are known.

The paper names one marker threshold for all its models. The best ones differ from training to training,
above all the foreground threshold, on which the outlines and so F1 at IoU 0.9 depend.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.scoring import IOU_THRESHOLDS, Counts, count, f1_score, pool, score_instances
from tasks.nuclei.segmentation import SegmentationSettings

COUNTED_FROM_IOU = 0.5


@dataclass(frozen=True)
class KnownField:
    """What the networks say of a field, and its true label image, (y, x) integer."""

    seen: Any
    true_labels: NDArray[np.integer]


@dataclass(frozen=True)
class Trial:
    """Values of the searched settings and the F1 of all fields together, by `IOU_THRESHOLDS`."""

    values: dict[str, float]
    f1: NDArray[np.float64]

    @property
    def mean_f1(self) -> float:
        """Mean over IoU 0.5 to 0.95: nuclei found and outlines both count."""
        return float(self.f1[IOU_THRESHOLDS.index(COUNTED_FROM_IOU) :].mean())

    def f1_at(self, iou_threshold: float) -> float:
        return float(self.f1[IOU_THRESHOLDS.index(iou_threshold)])


def calibrate(
    fields: Sequence[KnownField],
    nuclei_in: Callable[[Any, SegmentationSettings], NDArray[np.integer]],
    settings: SegmentationSettings,
    searched: Sequence[tuple[str, Sequence[float]]],
) -> list[Trial]:
    """Try the values of each searched setting in turn, with the best ones of those before it.

    All else is as in `settings`. `nuclei_in` gives the label image of what networks say. Gives all trials, the best
    first.
    """
    names = [name for name, _ in searched]
    start = settings.model_dump(include=set(names))
    trials: list[Trial] = []
    for name, values in searched:
        best = trials[0].values if trials else start
        tried = [trial.values for trial in trials]
        wanted = [best | {name: value} for value in values]
        trials += [_trial(fields, nuclei_in, settings, values) for values in wanted if values not in tried]
        trials = _best_first(trials, start)
    return trials


def _best_first(trials: Sequence[Trial], start: dict[str, float]) -> list[Trial]:
    """Of equal ones, the nearest to the values at the start first."""

    def rank(trial: Trial) -> tuple[float, float]:
        return -trial.mean_f1, sum(abs(value - start[name]) for name, value in trial.values.items())

    return sorted(trials, key=rank)


def _trial(
    fields: Sequence[KnownField],
    nuclei_in: Callable[[Any, SegmentationSettings], NDArray[np.integer]],
    settings: SegmentationSettings,
    values: dict[str, float],
) -> Trial:
    tried = settings.model_copy(update=values)

    def counts_of(field: KnownField) -> Counts:
        return count(score_instances(field.true_labels, nuclei_in(field.seen, tried)))

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        counts = pool(list(threads.map(counts_of, fields)))
    return Trial(values, f1_score(counts.tp, counts.fp, counts.fn))
