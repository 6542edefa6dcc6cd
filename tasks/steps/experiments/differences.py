"""Differences of F1 between experiments, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from tasks.steps.experiments.tables import CONFIDENCE

SAME = 0.03
"""A difference of F1 that is no larger than this is none to a biologist: one nucleus in thirty."""


class Difference(NamedTuple):
    """Of mean F1, with the 95 % interval; NaN where there is none."""

    value: float
    low: float
    high: float


def difference_of(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Give by how much the mean of replicates `first` exceeds that of `second`, by Welch's t; NaN for single runs."""
    value = float(np.mean(first) - np.mean(second))
    if min(len(first), len(second)) < 2:
        return Difference(value, np.nan, np.nan)
    if np.ptp(first) == np.ptp(second) == 0:
        return Difference(value, value, value)
    interval = stats.ttest_ind(first, second, equal_var=False).confidence_interval(CONFIDENCE)
    return Difference(value, float(interval.low), float(interval.high))
