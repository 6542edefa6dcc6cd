"""Judge a challenger against the champion on the same true nuclei: differences with their intervals, and the gate.

Scores of a model are two tables with one row per nucleus, as `score` writes them:

    true nuclei        plate, cell_line, fov, label, iou, partners
    predicted nuclei   the same columns

`iou` is the best IoU with a nucleus of the other kind, `partners` the number of those with IoU >= 0.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import pydantic
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.scoring import IOU_THRESHOLDS, OBJECT_LEVEL_IOU, PIXEL_LEVEL_IOU, error_rate, f1_score

METRICS = ("f1_at_0.7", "f1_at_0.9", "f1_area")
"""The area is the mean of F1 over the IoU thresholds 0.05 to 0.95."""
IDENTITY = ["plate", "cell_line", "fov", "label"]

_MOST_WEIGHTS = 4_000_000
"""How many weights are drawn at a time: 16 MB of each kind."""


class Gate(pydantic.BaseModel):
    """The conditions that a challenger must meet to take the champion's place."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    most_loss: float = pydantic.Field(0.05, ge=0, le=1)
    """A cell line may lose this much of any of F1 at 0.7, F1 at 0.9 and area under the F1 curve: the lower end of the
    95 % interval of the difference must not be below it."""
    least_mean_gain: float = pydantic.Field(0.0, ge=-1, le=1)
    """The mean over cell lines of the gain in area under the F1 curve must be above this."""
    most_error_rate: float = pydantic.Field(0.15, ge=0, le=1)
    """No rate of splits, merges, false positives or false negatives of a cell line may rise above this. 15 % is the
    paper's bound for screens."""


class ModelScores(NamedTuple):
    """The tables of one model; see the head of this file."""

    true: pd.DataFrame
    predicted: pd.DataFrame


class Interval(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True)
class RuleOutcome:
    """One rule of the gate, applied to a metric of a cell line or to the mean of all."""

    rule: Literal["no cell line loses", "the mean gains", "no new error rate"]
    cell_line: str
    """Name of the cell line, or "mean"."""
    metric: str
    champion: float
    challenger: float
    low: float
    """Lower end of the 95 % interval of the difference; for an error rate, the difference itself, as is `high`."""
    high: float
    allowed: str
    passed: bool

    @property
    def difference(self) -> float:
        return self.challenger - self.champion


@dataclass(frozen=True)
class Comparison:
    """Both models on one cell line; the arrays have one row per metric of `METRICS`."""

    champion: NDArray[np.float64]
    challenger: NDArray[np.float64]
    differences: NDArray[np.float64]
    """(metrics, samples), from the resampled nuclei."""

    def interval(self, metric: int) -> Interval:
        low, high = np.percentile(self.differences[metric], [2.5, 97.5])
        return Interval(float(low), float(high))


def apply_gate(
    champion: ModelScores, challenger: ModelScores, gate: Gate, samples: int, random_seed: int
) -> list[RuleOutcome]:
    """Give the outcome of every rule for every cell line.

    Raises InputError unless both models were scored on the same true nuclei.
    """
    true = paired(champion, challenger)
    comparisons = {}
    outcomes = []
    for number, cell_line in enumerate(sorted(true["cell_line"].unique())):
        rng = np.random.default_rng([random_seed, number])
        of_line = _Nuclei.of_cell_line(cell_line, true, champion.predicted, challenger.predicted)
        comparisons[cell_line] = compare(of_line, samples, rng)
        outcomes += _losses(cell_line, comparisons[cell_line], gate)
    outcomes.append(_mean_gain(list(comparisons.values()), gate))
    for cell_line in comparisons:
        outcomes += _error_rates(cell_line, champion, challenger, gate)
    return outcomes


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


@dataclass(frozen=True)
class _Nuclei:
    """IoU of every nucleus of a cell line, and the number of its fov (0 ... fovs - 1)."""

    fovs: int
    true_fov: NDArray[np.integer]
    true_iou: tuple[NDArray[np.float64], NDArray[np.float64]]
    """The champion's and the challenger's, in the same order of nuclei."""
    predicted_fov: tuple[NDArray[np.integer], NDArray[np.integer]]
    predicted_iou: tuple[NDArray[np.float64], NDArray[np.float64]]

    @classmethod
    def of_cell_line(cls, cell_line: str, true: pd.DataFrame, *predicted: pd.DataFrame) -> _Nuclei:
        tables = [table[table["cell_line"] == cell_line] for table in (true, *predicted)]
        names = pd.concat([table[["plate", "fov"]] for table in tables])
        fovs = names.groupby(["plate", "fov"]).ngroup().to_numpy()
        of_true, of_champion, of_challenger = np.split(fovs, np.cumsum([len(table) for table in tables[:2]]))
        true, champion, challenger = tables
        return cls(
            int(fovs.max()) + 1,
            of_true,
            (true["iou_champion"].to_numpy(), true["iou_challenger"].to_numpy()),
            (of_champion, of_challenger),
            (champion["iou"].to_numpy(), challenger["iou"].to_numpy()),
        )


