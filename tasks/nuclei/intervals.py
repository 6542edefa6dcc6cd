"""How sure F1 and error rates are, and differences of them between two models on the same fields.

The question is what the scores would be on all fields that could have been imaged of the same plates. Assumed is that

- the scored fields stand for these: none was picked for how well or badly it is segmented;
- fields are independent of one another, nuclei of one field are not: they resemble each other, by an intraclass
  correlation of about `OF_ONE_MODEL` for the score of a model, `OF_A_DIFFERENCE` for the difference of two.

Other plates, days and microscopes are not in it: a score says nothing of what wasn't imaged.

There are two ways to the variance of a score, and each is used for as much as it is worth:

- between fields: the delete-one-field jackknife, which assumes nothing, and has as many degrees of freedom as there
  are fields beyond the first, fewer where nuclei are spread unevenly (1 / sum of squared shares - 1, after Kish);
- within fields: nuclei as if independent, by linearisation of the ratio, times the design effect of n nuclei in one,
  1 + (n - 1) x intraclass correlation (Kish, Survey Sampling, 1965). It counts for `PRIOR_FREEDOM` degrees of freedom.

The mean of both by their degrees of freedom, which Student's t has too, is the moderated variance of Smyth
(Statistical Applications in Genetics and Molecular Biology 3, 2004): one field rests on its nuclei, twenty on
themselves. The interval of a score is Wilson's for as many independent nuclei as give this variance, so that it stays
within 0 and 1 and has a width where no error was seen; that of a difference is symmetric, widened as by one more
nucleus on which the models differ. `python -m tests.benchmarks.gate_decisions` simulates coverage and power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tasks.nuclei.scoring import IOU_THRESHOLDS, OBJECT_LEVEL_IOU, InstanceScores, f1_score

OF_ONE_MODEL, OF_A_DIFFERENCE = 0.15, 0.02
"""Intraclass correlations that are assumed of the nuclei of a field; tests/README.md has measured ones."""
PRIOR_FREEDOM = 4.0
"""How many degrees of freedom these assumptions are worth: the true variance is within 0.36 and 8.3 times the assumed
one with a probability of 95 %."""
CONFIDENCE = 0.95
FEW_FIELDS = 5
"""Below this, an interval rests more on the assumptions than on the fields."""
ERROR_RATES = ("split_rate", "merge_rate", "fp_rate", "fn_rate")
"""All per true nucleus; see `scoring.error_rate`."""

F1_ALONE = np.eye(len(IOU_THRESHOLDS) + len(ERROR_RATES))[:, : len(IOU_THRESHOLDS)]
"""Weights of `Estimate.combined` that leave the error rates out."""

_LEAST_DISTANCE = 0.01
_OBJECT_LEVEL = IOU_THRESHOLDS.index(OBJECT_LEVEL_IOU)


class Nuclei(NamedTuple):
    """True or predicted nuclei: number of the field (0 ... fields - 1), best IoU, partners with an IoU >= 0.1."""

    field: NDArray[np.integer]
    iou: NDArray[np.float64]
    partners: NDArray[np.integer]


class Interval(NamedTuple):
    """Lower and upper end, one entry per metric."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


class Spread(NamedTuple):
    """Standard error of each metric, and the degrees of freedom behind it."""

    error: NDArray[np.float64]
    freedom: float

    def half_width(self, confidence: float) -> NDArray[np.float64]:
        quantile: float = stats.t.ppf((1 + confidence) / 2, self.freedom)
        return quantile * self.error


