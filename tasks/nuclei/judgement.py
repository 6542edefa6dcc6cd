"""Judge a challenger against the champion on the same true nuclei: differences with their intervals, and the gate.

Scores of a model are two tables with one row per nucleus, as `score` writes them:

    true nuclei        plate, cell_line, fov, label, iou, partners
    predicted nuclei   the same columns

`iou` is the best IoU with a nucleus of the other kind, `partners` the number of those with IoU >= 0.1.

No loss is ever exactly known, so every rule on a cell line has a margin, and three outcomes. With a margin of 0.05:

    holds       the loss is at most 0.05, and the 95 % CI excludes a loss of 0.1
    broken      the loss is above 0.05, and shown: the CI of the whole family of rules excludes that nothing was lost
    undecided   neither: there are too few nuclei, and it is said about how many more it takes

A rate of errors that is above its bound and isn't shown to have risen, mostly since it was bad before, holds with a
warning.

- All rules must hold for a challenger to pass, each by its own CI, so that one that loses twice the margin anywhere
  passes with a probability of 2.5 % at most, whatever the number of rules (an intersection-union test: Berger,
  Technometrics 24, 1982). Of several candidates on the same nuclei the best is taken, so the CI of each is wider, with
  the confidence 1 - 0.05 / candidates (Bonferroni).
- One broken rule is enough to fail, so broken rules are one family of tests with the confidence 1 - 0.05 / rules: a
  challenger that loses nothing fails with a probability of 2.5 % at most.

What the intervals assume is in `intervals`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pydantic
from numpy.typing import NDArray

from tasks.nuclei import intervals
from tasks.nuclei.errors import InputError
from tasks.nuclei.intervals import CONFIDENCE, ERROR_RATES, Estimate, Nuclei, Spread
from tasks.nuclei.scoring import IOU_THRESHOLDS, OBJECT_LEVEL_IOU, PIXEL_LEVEL_IOU

METRICS = ("f1_at_0.7", "f1_at_0.9", "f1_area")
"""The area is the mean of F1 over the IoU thresholds 0.05 to 0.95."""
IDENTITY = ["plate", "cell_line", "fov", "label"]

Verdict = Literal["holds", "warning", "broken", "undecided"]
"""With a warning holds a rule on a rate that is bad all the same: mostly it was bad before, and stays so."""
GateOutcome = Literal["passed", "failed", "undecided"]


class Gate(pydantic.BaseModel):
    """The conditions that a challenger must meet to take the champion's place."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    most_loss: float = pydantic.Field(0.05, ge=0, le=1, title="Largest loss of a cell line")
    """A cell line may lose this much of any of F1 at 0.7, F1 at 0.9 and area under the F1 curve. The 95 % CI must
    exclude that it loses twice as much."""
    least_mean_gain: float = pydantic.Field(0.0, ge=-1, le=1, title="Smallest mean gain")
    """The mean over cell lines of the gain in area under the F1 curve must not be shown to be below this."""
    most_error_rate: float = pydantic.Field(0.15, ge=0, le=1, title="Largest error rate")
    """No rate of splits, merges, false positives or false negatives of a cell line may be shown to have risen above
    this. 15 % is the paper's bound for screens."""
    most_rate_rise: float = pydantic.Field(0.05, ge=0, le=1, title="Largest rise of an error rate")
    """A rate that was above the largest one already may rise by this much. The 95 % CI of every rate must exclude that
    it rises by this much above what it may."""


class ModelScores(NamedTuple):
    """The tables of one model; see the head of this file."""

    true: pd.DataFrame
    predicted: pd.DataFrame


@dataclass(frozen=True)
class RuleOutcome:
    """One rule of the gate, applied to a metric of a cell line or to the mean of all."""

    rule: Literal["no cell line loses", "the mean does not fall", "no new error rate"]
    cell_line: str
    """Name of the cell line, or "mean"."""
    metric: str
    champion: float
    challenger: float
    low: float
    """Lower end of the 95 % CI of the difference."""
    high: float
    allowed: str
    verdict: Verdict
    more_nuclei: int = 0
    """About how many more true nuclei it takes to decide; 0 if it is decided."""

    @property
    def difference(self) -> float:
        return self.challenger - self.champion


@dataclass(frozen=True)
class Comparison:
    """Both models on the same fields of a cell line; metrics are `METRICS`, then `ERROR_RATES`."""

    champion: Estimate
    challenger: Estimate
    same: bool
    """Every nucleus has the same IoU in both, so that nothing is left to chance."""

    @cached_property
    def difference(self) -> Estimate:
        return self.challenger.minus(self.champion)

    @cached_property
    def spread(self) -> Spread:
        spread = intervals.spread_of_difference(self.difference)
        return Spread(np.zeros_like(spread.error), spread.freedom) if self.same else spread


