"""F1 on the patches alone that were drawn at random: what it is on all of a plate, not on what was hard.

Ranked patches are annotated because a model was unsure there, so F1 on them is that of difficult patches. Random ones
were drawn from all that wasn't annotated or skipped then; those that a person doesn't return aren't in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.intervals import interval_of_f1
from tasks.nuclei.patch_grid import Patch
from tasks.nuclei.scoring import (
    IOU_THRESHOLDS,
    OBJECT_LEVEL_IOU,
    InstanceScores,
    count,
    f1_score,
    pool,
    score_instances,
)


class Estimate(NamedTuple):
    """F1 at IoU 0.7 of what a model proposed for random patches, against what came back, with its 95 % CI."""

    model: str
    patches: int
    nuclei: int
    f1: float
    low: float
    high: float

    def __str__(self) -> str:
        number = f"{self.patches} patch{'' if self.patches == 1 else 'es'} drawn at random ({self.nuclei} nuclei)"
        by = f" of {self.model}" if self.model else ""
        return f"F1 at {OBJECT_LEVEL_IOU}{by} on {number}: {self.f1:.2f} (95 % CI {self.low:.2f}-{self.high:.2f})"


def scores_in(
    patches: Sequence[Patch],
    true_labels: NDArray[np.integer],
    predicted_labels: NDArray[np.integer],
    ignored: NDArray[np.bool_] | None,
) -> InstanceScores:
    """Score a field, (y, x) arrays, on these patches alone: what lies outside of them is ignored."""
    outside = np.ones(true_labels.shape, np.bool_)
    for patch in patches:
        outside[patch.slices] = False
    return score_instances(true_labels, predicted_labels, outside if ignored is None else outside | ignored)


def estimate_of(model: str, fields: Sequence[tuple[int, InstanceScores]]) -> Estimate:
    """Pool the scores of the random patches of fields, at least one, each with the number of its patches."""
    scores = [of_field for _, of_field in fields]
    counts, interval = pool([count(of_field) for of_field in scores]), interval_of_f1(scores)
    at = IOU_THRESHOLDS.index(OBJECT_LEVEL_IOU)
    f1 = float(f1_score(counts.tp, counts.fp, counts.fn)[at])
    patches = sum(number for number, _ in fields)
    return Estimate(model, patches, counts.true_nuclei, f1, float(interval.low[at]), float(interval.high[at]))
