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
    Counts,
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
MOST_ROUNDS = 3
"""Each tries all settings once more, beside what the others have become; most searches settle in the second."""

FEWEST_NUCLEI = 100
"""Of a cell line, for settings of its own."""
LEAST_GAIN = 0.01
"""Of the mean F1 by these: smaller ones are not told from chance."""

NucleiIn = Callable[[Any, SegmentationSettings], Nuclei]
"""Gives the nuclei in what the networks say of a field. May run in any thread."""


@dataclass(frozen=True)
class KnownField:
    """What the networks say of a whole field, and the true label image, (y, x) integer, of it or of a region."""

    seen: Any
    true_labels: NDArray[np.integer]
    zoom: float = 1.0
    """That limits of areas are meant at: they are in px of the field as it is seen with this zoom."""
    region: tuple[slice, slice] = (slice(None), slice(None))
    """Where in the field the true label image is; nuclei elsewhere don't count."""
    ignored: NDArray[np.bool_] | None = None
    """Which pixels of the true label image aren't annotated, (y, x); none if it isn't given."""


@dataclass(frozen=True)
class Trial:
    """Values of the searched settings, and what all fields together reach with them."""

    values: dict[str, float]
    counts: Counts

    @property
    def f1(self) -> NDArray[np.float64]:
        """By `IOU_THRESHOLDS`."""
        return f1_score(self.counts.tp, self.counts.fp, self.counts.fn)

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
    """Try the values of each searched setting with the best ones of the others, again and again until all stay.

    `LIMITS` come last in each round, together. All else is as in `settings`. Of values, those are chosen whose
    neighbours do well too, see `_plateau`. Gives all trials, the chosen one first, then by their F1. Fields are
    segmented in so many threads.
    """
    return _Search(fields, nuclei_in, settings, threads).trials_of(searched)


def calibrate_cell_lines(
    fields: Mapping[str, Sequence[KnownField]],
    nuclei_in: NucleiIn,
    settings: SegmentationSettings,
    searched: Sequence[tuple[str, Sequence[float]]],
    threads: int,
) -> dict[str, list[Trial]]:
    """Search anew for each cell line, from `settings`, which were chosen for all of them together.

    Gives the trials of each, see `calibrate`. The chosen one has the values of `settings` where there are too few
    nuclei, or where others bring too little, to tell that they are better.
    """
    trials_of = {name: calibrate(of_line, nuclei_in, settings, searched, threads) for name, of_line in fields.items()}
    return {name: _only_if_better(trials, settings) for name, trials in trials_of.items()}


def _only_if_better(trials: list[Trial], settings: SegmentationSettings) -> list[Trial]:
    best = trials[0]
    usual = next(trial for trial in trials if all(getattr(settings, name) == v for name, v in trial.values.items()))
    nuclei = int(best.counts.tp[0] + best.counts.fn[0])
    if nuclei >= FEWEST_NUCLEI and best.mean_f1 >= usual.mean_f1 + LEAST_GAIN:
        return trials
    return [usual, *(trial for trial in trials if trial is not usual)]


class _Search:
    """Tries values; what was segmented once isn't segmented again."""

    def __init__(
        self, fields: Sequence[KnownField], nuclei_in: NucleiIn, settings: SegmentationSettings, threads: int
    ) -> None:
        self.fields, self.nuclei_in, self.settings, self.threads = fields, nuclei_in, settings, threads
        self.found: dict[tuple[tuple[str, float], ...], list[_Found]] = {}
        self.trials: dict[tuple[tuple[str, float], ...], Trial] = {}

    def trials_of(self, searched: Sequence[tuple[str, Sequence[float]]]) -> list[Trial]:
        start = {name: getattr(self.settings, name) for name, _ in searched}
        steps = [{name: values} for name, values in searched if name not in LIMITS]
        if limits := {name: values for name, values in searched if name in LIMITS}:
            steps.append(limits)
        chosen = start
        for _ in range(MOST_ROUNDS):
            before = chosen
            for step in steps:
                chosen = self.best_of(step, chosen, start)
            if chosen == before or len(steps) == 1:
                break
        best = self.trial(chosen)
        return [best, *sorted((t for t in self.trials.values() if t is not best), key=lambda trial: -trial.mean_f1)]

    def best_of(
        self, step: Mapping[str, Sequence[float]], others: dict[str, float], start: Mapping[str, float]
    ) -> dict[str, float]:
        """Choose values of the settings of a step, all combinations of which are tried beside those of the others.

        Of equally good ones, the nearest to the values at the start are taken.
        """
        grid = [others | dict(zip(step, values, strict=True)) for values in product(*step.values())]
        f1 = np.array([self.trial(values).mean_f1 for values in grid])
        good = _plateau(f1.reshape([len(values) for values in step.values()])).ravel()
        far = [sum(abs(values[name] - start[name]) for name in step) for values in grid]
        return grid[min(range(len(grid)), key=lambda number: (-round(float(good[number]), 9), far[number]))]

    def trial(self, values: dict[str, float]) -> Trial:
        key = tuple(values.items())
        if key not in self.trials:
            self.trials[key] = _trial(values, [of_field.within(values) for of_field in self._found_with(values)])
        return self.trials[key]

    def _found_with(self, values: dict[str, float]) -> list[_Found]:
        """Segment all fields without the limits that are searched."""
        unlimited = values | {name: 0 for name in LIMITS if name in values}
        key = tuple(unlimited.items())
        if key not in self.found:
            settings = self.settings.model_copy(update=unlimited)
            self.found[key] = _found_in(self.fields, self.nuclei_in, settings, self.threads)
        return self.found[key]


def _plateau(f1: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weigh the F1 of a grid of values with that of the neighbours, 1 to 6 to 1 along each axis.

    Fields differ: a value beside which F1 falls off is one with which it falls off on other fields. A value that is
    better by more than some 1/8 of that fall is taken all the same.
    """
    for axis in range(f1.ndim):
        padded = np.pad(f1, [(1, 1) if number == axis else (0, 0) for number in range(f1.ndim)], "edge")
        parts = (np.take(padded, np.arange(first, first + f1.shape[axis]), axis) for first in range(3))
        before, itself, after = parts
        f1 = (before + 6 * itself + after) / 8
    return f1


def _found_in(
    fields: Sequence[KnownField], nuclei_in: NucleiIn, settings: SegmentationSettings, threads: int
) -> list[_Found]:
    def found_in(field: KnownField) -> _Found:
        nuclei = nuclei_in(field.seen, limits_of_field(settings, field.zoom))
        pairs = iou_pairs(field.true_labels, nuclei.label_image[field.region], field.ignored)
        areas_px = np.bincount(nuclei.label_image.ravel())[pairs.predicted_ids] * field.zoom**2
        return _Found(pairs, areas_px, nuclei.confidences[pairs.predicted_ids - 1])

    with ThreadPoolExecutor(threads) as pool_of_threads:
        return list(pool_of_threads.map(found_in, fields))


def _trial(values: dict[str, float], pairs: Sequence[IouPairs]) -> Trial:
    return Trial(values, pool([count(score_pairs(of_field)) for of_field in pairs]))
