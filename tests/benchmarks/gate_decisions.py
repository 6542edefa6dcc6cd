"""Do intervals hold what they promise, and does the gate decide rightly? Simulates both, and prints two tables.

    python -m tests.benchmarks.gate_decisions [--gates 150]

A test set has four cell lines of so many fields each, with 20 to 200 nuclei. Fields differ in how hard they are (their
mean IoU has a beta distribution), and models differ in how well they do on a field (`FieldEffects`). Both miss some
nuclei and see some debris, mostly the same. A worse challenger loses so many nuclei more.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from tasks.nuclei import intervals
from tasks.nuclei.intervals import Nuclei
from tasks.nuclei.judgement import Comparison, Gate, compare, judge, outcome_of

CELL_LINES = 4
FIELDS = (1, 2, 3, 5, 10, 20)
FIELDS_FOR_TRUTH = 1500
FEWEST_NUCLEI, MOST_NUCLEI = 20, 200
MEAN_IOU, SCATTER, SHARED = 0.9, 0.75, 0.9
"""Mean IoU, its scatter within a field in logits, and how much of this both models share."""
MISSED, DEBRIS, BY_BOTH = 0.05, 0.05, 0.7
"""Per nucleus, and the share of them that both models have."""
SEED = 16


@dataclass(frozen=True)
class FieldEffects:
    """How much fields differ: of all models (a beta distribution's a + b), and of one from the other, in logits."""

    name: str
    concentration: float
    of_a_model: float


@dataclass(frozen=True)
class Challenger:
    """How the challenger differs from the champion."""

    name: str
    loses: float = 0.0
    """Share of the nuclei that it loses besides; in each field another one, by a beta distribution."""
    finds: float = 0.0
    """Share of the champion's misses that it finds."""
    is_copy: bool = False


WEAK, TYPICAL, STRONG = (
    FieldEffects("weak", 120, 0.03),
    FieldEffects("typical", 40, 0.08),
    FieldEffects("strong", 12, 0.25),
)
EQUAL, MUCH_WORSE = Challenger("equally good"), Challenger("loses 20 %", loses=0.2)
CHALLENGERS = (
    Challenger("the same", is_copy=True),
    EQUAL,
    Challenger("finds half of the misses", finds=0.5),
    Challenger("loses 3 %", loses=0.03),
    Challenger("loses 10 %", loses=0.1),
    MUCH_WORSE,
)


def simulated(fields: int, effects: FieldEffects, challenger: Challenger, rng: np.random.Generator) -> Comparison:
    """Give both models on the fields of a cell line."""
    field = np.repeat(np.arange(fields), rng.integers(FEWEST_NUCLEI, MOST_NUCLEI + 1, fields))
    a = MEAN_IOU * effects.concentration
    hardness = logit(np.clip(rng.beta(a, effects.concentration - a, fields), 0.02, 0.995))
    shared, missed_by_both = rng.normal(size=len(field)), rng.random(len(field)) < BY_BOTH * MISSED
    ious = []
    for _ in range(2):
        of_model = rng.normal(0, effects.of_a_model, fields)
        own = np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * rng.normal(size=len(field))
        iou = expit((hardness + of_model)[field] + SCATTER * own)
        ious.append(np.where(missed_by_both | (rng.random(len(field)) < (1 - BY_BOTH) * MISSED), 0, iou))
    first, second = ious
    second = _changed(second, first if challenger.is_copy else second, field, challenger, rng)
    debris = [rng.poisson(share * DEBRIS * len(field)) for share in (BY_BOTH, 1 - BY_BOTH, 1 - BY_BOTH)]
    places = [rng.integers(0, fields, number) for number in debris]
    own_places = places[1] if challenger.is_copy else places[2]
    predicted = (_predicted(first, field, (places[0], places[1])), _predicted(second, field, (places[0], own_places)))
    return compare((_true(first, field), _true(second, field)), predicted, fields)


def _changed(
    iou: NDArray[np.float64],
    base: NDArray[np.float64],
    field: NDArray[np.integer],
    challenger: Challenger,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    fields = field.max() + 1
    if challenger.loses:
        share = rng.beta(challenger.loses * 30, (1 - challenger.loses) * 30, fields)
        base = np.where(rng.random(len(base)) < share[field], 0, base)
    found = (base == 0) & (rng.random(len(base)) < challenger.finds)
    return np.where(found, expit(logit(MEAN_IOU) + SCATTER * rng.normal(size=len(iou))), base)


def _true(iou: NDArray[np.float64], field: NDArray[np.integer]) -> Nuclei:
    return Nuclei(field, iou, (iou >= 0.1).astype(int))


def _predicted(iou: NDArray[np.float64], field: NDArray[np.integer], debris: Sequence[NDArray[np.integer]]) -> Nuclei:
    extras = np.concatenate(debris)
    found = iou > 0
    ious = np.concatenate([iou[found], np.zeros(len(extras))])
    return Nuclei(np.concatenate([field[found], extras]), ious, (ious >= 0.1).astype(int))


@dataclass(frozen=True)
class Covered:
    """How often 95 % intervals of F1 at 0.7 and 0.9 held the true value, and how wide they were."""

    of_one: NDArray[np.float64]
    of_difference: NDArray[np.float64]
    width_of_one: NDArray[np.float64]
    width_of_difference: NDArray[np.float64]


def coverage(models: Sequence[Comparison], truth: Comparison) -> Covered:
    within_one, within, width_of_one, width = [], [], [], []
    for compared in models:
        low, high = (end[:2] for end in intervals.interval_of_scores(compared.challenger))
        value = truth.challenger.value[:2]
        within_one.append((low <= value) & (value <= high))
        width_of_one.append(high - low)
        half = compared.spread.half_width(intervals.CONFIDENCE)[:2]
        within.append(np.abs(compared.difference.value[:2] - truth.difference.value[:2]) <= half)
        width.append(2 * half)
    return Covered(*(np.mean(values, axis=0) for values in (within_one, within, width_of_one, width)))


def outcomes(models: Sequence[Comparison]) -> Counter[str]:
    """Count what the gate says of test sets of `CELL_LINES` comparisons each."""
    sets = [models[first : first + CELL_LINES] for first in range(0, len(models), CELL_LINES)]
    gate = Gate()
    return Counter(
        outcome_of(judge({f"line {number}": one for number, one in enumerate(of_set)}, gate)) for of_set in sets
    )


def coverage_lines(gates: int, rng: np.random.Generator) -> Iterator[str]:
    yield "| field effects | fields | F1 at 0.7 | F1 at 0.9 | width | difference at 0.7 | at 0.9 | width |"
    yield "|---|---|---|---|---|---|---|---|"
    for effects in (WEAK, TYPICAL, STRONG):
        truth = simulated(FIELDS_FOR_TRUTH, effects, EQUAL, rng)
        for fields in FIELDS:
            models = [simulated(fields, effects, EQUAL, rng) for _ in range(gates * CELL_LINES // 2)]
            one, difference = (covered := coverage(models, truth)).of_one, covered.of_difference
            widths = [f"{value[1]:.2f}" for value in (covered.width_of_one, covered.width_of_difference)]
            yield (
                f"| {effects.name} | {fields} | {one[0]:.2f} | {one[1]:.2f} | {widths[0]} "
                f"| {difference[0]:.2f} | {difference[1]:.2f} | {widths[1]} |"
            )


def decision_lines(gates: int, rng: np.random.Generator) -> Iterator[str]:
    yield f"| challenger | F1 at 0.7, 0.9 | {' | '.join(f'{fields}' for fields in FIELDS)} |"
    yield "|---|---|" + "---|" * len(FIELDS)
    cases = [(challenger, TYPICAL) for challenger in CHALLENGERS]
    cases += [(EQUAL, STRONG), (MUCH_WORSE, STRONG)]
    for challenger, effects in cases:
        truth = simulated(FIELDS_FOR_TRUTH, effects, challenger, rng).difference.value
        cells = []
        for fields in FIELDS:
            found = outcomes([simulated(fields, effects, challenger, rng) for _ in range(gates * CELL_LINES)])
            shares = (100 * found[name] / gates for name in ("passed", "undecided", "failed"))
            cells.append(" / ".join(f"{share:.0f}" for share in shares))
        name = challenger.name if effects is TYPICAL else f"{challenger.name}, {effects.name} field effects"
        yield f"| {name} | {truth[0]:+.3f}, {truth[1]:+.3f} | {' | '.join(cells)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gates", type=int, default=150, help="test sets for each cell of the second table")
    asked = parser.parse_args()
    for line in (*coverage_lines(asked.gates, np.random.default_rng(SEED)), ""):
        print(line)
    for line in decision_lines(asked.gates, np.random.default_rng(SEED)):
        print(line)
