"""Tests of tasks.nuclei.intervals, on fields whose variance can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tasks.nuclei import intervals
from tasks.nuclei.intervals import Estimate, Nuclei
from tasks.nuclei.scoring import IOU_THRESHOLDS, OBJECT_LEVEL_IOU
from tests.benchmarks import gate_decisions

AT_0_7 = IOU_THRESHOLDS.index(OBJECT_LEVEL_IOU)


def model(found: list[int], nuclei: list[int], extras: int = 0) -> Estimate:
    """A model that outlines so many nuclei of each field exactly, and misses the rest; extras are in the first."""
    field = np.repeat(np.arange(len(nuclei)), nuclei)
    iou = np.concatenate([np.arange(n) < f for f, n in zip(found, nuclei, strict=True)]).astype(float)
    true = Nuclei(field, iou, iou.astype(int))
    predicted_field = np.concatenate([field[iou > 0], np.zeros(extras, int)])
    predicted_iou = np.concatenate([iou[iou > 0], np.zeros(extras)])
    return intervals.estimate(true, Nuclei(predicted_field, predicted_iou, predicted_iou.astype(int)), len(nuclei))


def interval(scores: Estimate) -> tuple[float, float]:
    low, high = intervals.interval_of_scores(scores.combined(intervals.F1_ALONE))
    return low[AT_0_7], high[AT_0_7]


def test_f1_and_rates_are_those_of_the_summed_counts() -> None:
    scores = model([8, 4], [10, 10], extras=3)
    assert scores.value[AT_0_7] == pytest.approx(24 / (24 + 8 + 3))
    assert scores.value[-4:] == pytest.approx([0, 0, 3 / 20, 8 / 20])
    assert scores.without[:, AT_0_7] == pytest.approx([8 / (8 + 6), 16 / (16 + 2 + 3)])


def test_what_nuclei_add_to_a_score_cancels_out() -> None:
    scores = model([8, 4], [10, 10], extras=3)
    assert (scores.true_part.sum(axis=0) + scores.other_part.sum(axis=0))[: AT_0_7 + 1] == pytest.approx(0)


def test_among_very_many_fields_the_scatter_of_the_fields_alone_gives_the_interval() -> None:
    rng = np.random.default_rng(1)
    found = rng.integers(20, 41, size=300)
    scores = model(found.tolist(), [40] * 300)
    low, high = interval(scores)
    shares = found / 40
    # F1 = 2 r / (1 + r) of the share r that is found.
    by_hand = 2 / (1 + shares.mean()) ** 2 * shares.std(ddof=1) / np.sqrt(300)
    assert high - low == pytest.approx(2 * 1.96 * by_hand, rel=0.05)


def test_one_field_rests_on_its_nuclei_and_on_what_is_assumed_of_fields() -> None:
    low, high = interval(model([80], [100]))
    of_nuclei = 2 / 1.8**2 * np.sqrt(0.8 * 0.2 / 100) * np.sqrt(1 + 99 * intervals.OF_ONE_MODEL)
    half = stats.t.ppf(0.975, intervals.PRIOR_FREEDOM) * of_nuclei
    assert (high - low) / 2 == pytest.approx(half, rel=0.2)


def test_fields_that_agree_by_chance_leave_an_interval_with_a_width() -> None:
    low, high = interval(model([8, 8, 8], [10, 10, 10]))
    assert low < 0.89 - 0.1
    assert high > 0.89 + 0.03


def test_where_no_error_was_seen_some_may_be_elsewhere() -> None:
    few, many = (interval(model([20] * fields, [20] * fields)) for fields in (1, 30))
    assert few[1] == many[1] == 1
    assert few[0] < many[0] < 1


def test_without_a_nucleus_nothing_is_known() -> None:
    assert interval(model([0, 0], [0, 0])) == (0, 1)


def test_a_field_of_many_nuclei_among_small_ones_counts_as_hardly_more_than_one() -> None:
    even, uneven = (model([90] * 3, nuclei).spread(0.1).freedom for nuclei in ([100] * 3, [1000, 100, 100]))
    assert even == pytest.approx(intervals.PRIOR_FREEDOM + 2)
    assert uneven < intervals.PRIOR_FREEDOM + 0.5


@pytest.mark.parametrize("fields", [2, 3, 5])
def test_intervals_from_few_fields_hold_the_true_value_about_as_often_as_they_say(fields: int) -> None:
    """Percentiles of resampled fields and nuclei hold F1 at 0.9 in 61, 67 and 75 of 100 such simulations.

    At 0.7, where nearly all nuclei are found, intervals are wide enough, and more than that.
    """
    rng = np.random.default_rng(1)
    effects, challenger = gate_decisions.TYPICAL, gate_decisions.EQUAL
    truth = gate_decisions.simulated(gate_decisions.FIELDS_FOR_TRUTH, effects, challenger, rng)
    models = [gate_decisions.simulated(fields, effects, challenger, rng) for _ in range(400)]
    covered = gate_decisions.coverage(models, truth)
    assert 0.93 <= covered.of_one[1] <= 0.98
    assert covered.of_one[0] >= 0.95
    assert (covered.of_difference >= 0.95).all()
    # An interval that held everything would say nothing.
    assert (covered.width_of_difference < 0.25).all()


def test_what_is_hard_for_both_models_does_not_widen_the_interval_of_their_difference() -> None:
    champion, challenger = model([90, 40, 65], [100, 100, 100]), model([91, 41, 66], [100, 100, 100])
    alone = challenger.spread(intervals.OF_ONE_MODEL).error[AT_0_7]
    paired = intervals.spread_of_difference(challenger.minus(champion)).error[AT_0_7]
    assert paired < alone / 5


@pytest.mark.parametrize(("half_width", "more"), [(0.2, 300), (0.1, 1), (0.15, 130)])
def test_an_interval_becomes_half_as_wide_on_four_times_as_many_nuclei(half_width: float, more: int) -> None:
    assert intervals.more_nuclei(100, half_width, 0.1) == more
