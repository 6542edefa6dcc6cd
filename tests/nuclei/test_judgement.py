"""Tests of tasks.nuclei.judgement, on nuclei that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.nuclei.errors import InputError
from tasks.nuclei.judgement import Gate, ModelScores, RuleOutcome, apply_gate, gained, lost, outcome_of, paired
from tests.benchmarks import gate_decisions


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


def judge(champion: ModelScores, challenger: ModelScores, candidates: int = 1, **gate: float) -> list[RuleOutcome]:
    return apply_gate(champion, challenger, Gate(**gate), candidates)


def broken(outcomes: list[RuleOutcome]) -> list[tuple[str, str, str]]:
    return [(outcome.rule, outcome.cell_line, outcome.metric) for outcome in outcomes if outcome.verdict == "broken"]


def one(outcomes: list[RuleOutcome], metric: str, cell_line: str = "U2OS") -> RuleOutcome:
    (found,) = (o for o in outcomes if (o.metric, o.cell_line) == (metric, cell_line))
    return found


def test_f1_of_both_is_that_of_the_counts() -> None:
    outcome = one(judge(scores([0.8] * 6 + [0.0] * 2), scores([0.8] * 8, extras=2)), "f1_at_0.7")
    assert outcome.champion == pytest.approx(2 * 6 / (2 * 6 + 2))
    assert outcome.challenger == pytest.approx(2 * 8 / (2 * 8 + 2))


def mixed(found: int, missed: int, fovs: int = 10) -> ModelScores:
    """A model that finds so many of the nuclei of each field, the same in each."""
    return scores([0.95] * (found * fovs) + [0.0] * (missed * fovs), fovs=fovs)


def test_a_model_that_finds_more_passes_every_rule() -> None:
    outcomes = judge(scores([0.95] * 180 + [0.5] * 20), scores([0.95] * 200))
    assert {outcome.verdict for outcome in outcomes} == {"holds"}


@pytest.mark.parametrize("nuclei", [1, 20])
def test_the_same_segmentation_passes_on_any_number_of_nuclei(nuclei: int) -> None:
    same = scores([0.95, 0.8, 0.6, 0.0] * nuclei, extras=3)
    outcomes = judge(same, same)
    assert outcome_of(outcomes) == "passed"
    assert all((outcome.low, outcome.high) == (0, 0) for outcome in outcomes)


def test_equally_good_models_pass_though_they_miss_different_nuclei() -> None:
    champion, challenger = [0.95] * 600, [0.95] * 600
    for number in range(20):
        champion[number], challenger[-1 - number] = 0.0, 0.0
    outcomes = judge(scores(champion, extras=5, fovs=10), scores(challenger, extras=5, fovs=10))
    assert outcome_of(outcomes) == "passed"


def test_on_few_nuclei_that_differ_nothing_is_decided_and_it_is_said_how_many_more_it_takes() -> None:
    champion = scores([0.95] * 30 + [0.0] * 2, fovs=1)
    challenger = scores([0.0] * 2 + [0.95] * 30, fovs=1)
    outcomes = judge(champion, challenger)
    assert outcome_of(outcomes) == "undecided"
    assert all((outcome.more_nuclei > 0) == (outcome.verdict == "undecided") for outcome in outcomes)
    needed = 32 + one(outcomes, "f1_at_0.7").more_nuclei
    times = -(-needed // 32)
    champion = scores([0.95] * 30 * times + [0.0] * 2 * times, fovs=times)
    challenger = scores([0.0] * 2 * times + [0.95] * 30 * times, fovs=times)
    assert one(judge(champion, challenger), "f1_at_0.7").verdict == "holds"


def test_a_cell_line_that_loses_is_named_though_the_mean_gains() -> None:
    champion = both(scores([0.95] * 100, cell_line="A"), scores([0.5] * 100, cell_line="B"))
    challenger = both(scores([0.95] * 70 + [0.0] * 30, cell_line="A"), scores([0.95] * 100, cell_line="B"))
    outcomes = judge(champion, challenger)
    assert one(outcomes, "f1_area", "mean").verdict == "holds"
    assert {cell_line for rule, cell_line, _ in broken(outcomes) if rule == "no cell line loses"} == {"A"}
    assert outcome_of(outcomes) == "failed"


def test_the_more_rules_there_are_the_surer_a_loss_must_be_to_break_one_but_not_to_hold() -> None:
    champion, challenger = scores([0.95] * 60, fovs=10), scores([0.95] * 50 + [0.0] * 10, fovs=10)
    others = [scores([0.95] * 50, cell_line=f"line {number}", fovs=10) for number in range(11)]
    among_8 = one(judge(champion, challenger), "f1_at_0.7")
    among_85 = one(judge(both(champion, *others), both(challenger, *others)), "f1_at_0.7")
    assert (among_8.verdict, among_85.verdict) == ("broken", "undecided")
    assert (among_8.low, among_8.high) == (among_85.low, among_85.high)


def test_a_loss_within_the_margin_holds_where_twice_the_margin_is_excluded() -> None:
    champion, challenger = mixed(100, 0, fovs=2), mixed(98, 2, fovs=2)
    outcome = one(judge(champion, challenger), "f1_at_0.7")
    assert outcome.low < 2 * outcome.difference < 0
    assert one(judge(champion, challenger, most_loss=-outcome.low / 2 + 1e-6), "f1_at_0.7").verdict == "holds"
    assert one(judge(champion, challenger, most_loss=-outcome.low / 2 - 1e-6), "f1_at_0.7").verdict == "undecided"


def test_a_loss_above_the_margin_is_refused_where_it_is_shown() -> None:
    assert one(judge(mixed(100, 0), mixed(98, 2), most_loss=0.01), "f1_at_0.7").verdict == "broken"
    assert one(judge(mixed(100, 0, fovs=1), mixed(98, 2, fovs=1), most_loss=0.01), "f1_at_0.7").verdict == "undecided"


def test_many_small_losses_are_refused_by_their_mean() -> None:
    lines = [f"line {number}" for number in range(4)]
    champion = both(*(scores([0.95] * 400, cell_line=line, fovs=10) for line in lines))
    challenger = both(*(scores([0.95] * 384 + [0.0] * 16, cell_line=line, fovs=10) for line in lines))
    assert broken(judge(champion, challenger)) == [("the mean does not fall", "mean", "f1_area")]


def test_an_error_rate_that_newly_exceeds_the_bound_is_refused_where_that_is_shown() -> None:
    found = [0.95] * 1000
    new = judge(scores(found, 120, fovs=10), scores(found, 280, fovs=10))
    assert ("no new error rate", "U2OS", "fp_rate") in broken(new)
    by_chance = judge(scores(found, 149, fovs=10), scores(found, 151, fovs=10))
    assert one(by_chance, "fp_rate").verdict == "warning"


def test_an_error_rate_that_was_bad_and_stays_bad_is_a_warning_that_lets_the_challenger_pass() -> None:
    found = [0.95] * 1000
    outcomes = judge(scores(found, 300, fovs=10), scores(found, 300, fovs=10))
    assert one(outcomes, "fp_rate").verdict == "warning"
    assert one(outcomes, "fn_rate").verdict == "holds"
    assert outcome_of(outcomes) == "passed"
    better = judge(scores(found, 300, fovs=10), scores(found, 100, fovs=10))
    assert one(better, "fp_rate").verdict == "holds"


def test_an_error_rate_above_the_bound_may_not_rise_without_bound() -> None:
    found = [0.95] * 1000
    assert one(judge(scores(found, 200, fovs=10), scores(found, 230, fovs=10)), "fp_rate").verdict == "warning"
    assert one(judge(scores(found, 200, fovs=10), scores(found, 400, fovs=10)), "fp_rate").verdict == "broken"


def test_of_several_candidates_each_has_wider_intervals_and_none_fails_by_that() -> None:
    champion, challenger = mixed(20, 0), mixed(18, 2)
    alone, one_of_five = judge(champion, challenger), judge(champion, challenger, candidates=5)
    assert one(one_of_five, "f1_at_0.7").low < one(alone, "f1_at_0.7").low
    assert broken(alone) == broken(one_of_five)


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


@pytest.mark.parametrize(
    ("challenger", "verdict"), [(gate_decisions.EQUAL, "failed"), (gate_decisions.MUCH_WORSE, "passed")]
)
def test_in_simulation_no_equally_good_model_fails_and_no_much_worse_one_passes(
    challenger: gate_decisions.Challenger, verdict: str
) -> None:
    rng = np.random.default_rng(1)
    models = [gate_decisions.simulated(3, gate_decisions.TYPICAL, challenger, rng) for _ in range(80)]
    assert gate_decisions.outcomes(models)[verdict] == 0


@pytest.mark.parametrize("fields", [1, 2, 3, 5])
def test_in_simulation_an_identical_model_always_passes(fields: int) -> None:
    rng = np.random.default_rng(1)
    same = gate_decisions.Challenger("the same", is_copy=True)
    models = [gate_decisions.simulated(fields, gate_decisions.TYPICAL, same, rng) for _ in range(80)]
    assert gate_decisions.outcomes(models) == {"passed": 20}


@pytest.mark.parametrize("fields", [2, 3, 5])
def test_in_simulation_a_much_worse_model_is_refused_on_few_fields(fields: int) -> None:
    rng = np.random.default_rng(1)
    models = [
        gate_decisions.simulated(fields, gate_decisions.TYPICAL, gate_decisions.MUCH_WORSE, rng) for _ in range(80)
    ]
    assert gate_decisions.outcomes(models)["failed"] >= 18


def test_in_simulation_most_equally_good_models_pass_on_ten_fields() -> None:
    rng = np.random.default_rng(1)
    models = [gate_decisions.simulated(10, gate_decisions.TYPICAL, gate_decisions.EQUAL, rng) for _ in range(80)]
    assert gate_decisions.outcomes(models)["passed"] >= 15


def test_scores_of_other_nuclei_are_refused() -> None:
    with pytest.raises(InputError, match="same true nuclei"):
        judge(scores([0.9] * 4), scores([0.9] * 5))


def test_gained_and_lost_are_nuclei_that_one_model_alone_finds() -> None:
    true = paired(scores([0.9, 0.5, 0.9, 0.5]), scores([0.9, 0.9, 0.5, 0.5]))
    assert (gained(true)["label"].tolist(), lost(true)["label"].tolist()) == ([2], [3])