class Confidences(NamedTuple):
    """With which confidence a rule is said to hold, and to be broken."""

    holds: float
    broken: float

    @classmethod
    def of(cls, rules: int, candidates: int) -> Confidences:
        return cls(*(1 - (1 - CONFIDENCE) / tests for tests in (candidates, rules)))


class Bounds(NamedTuple):
    """By how much a metric may become worse."""

    allowed: float
    """More than this is broken, where it is shown that anything became worse."""
    tolerated: float
    """As much as this holds, where nothing is shown: a rate just below its bound may be just above it by chance."""
    excluded: float
    """This must be excluded."""


class Worse(NamedTuple):
    """By how much a metric became worse, with half the widths of its CI and of that of the family of rules."""

    by: float
    half_width: float
    half_width_in_family: float

    def verdict(self, bounds: Bounds) -> Verdict:
        if self.by > bounds.allowed and self.by > self.half_width_in_family:
            return "broken"
        holds = self.by <= bounds.tolerated and self.by + self.half_width <= bounds.excluded
        return "holds" if holds else "undecided"

    def more_nuclei(self, bounds: Bounds, nuclei: int) -> int:
        """Give about how many more it takes to decide what is undecided, if the difference stays what it is."""
        if self.by <= bounds.tolerated:
            return intervals.more_nuclei(nuclei, self.half_width, bounds.excluded - self.by)
        return intervals.more_nuclei(nuclei, self.half_width_in_family, self.by)


def apply_gate(champion: ModelScores, challenger: ModelScores, gate: Gate, candidates: int = 1) -> list[RuleOutcome]:
    """Give the outcome of every rule for every cell line.

    The challenger is one of so many `candidates` that are judged on these nuclei to take the best.
    Raises InputError unless both models were scored on the same true nuclei.
    """
    true = paired(champion, challenger)
    cell_lines = sorted(true["cell_line"].unique())
    compared = {name: _on_cell_line(name, true, champion.predicted, challenger.predicted) for name in cell_lines}
    return judge(compared, gate, candidates)


def judge(compared: Mapping[str, Comparison], gate: Gate, candidates: int = 1) -> list[RuleOutcome]:
    """Give the outcome of every rule for comparisons by cell line."""
    rules = len(compared) * (len(METRICS) + len(ERROR_RATES)) + 1
    confidences = Confidences.of(rules, candidates)
    of_cell_lines = [rule for name, models in compared.items() for rule in _rules(name, models, gate, confidences)]
    return [*of_cell_lines, _mean_gain(list(compared.values()), gate, confidences)]


def outcome_of(rules: Iterable[RuleOutcome]) -> GateOutcome:
    """Give what comes of all rules: one that is broken is enough to fail."""
    verdicts = {rule.verdict for rule in rules}
    if "broken" in verdicts:
        return "failed"
    return "undecided" if "undecided" in verdicts else "passed"


def paired(champion: ModelScores, challenger: ModelScores) -> pd.DataFrame:
    """Give the true nuclei once, with `iou_champion` and `iou_challenger`."""
    both = champion.true.merge(challenger.true, on=IDENTITY, how="outer", suffixes=("_champion", "_challenger"))
    if len(both) != len(champion.true) or len(both) != len(challenger.true):
        raise InputError(
            "Champion and challenger weren't scored on the same true nuclei; score both on the same plates."
        )
    return both


def gained(true: pd.DataFrame, iou_threshold: float = OBJECT_LEVEL_IOU) -> pd.DataFrame:
    """Give the gained nuclei: those of the `paired` ones that only the challenger finds."""
    return true[(true["iou_challenger"] >= iou_threshold) & (true["iou_champion"] < iou_threshold)]


def lost(true: pd.DataFrame, iou_threshold: float = OBJECT_LEVEL_IOU) -> pd.DataFrame:
    """Give the lost nuclei: those of the `paired` ones that only the champion finds."""
    return true[(true["iou_champion"] >= iou_threshold) & (true["iou_challenger"] < iou_threshold)]


def compare(true: tuple[Nuclei, Nuclei], predicted: tuple[Nuclei, Nuclei], fields: int) -> Comparison:
    """Compare champion and challenger on the nuclei of a cell line; the true ones of both are in the same order."""
    first, second = (np.sort(of_model.iou) for of_model in predicted)
    same = np.array_equal(true[0].iou, true[1].iou) and np.array_equal(first, second)
    champion, challenger = (
        intervals.estimate(*both, fields).combined(_WEIGHTS) for both in zip(true, predicted, strict=True)
    )
    return Comparison(champion, challenger, same)


