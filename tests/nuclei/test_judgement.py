"""Tests of tasks.nuclei.judgement, on nuclei that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.nuclei.errors import InputError
from tasks.nuclei.judgement import Gate, ModelScores, RuleOutcome, apply_gate, gained, lost, paired

SAMPLES, SEED = 300, 0


def table(ious: list[float], cell_line: str = "U2OS", fovs: int = 4) -> pd.DataFrame:
    number = np.arange(len(ious))
    return pd.DataFrame(
        {
            "plate": f"plate of {cell_line}",
            "cell_line": cell_line,
            "fov": [f"f{i % fovs}" for i in number],
            "label": number + 1,
            "iou": ious,
            "partners": [1 if iou else 0 for iou in ious],
        }
    )


def scores(ious: list[float], extras: int = 0, cell_line: str = "U2OS", fovs: int = 4) -> ModelScores:
    """A model that finds each true nucleus with this IoU, or not at all (0), and so many more that aren't there."""
    return ModelScores(
        table(ious, cell_line, fovs), table([iou for iou in ious if iou] + extras * [0.0], cell_line, fovs)
    )


def both(*parts: ModelScores) -> ModelScores:
    true, predicted = (pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True))
    return ModelScores(true, predicted)


def judge(champion: ModelScores, challenger: ModelScores, **gate: float) -> list[RuleOutcome]:
    return apply_gate(champion, challenger, Gate(**gate), SAMPLES, SEED)


def failed(outcomes: list[RuleOutcome]) -> list[tuple[str, str, str]]:
    return [(outcome.rule, outcome.cell_line, outcome.metric) for outcome in outcomes if not outcome.passed]


def one(outcomes: list[RuleOutcome], metric: str, cell_line: str = "U2OS") -> RuleOutcome:
    (found,) = (o for o in outcomes if (o.metric, o.cell_line) == (metric, cell_line))
    return found


def test_f1_of_both_is_that_of_the_counts() -> None:
    outcome = one(judge(scores([0.8] * 6 + [0.0] * 2), scores([0.8] * 8, extras=2)), "f1_at_0.7")
    assert outcome.champion == pytest.approx(2 * 6 / (2 * 6 + 2))
    assert outcome.challenger == pytest.approx(2 * 8 / (2 * 8 + 2))


def test_a_model_that_finds_more_passes_every_rule() -> None:
    assert failed(judge(scores([0.95] * 90 + [0.5] * 10), scores([0.95] * 100))) == []


def test_the_same_scores_lose_nothing_and_do_not_gain() -> None:
    same = scores([0.95, 0.8, 0.6, 0.0] * 20, extras=3)
    assert failed(judge(same, same)) == [("the mean gains", "mean", "f1_area")]


def test_paired_nuclei_keep_the_interval_of_equal_models_narrow() -> None:
    """Unpaired, F1 of 80 nuclei of which half are found would vary by 0.1 or so."""
    same = scores([0.95] * 40 + [0.0] * 40)
    outcome = one(judge(same, same), "f1_at_0.7")
    assert (outcome.low, outcome.high) == (0, 0)


def test_a_cell_line_that_loses_is_named_though_the_mean_gains() -> None:
    champion = both(scores([0.95] * 100, cell_line="A"), scores([0.5] * 100, cell_line="B"))
    challenger = both(scores([0.95] * 80 + [0.0] * 20, cell_line="A"), scores([0.95] * 100, cell_line="B"))
    outcomes = judge(champion, challenger)
    assert one(outcomes, "f1_area", "mean").passed
    assert {cell_line for rule, cell_line, _ in failed(outcomes) if rule == "no cell line loses"} == {"A"}


def test_the_margin_is_held_against_the_lower_end_of_the_interval() -> None:
    champion, challenger = scores([0.95] * 100), scores([0.95] * 98 + [0.0] * 2)
    outcome = one(judge(champion, challenger, most_loss=0.05), "f1_at_0.7")
    assert outcome.low < outcome.difference < 0
    between = -(outcome.low + outcome.difference) / 2
    assert not one(judge(champion, challenger, most_loss=between), "f1_at_0.7").passed
    assert one(judge(champion, challenger, most_loss=-outcome.low + 1e-6), "f1_at_0.7").passed


def test_an_error_rate_above_the_bound_fails_only_where_it_is_new() -> None:
    found = [0.95] * 50
    assert ("no new error rate", "U2OS", "fp_rate") in failed(judge(scores(found, 7), scores(found, 8)))
    assert ("no new error rate", "U2OS", "fp_rate") not in failed(judge(scores(found, 8), scores(found, 9)))


def test_with_one_field_its_nuclei_are_resampled() -> None:
    outcome = one(judge(scores([0.95] * 50, fovs=1), scores([0.95] * 45 + [0.0] * 5, fovs=1)), "f1_at_0.7")
    assert outcome.low < outcome.difference < outcome.high < 0.01


def test_few_fields_that_differ_give_a_wider_interval_than_their_nuclei_alone() -> None:
    champion = [0.95] * 80
    in_one_field = [0.0 if i % 4 == 0 else 0.95 for i in range(80)]
    spread = [0.0 if i < 20 else 0.95 for i in range(80)]
    widths = [
        outcome.high - outcome.low
        for ious in (in_one_field, spread)
        for outcome in [one(judge(scores(champion), scores(ious)), "f1_at_0.7")]
    ]
    assert widths[0] > 1.5 * widths[1]


def test_the_same_seed_gives_the_same_outcomes() -> None:
    champion, challenger = scores([0.95, 0.6] * 20), scores([0.95, 0.8] * 20, extras=2)
    assert judge(champion, challenger) == judge(champion, challenger)


def test_scores_of_other_nuclei_are_refused() -> None:
    with pytest.raises(InputError, match="same true nuclei"):
        judge(scores([0.9] * 4), scores([0.9] * 5))


def test_gained_and_lost_are_nuclei_that_one_model_alone_finds() -> None:
    true = paired(scores([0.9, 0.5, 0.9, 0.5]), scores([0.9, 0.9, 0.5, 0.5]))
    assert (gained(true)["label"].tolist(), lost(true)["label"].tolist()) == ([2], [3])