@dataclass(frozen=True)
class Estimate:
    """Scores of a model, or the differences of two, and what each field and nucleus has to do with them.

    Metrics are F1 at `IOU_THRESHOLDS` and then `ERROR_RATES`, or what `combined` makes of these.
    """

    value: NDArray[np.float64]
    """(metrics,)"""
    without: NDArray[np.float64]
    """(fields, metrics): the value without each field."""
    true_part: NDArray[np.float64]
    """(true nuclei, metrics): by how much each moves the value, with the predicted nuclei that are its own."""
    true_field: NDArray[np.integer]
    other_part: NDArray[np.float64]
    """(n, metrics): the same of predicted nuclei that are no true nucleus's own, or of several."""
    other_field: NDArray[np.integer]

    @property
    def nuclei(self) -> NDArray[np.int64]:
        """True nuclei of each field."""
        return np.bincount(self.true_field, minlength=len(self.without))

    def combined(self, weights: NDArray[np.float64]) -> Estimate:
        """Give other metrics, sums of these with `weights` (metrics, other metrics)."""
        parts = {name: getattr(self, name) @ weights for name in ("value", "without", "true_part", "other_part")}
        return replace(self, **parts)

    def minus(self, other: Estimate) -> Estimate:
        """Give the difference to another model with the same true nuclei in the same order.

        Predicted nuclei that are no true nucleus's own can't be paired, so those that both models have count as if
        they were different.
        """
        return Estimate(
            self.value - other.value,
            self.without - other.without,
            self.true_part - other.true_part,
            self.true_field,
            np.concatenate([self.other_part, other.other_part]),
            np.concatenate([self.other_field, other.other_field]),
        )

    def spread(self, likeness: float) -> Spread:
        """Give the moderated standard error; `likeness` is the assumed intraclass correlation."""
        nuclei, fields = self.nuclei, len(self.without)
        design = 1 + likeness * np.maximum(nuclei - 1, 0)
        within = design[self.true_field] @ self.true_part**2 + design[self.other_field] @ self.other_part**2
        between = (fields - 1) / fields * ((self.without - self.value) ** 2).sum(axis=0)
        freedom = _freedom_between(nuclei)
        variance = (PRIOR_FREEDOM * within + freedom * between) / (PRIOR_FREEDOM + freedom)
        return Spread(np.sqrt(variance), PRIOR_FREEDOM + freedom)


def estimate(true: Nuclei, predicted: Nuclei, fields: int) -> Estimate:
    """Score a model on some fields."""
    found, false = _reaches(true.iou), ~_reaches(predicted.iou)
    split, merge = true.partners > 1, predicted.partners > 1
    of_true = _per_field(true.field, np.column_stack([found, np.ones(len(found)), split]), fields)
    of_predicted = _per_field(predicted.field, np.column_stack([false, merge]), fields)
    sums = np.hstack([of_true, of_predicted])
    value = _scores(sums.sum(axis=0))
    true_part, other_part = _parts(true, predicted, value, sums.sum(axis=0))
    return Estimate(value, _scores(sums.sum(axis=0) - sums), true_part, true.field, other_part, predicted.field)


def interval_of_scores(scores: Estimate) -> Interval:
    """Give Wilson's interval of the scores of one model, all of which must be between 0 and 1."""
    spread = scores.spread(OF_ONE_MODEL)
    squared: float = stats.t.ppf((1 + CONFIDENCE) / 2, spread.freedom) ** 2
    nuclei = scores.nuclei
    total = nuclei.sum()
    if total == 0:
        return Interval(np.zeros_like(scores.value), np.ones_like(scores.value))
    without_errors = total**2 / (nuclei @ (1 + OF_ONE_MODEL * np.maximum(nuclei - 1, 0)))
    binomial, variance = scores.value * (1 - scores.value), spread.error**2
    is_known = (binomial > 0) & (variance > 0)
    independent = np.divide(binomial, variance, out=np.full_like(binomial, without_errors), where=is_known)
    centre = (scores.value + squared / (2 * independent)) / (1 + squared / independent)
    half = np.sqrt(squared * binomial / independent + (squared / (2 * independent)) ** 2) / (1 + squared / independent)
    return Interval(np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1))


def spread_of_difference(difference: Estimate) -> Spread:
    """Give the standard error of differences, as if one more nucleus of all were found by one of both only."""
    spread = difference.spread(OF_A_DIFFERENCE)
    one_more = 1 / max(1, difference.nuclei.sum())
    return Spread(np.hypot(spread.error, one_more), spread.freedom)


