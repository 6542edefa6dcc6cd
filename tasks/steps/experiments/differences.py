"""Differences of F1 between experiments, with their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from tasks.steps.experiments.tables import CONFIDENCE

SAME = 0.03
"""A difference of F1 that is no larger than this is none to a biologist: one nucleus in thirty."""


class Spread(NamedTuple):
    """Variance of F1 between replicates, and the degrees of freedom of its estimate; NaN and 0 if there were none."""

    variance: float
    degrees: int


class Difference(NamedTuple):
    """Of mean F1, with the 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float


def pooled_spread(experiments: Iterable[Sequence[float]]) -> Spread:
    """Give the variance within experiments, each with F1 of its replicates, as if it were the same in all."""
    squares, degrees = 0.0, 0
    for f1 in experiments:
        squares += float(np.sum((np.asarray(f1) - np.mean(f1)) ** 2))
        degrees += len(f1) - 1
    return Spread(squares / degrees if degrees else np.nan, degrees)


def difference_of(
    first: Sequence[float], second: Sequence[float], spreads: tuple[Spread, Spread] | None = None
) -> Difference:
    """Give by how much the mean of replicates `first` exceeds that of `second`, with its interval by Student's t.

    `spreads` are what is known of the variance of either from more runs than these, the same one twice where it is of
    both; without, each has that of its own runs (Welch's t).
    """
    value = float(np.mean(first) - np.mean(second))
    of_first, of_second = spreads or (pooled_spread([first]), pooled_spread([second]))
    parts = np.array([of_first.variance / len(first), of_second.variance / len(second)])
    variance = float(parts.sum())
    if not variance > 0:
        # Either 0 or unknown.
        return Difference(value, value + variance, value - variance)
    if of_first is of_second:
        degrees = float(of_first.degrees)
    else:
        # Satterthwaite, Biometrics Bulletin 2, 1946.
        degrees = float(variance**2 / np.sum(parts**2 / [of_first.degrees, of_second.degrees]))
    half_width = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees) * np.sqrt(variance))
    return Difference(value, value - half_width, value + half_width)