def compare(nuclei: _Nuclei, samples: int, rng: np.random.Generator) -> Comparison:
    """Compare both models on the nuclei of a cell line, with resampled differences.

    Fovs are drawn with replacement, where there are several, and then the nuclei of the drawn ones: each counts
    Poisson(1) times for every time that its fov was drawn, which is the bootstrap where every draw is independent
    (Hanley and MacGibbon 2006). A true nucleus counts equally often for both models, so that what is hard for both
    doesn't widen the interval. Predicted nuclei aren't paired, so false positives that both have do widen it.
    """
    ones = [np.ones((1, len(fov)), np.float32) for fov in (nuclei.true_fov, *nuclei.predicted_fov)]
    champion, challenger = _metrics_of_both(nuclei, *ones)
    differences = [
        of_challenger - of_champion
        for weights in _resampled_weights(nuclei, samples, rng)
        for of_champion, of_challenger in [_metrics_of_both(nuclei, *weights)]
    ]
    return Comparison(champion[:, 0], challenger[:, 0], np.concatenate(differences, axis=1))


def _resampled_weights(
    nuclei: _Nuclei, samples: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], ...]]:
    """Give for some samples at a time how often each true nucleus and each predicted one of both models counts."""
    fovs_of = (nuclei.true_fov, *nuclei.predicted_fov)
    at_a_time = max(1, _MOST_WEIGHTS // max(1, *map(len, fovs_of)))
    for first in range(0, samples, at_a_time):
        shape = (min(at_a_time, samples - first), nuclei.fovs)
        drawn = np.ones(shape)
        if nuclei.fovs > 1:
            drawn = rng.multinomial(nuclei.fovs, np.full(nuclei.fovs, 1 / nuclei.fovs), size=shape[0]).astype(float)
        yield tuple(rng.poisson(drawn[:, fov]).astype(np.float32) for fov in fovs_of)


def _metrics_of_both(
    nuclei: _Nuclei, true_weights: NDArray[np.float32], *predicted_weights: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give (metrics, samples) of the champion and of the challenger; weights are (samples, nuclei)."""
    first, second = (
        _metrics(true_iou, true_weights, predicted_iou, weights)
        for true_iou, predicted_iou, weights in zip(
            nuclei.true_iou, nuclei.predicted_iou, predicted_weights, strict=True
        )
    )
    return first, second


def _metrics(
    true_iou: NDArray[np.float64],
    true_weights: NDArray[np.float32],
    predicted_iou: NDArray[np.float64],
    predicted_weights: NDArray[np.float32],
) -> NDArray[np.float64]:
    thresholds = np.asarray(IOU_THRESHOLDS)
    tp = true_weights @ (true_iou[:, np.newaxis] >= thresholds).astype(np.float32)
    fn = true_weights.sum(axis=1, keepdims=True) - tp
    fp = predicted_weights @ (predicted_iou[:, np.newaxis] < thresholds).astype(np.float32)
    f1 = f1_score(*(counts.astype(np.float64) for counts in (tp, fp, fn)))
    at = [IOU_THRESHOLDS.index(OBJECT_LEVEL_IOU), IOU_THRESHOLDS.index(PIXEL_LEVEL_IOU)]
    return np.vstack([f1[:, at].T, f1.mean(axis=1)])


def _losses(cell_line: str, comparison: Comparison, gate: Gate) -> list[RuleOutcome]:
    outcomes = []
    for number, metric in enumerate(METRICS):
        interval = comparison.interval(number)
        outcomes.append(
            RuleOutcome(
                "no cell line loses",
                cell_line,
                metric,
                float(comparison.champion[number]),
                float(comparison.challenger[number]),
                *interval,
                f"lower end at least {-gate.most_loss:g}",
                interval.low >= -gate.most_loss,
            )
        )
    return outcomes


def _mean_gain(comparisons: list[Comparison], gate: Gate) -> RuleOutcome:
    area = METRICS.index("f1_area")
    champion = float(np.mean([comparison.champion[area] for comparison in comparisons]))
    challenger = float(np.mean([comparison.challenger[area] for comparison in comparisons]))
    differences = np.mean([comparison.differences[area] for comparison in comparisons], axis=0)
    low, high = np.percentile(differences, [2.5, 97.5])
    return RuleOutcome(
        "the mean gains",
        "mean",
        "f1_area",
        champion,
        challenger,
        float(low),
        float(high),
        f"gain above {gate.least_mean_gain:g}",
        challenger - champion > gate.least_mean_gain,
    )


def _error_rates(cell_line: str, champion: ModelScores, challenger: ModelScores, gate: Gate) -> list[RuleOutcome]:
    before, after = (error_rates(scores, cell_line) for scores in (champion, challenger))
    return [
        RuleOutcome(
            "no new error rate",
            cell_line,
            name,
            before[name],
            after[name],
            after[name] - before[name],
            after[name] - before[name],
            f"at most {gate.most_error_rate:g}, or above it before",
            after[name] <= gate.most_error_rate or before[name] > gate.most_error_rate,
        )
        for name in before
    ]


def error_rates(scores: ModelScores, cell_line: str) -> dict[str, float]:
    """Give splits, merges, false positives and negatives at an IoU of 0.7 per true nucleus of a cell line."""
    true, predicted = (table[table["cell_line"] == cell_line] for table in scores)
    errors = {
        "split_rate": (true["partners"] > 1).sum(),
        "merge_rate": (predicted["partners"] > 1).sum(),
        "fp_rate": (predicted["iou"] < OBJECT_LEVEL_IOU).sum(),
        "fn_rate": (true["iou"] < OBJECT_LEVEL_IOU).sum(),
    }
    return {name: error_rate(int(number), len(true)) for name, number in errors.items()}