def _on_cell_line(cell_line: str, true: pd.DataFrame, *predicted: pd.DataFrame) -> Comparison:
    tables = [table[table["cell_line"] == cell_line] for table in (true, *predicted)]
    names = pd.concat([table[["plate", "fov"]] for table in tables])
    numbers = names.groupby(["plate", "fov"]).ngroup().to_numpy()
    field, *of_predicted = np.split(numbers, np.cumsum([len(table) for table in tables[:2]]))
    both = [
        Nuclei(field, *(tables[0][f"{column}_{model}"].to_numpy() for column in ("iou", "partners")))
        for model in ("champion", "challenger")
    ]
    found = [
        Nuclei(numbers, table["iou"].to_numpy(), table["partners"].to_numpy())
        for numbers, table in zip(of_predicted, tables[1:], strict=True)
    ]
    return compare((both[0], both[1]), (found[0], found[1]), int(numbers.max()) + 1)


def _gate_weights() -> NDArray[np.float64]:
    """Give what makes the metrics of the gate of those of an `Estimate`."""
    thresholds, rates = len(IOU_THRESHOLDS), len(ERROR_RATES)
    weights = np.zeros((thresholds + rates, len(METRICS) + rates))
    for column, iou_threshold in enumerate((OBJECT_LEVEL_IOU, PIXEL_LEVEL_IOU)):
        weights[IOU_THRESHOLDS.index(iou_threshold), column] = 1
    weights[:thresholds, METRICS.index("f1_area")] = 1 / thresholds
    weights[thresholds:, len(METRICS) :] = np.eye(rates)
    return weights


_WEIGHTS = _gate_weights()


def _rules(cell_line: str, models: Comparison, gate: Gate, confidences: Confidences) -> Iterator[RuleOutcome]:
    half, surely = (models.spread.half_width(confidence) for confidence in confidences)
    for number, metric in enumerate((*METRICS, *ERROR_RATES)):
        before, after = (float(model.value[number]) for model in (models.champion, models.challenger))
        is_rate = metric in ERROR_RATES
        bounds = (
            _bounds_of_rate(before, gate) if is_rate else Bounds(gate.most_loss, gate.most_loss, 2 * gate.most_loss)
        )
        worse = Worse(after - before if is_rate else before - after, float(half[number]), float(surely[number]))
        verdict = worse.verdict(bounds)
        if is_rate and verdict == "holds" and after > gate.most_error_rate:
            verdict = "warning"
        yield RuleOutcome(
            "no new error rate" if is_rate else "no cell line loses",
            cell_line,
            metric,
            before,
            after,
            after - before - worse.half_width,
            after - before + worse.half_width,
            _in_words(before, gate) if is_rate else f"a loss of {gate.most_loss:g}",
            verdict,
            worse.more_nuclei(bounds, int(models.difference.nuclei.sum())) if verdict == "undecided" else 0,
        )


def _bounds_of_rate(before: float, gate: Gate) -> Bounds:
    spare = gate.most_error_rate - before
    tolerated = max(spare, gate.most_rate_rise)
    return Bounds(spare if spare >= 0 else gate.most_rate_rise, tolerated, tolerated + gate.most_rate_rise)


def _in_words(before: float, gate: Gate) -> str:
    if before > gate.most_error_rate:
        return f"a rise of {gate.most_rate_rise:g}"
    return f"at most {gate.most_error_rate:g}"


def _mean_gain(compared: list[Comparison], gate: Gate, confidences: Confidences) -> RuleOutcome:
    """Of the degrees of freedom of the cell lines those of their mean are made as by Satterthwaite."""
    area = METRICS.index("f1_area")
    variances = np.array([models.spread.error[area] ** 2 for models in compared])
    freedoms = np.array([models.spread.freedom for models in compared])
    freedom = variances.sum() ** 2 / (variances**2 / freedoms).sum() if variances.any() else freedoms.sum()
    spread = Spread(np.sqrt(variances.sum(keepdims=True)) / len(compared), float(freedom))
    champion, challenger = (
        float(np.mean([getattr(models, model).value[area] for models in compared]))
        for model in ("champion", "challenger")
    )
    half, surely = (spread.half_width(confidence)[0] for confidence in confidences)
    gain = challenger - champion
    return RuleOutcome(
        "the mean does not fall",
        "mean",
        "f1_area",
        champion,
        challenger,
        float(gain - half),
        float(gain + half),
        f"a gain that isn't shown to be below {gate.least_mean_gain:g}",
        "broken" if gain + surely < gate.least_mean_gain else "holds",
    )