def more_nuclei(nuclei: int, half_width: float, distance: float) -> int:
    """Give how many more nuclei, in further fields, would make the interval as narrow as `distance`; two digits."""
    missing = nuclei * ((half_width / max(distance, _LEAST_DISTANCE)) ** 2 - 1)
    step = 10.0 ** max(0, len(str(int(missing))) - 2)
    return max(1, int(np.ceil(missing / step) * step))


def _freedom_between(nuclei: NDArray[np.int64]) -> float:
    share = nuclei / max(1, nuclei.sum())
    return float(1 / (share @ share) - 1) if share.any() else 0.0


def _reaches(iou: NDArray[np.float64]) -> NDArray[np.bool_]:
    return iou[:, np.newaxis] >= np.asarray(IOU_THRESHOLDS)


def _per_field(field: NDArray[np.integer], columns: NDArray[np.float64], fields: int) -> NDArray[np.float64]:
    sums = [np.bincount(field, weights=column, minlength=fields) for column in columns.T]
    return np.column_stack(sums)


def _scores(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give (..., metrics) of sums (..., 2 x thresholds + 3): found, true nuclei, split, false, merges."""
    thresholds = len(IOU_THRESHOLDS)
    tp, fp = sums[..., :thresholds], sums[..., thresholds + 2 : -1]
    true, splits, merges = sums[..., thresholds], sums[..., thresholds + 1], sums[..., -1]
    fn = true[..., np.newaxis] - tp
    errors = np.stack([splits, merges, fp[..., _OBJECT_LEVEL], fn[..., _OBJECT_LEVEL]], axis=-1)
    rates = errors / np.maximum(true, 1)[..., np.newaxis]
    return np.concatenate([f1_score(tp, fp, fn), rates], axis=-1)


def _parts(
    true: Nuclei, predicted: Nuclei, value: NDArray[np.float64], sums: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give by how much each true and each predicted nucleus moves the scores: their linearised shares.

    F1 is 2 TP over 2 TP + FN + FP. A nucleus whose outline is too bad for the threshold is a miss and a false positive
    at once, so predicted nuclei with an IoU >= 0.1 go with their true one.
    """
    thresholds = len(IOU_THRESHOLDS)
    tp, true_nuclei, fp = sums[:thresholds], max(sums[thresholds], 1), sums[thresholds + 2 : -1]
    f1, rates = value[:thresholds], value[thresholds:]
    denominator = np.maximum(tp + sums[thresholds] + fp, 1)
    found, false, alone = _reaches(true.iou), ~_reaches(predicted.iou), predicted.partners == 0
    own = np.maximum(found, true.partners[:, np.newaxis])
    missed_at, own_false = ~found[:, _OBJECT_LEVEL], (own - found)[:, _OBJECT_LEVEL]
    errors = np.column_stack([true.partners > 1, np.zeros(len(found)), own_false, missed_at])
    alone_false = false & alone[:, np.newaxis]
    other = np.column_stack(
        [np.zeros(len(alone)), predicted.partners > 1, alone_false[:, _OBJECT_LEVEL], np.zeros(len(alone))]
    )
    return (
        np.hstack([(2 * found - f1 * (1 + own)) / denominator, (errors - rates) / true_nuclei]),
        np.hstack([-f1 * alone_false / denominator, other / true_nuclei]),
    )


def nuclei_of(fields: Sequence[InstanceScores], side: Literal["true", "predicted"]) -> Nuclei:
    """Give the true or the predicted nuclei of fields that were scored, each with the number of its field."""
    return Nuclei(
        np.repeat(np.arange(len(fields)), [len(getattr(scores, f"{side}_iou")) for scores in fields]),
        np.concatenate([getattr(scores, f"{side}_iou") for scores in fields]),
        np.concatenate([getattr(scores, f"{side}_partners") for scores in fields]),
    )


def interval_of_f1(fields: Sequence[InstanceScores]) -> Interval:
    """Give the 95 % CI of F1 at each IoU threshold over fields that were scored."""
    true, predicted = nuclei_of(fields, "true"), nuclei_of(fields, "predicted")
    return interval_of_scores(estimate(true, predicted, len(fields)).combined(F1_ALONE))
