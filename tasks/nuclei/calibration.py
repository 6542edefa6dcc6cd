"""Choose the settings of a segmentation on fields whose nuclei are known.

The paper names one marker threshold for all its models. The best ones differ from training to training,
above all the foreground threshold, on which the outlines and so F1 at IoU 0.9 depend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.scoring import (
    IOU_THRESHOLDS,
    IouPairs,
    count,
    f1_score,
    iou_pairs,
    pool,
    score_pairs,
    without_predicted,
)
from tasks.nuclei.segmentation import Nuclei, SegmentationSettings, limits_of_field

COUNTED_FROM_IOU = 0.5

LIMITS = ("min_area_px", "min_confidence")
"""Settings that only remove nuclei: what each value leaves is counted, without segmenting again."""

NucleiIn = Callable[[Any, SegmentationSettings], Nuclei]
"""Gives the nuclei in what the networks say of a field. May run in any thread."""


@dataclass(frozen=True)
class KnownField:
    """What the networks say of a field, and its true label image, (y, x) integer."""

    seen: Any
    true_labels: NDArray[np.integer]
    zoom: float = 1.0
    """That limits of areas are meant at: they are in px of the field as it is seen with this zoom."""


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


@dataclass(frozen=True)
class _Found:
    """The nuclei that were found in a field, compared with the true ones; arrays are (n,)."""

    pairs: IouPairs
    areas_px: NDArray[np.floating]
    confidences: NDArray[np.float32]

    def within(self, limits: Mapping[str, float]) -> IouPairs:
        kept = self.areas_px >= limits.get("min_area_px", 0)
        kept &= ~(self.confidences < limits.get("min_confidence", 0))
        return without_predicted(self.pairs, kept)


def calibrate(
    fields: Sequence[KnownField],
    nuclei_in: NucleiIn,
    settings: SegmentationSettings,
    searched: Sequence[tuple[str, Sequence[float]]],
    threads: int,
) -> list[Trial]:
    """Try the values of each searched setting in turn, with the best ones of those before it; `LIMITS` last, together.

    All else is as in `settings`. Gives all trials, the best first. Fields are segmented in so many threads.
    """
    start = {name: getattr(settings, name) for name, _ in searched}
    trials: list[Trial] = []
    for name, values in searched:
        if name not in LIMITS:
            best = trials[0].values if trials else start
            wanted = [best | {name: value} for value in values]
            trials = _best_first(
                [*trials, *_trials(fields, nuclei_in, settings, _untried(wanted, trials), threads)], start
            )
    limits = {name: values for name, values in searched if name in LIMITS}
    if limits:
        best = trials[0].values if trials else start
        wanted = [best | dict(zip(limits, values, strict=True)) for values in product(*limits.values())]
        trials = _best_first(
            [*trials, *_trials_of_limits(fields, nuclei_in, settings, _untried(wanted, trials), threads)], start
        )
    return trials


def _untried(wanted: Sequence[dict[str, float]], trials: Sequence[Trial]) -> list[dict[str, float]]:
    tried = [trial.values for trial in trials]
    return [values for values in wanted if values not in tried]


def _best_first(trials: Sequence[Trial], start: dict[str, float]) -> list[Trial]:
    """Of equal ones, the nearest to the values at the start first."""

    def rank(trial: Trial) -> tuple[float, float]:
        return -trial.mean_f1, sum(abs(value - start[name]) for name, value in trial.values.items())

    return sorted(trials, key=rank)


def _trials(
    fields: Sequence[KnownField],
    nuclei_in: NucleiIn,
    settings: SegmentationSettings,
    wanted: Sequence[dict[str, float]],
    threads: int,
) -> list[Trial]:
    """Segment all fields with each of the values."""
    trials = []
    for values in wanted:
        tried = settings.model_copy(update=values)
        trials.append(_trial(values, [found.pairs for found in _found_in(fields, nuclei_in, tried, threads)]))
    return trials


def _trials_of_limits(
    fields: Sequence[KnownField],
    nuclei_in: NucleiIn,
    settings: SegmentationSettings,
    wanted: Sequence[dict[str, float]],
    threads: int,
) -> list[Trial]:
    """Segment all fields once without limits, and count what is left with each of the values, which differ in these."""
    if not wanted:
        return []
    unlimited = wanted[0] | {name: 0 for name in LIMITS if name in wanted[0]}
    found = _found_in(fields, nuclei_in, settings.model_copy(update=unlimited), threads)
    return [_trial(values, [of_field.within(values) for of_field in found]) for values in wanted]


def _found_in(
    fields: Sequence[KnownField], nuclei_in: NucleiIn, settings: SegmentationSettings, threads: int
) -> list[_Found]:
    def found_in(field: KnownField) -> _Found:
        nuclei = nuclei_in(field.seen, limits_of_field(settings, field.zoom))
        areas_px = np.bincount(nuclei.label_image.ravel())[1:] * field.zoom**2
        return _Found(iou_pairs(field.true_labels, nuclei.label_image), areas_px, nuclei.confidences)

    with ThreadPoolExecutor(threads) as pool_of_threads:
        return list(pool_of_threads.map(found_in, fields))


def _trial(values: dict[str, float], pairs: Sequence[IouPairs]) -> Trial:
    counts = pool([count(score_pairs(of_field)) for of_field in pairs])
    return Trial(values, f1_score(counts.tp, counts.fp, counts.fn))
