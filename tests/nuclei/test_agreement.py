"""Agreement of two annotators, of nuclei that can be counted."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.nuclei.agreement import agreement
from tasks.nuclei.errors import InputError
from tasks.nuclei.scoring import IOU_THRESHOLDS, count, f1_score, score_instances
from tests.fields import round_nuclei

OBJECT_LEVEL = IOU_THRESHOLDS.index(0.7)


def row(*labels: int) -> np.ndarray:
    return np.array([labels], np.int32)


def test_annotators_who_draw_the_same_agree_wholly() -> None:
    labels = row(1, 1, 0, 2, 2)
    found = agreement([(labels, labels * 7)])
    assert (found.f1 == 1).all()
    assert (found.interval.high == 1).all()
    assert found.interval.low[OBJECT_LEVEL] < 0.9


def test_f1_is_the_share_of_the_nuclei_of_both_that_have_a_counterpart() -> None:
    # Of two and one nuclei, one is the same.
    found = agreement([(row(1, 1, 0, 2, 2), row(3, 3, 0, 0, 0))])
    assert (found.f1 == 2 / 3).all()
    assert (found.nuclei, found.fields) == ((2, 1), 1)


def test_it_does_not_matter_who_comes_first_also_where_one_draws_two_nuclei_of_one() -> None:
    halves, whole = row(1, 1, 1, 2, 2, 2), row(1, 1, 1, 1, 1, 1)
    one, other = agreement([(halves, whole)]), agreement([(whole, halves)])
    assert (one.f1 == other.f1).all()
    assert one.f1[IOU_THRESHOLDS.index(0.5)] == 1
    assert (one.interval.low == other.interval.low).all()


def test_above_0_5_it_is_the_f1_of_a_model_whose_truth_is_either() -> None:
    one, other = round_nuclei(seed=1)[1], np.roll(round_nuclei(seed=1)[1], 3, axis=1)
    counts = count(score_instances(one, other))
    above = np.array(IOU_THRESHOLDS) > 0.5
    assert agreement([(one, other)]).f1[above] == pytest.approx(f1_score(counts.tp, counts.fp, counts.fn)[above])


def test_f1_lies_within_its_interval_and_more_fields_make_it_narrower() -> None:
    pairs = [(round_nuclei(seed)[1], np.roll(round_nuclei(seed)[1], 4, axis=1)) for seed in range(6)]
    few, many = agreement(pairs[:2]), agreement(pairs)
    assert (many.interval.low <= many.f1).all()
    assert (many.f1 <= many.interval.high).all()
    width = [found.interval.high[OBJECT_LEVEL] - found.interval.low[OBJECT_LEVEL] for found in (few, many)]
    assert width[1] < width[0]


def test_fields_without_a_nucleus_on_either_side_agree_and_say_nothing_else() -> None:
    found = agreement([(row(0, 0), row(0, 0))])
    assert (found.f1 == 1).all()
    assert (found.interval.low == 0).all()


def test_without_a_field_of_both_there_is_nothing_to_compare() -> None:
    with pytest.raises(InputError, match="give two label sets that share fields"):
        agreement([])
