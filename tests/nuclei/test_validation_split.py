"""Which fields are kept back stays as it is when others arrive."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from tasks.nuclei.validation_split import ValidationSplit, lot_of, regions_by_share


def lots(amount: int, seed: int) -> list[float]:
    return [lot_of([hashlib.sha256(f"{seed} {number}".encode()).hexdigest()]) for number in range(amount)]


def kept_back(drawn: list[float], share: float = 0.2) -> dict[float, bool]:
    parts = ValidationSplit(share).of_group(drawn)
    assert parts is not None
    return dict(zip(drawn, parts, strict=True))


def test_no_field_that_was_trained_on_is_kept_back_later_unless_that_was_more_than_half() -> None:
    amounts = (3, 6, 7, 20, 60)
    kept_all = [all(2 * sum(lot < 0.2 for lot in lots(60, seed)[:n]) <= n for n in amounts) for seed in range(300)]
    assert sum(kept_all) > 200
    for seed in np.flatnonzero(kept_all):
        drawn = lots(60, int(seed))
        before: dict[float, bool] = {}
        for amount in amounts:
            after = kept_back(drawn[:amount])
            assert not any(after[lot] and not was_kept for lot, was_kept in before.items())
            before = after


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_about_the_share_of_many_fields_is_kept_back(share: float) -> None:
    assert np.mean([*kept_back(lots(3000, seed=0), share).values()]) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.99])
@pytest.mark.parametrize("amount", [2, 3, 5])
def test_few_fields_are_in_both_parts_and_half_of_them_at_least_are_trained_on(amount: int, share: float) -> None:
    for seed in range(50):
        assert 1 <= sum(kept_back(lots(amount, seed), share).values()) <= amount / 2


def test_a_copy_that_arrives_draws_no_lower_number() -> None:
    low, high = "0" * 64, "f" * 64
    assert lot_of([low]) < lot_of([high]) == lot_of([low, high])
    assert 0 <= lot_of([low]) <= lot_of([high]) < 1


def test_an_image_that_another_group_has_is_not_cut() -> None:
    split = ValidationSplit(0.2)
    assert split.of_group([0.1, 0.5, 0.9]) == [True, False, False]
    assert not split.may_cut(0.5)
    with pytest.raises(ValueError, match=r"The image of lot 0\.5 is in a group before"):
        split.cut(0.5)


def test_an_image_that_is_cut_is_in_no_group_after_and_to_ask_whether_it_may_be_changes_nothing() -> None:
    split = ValidationSplit(0.2)
    assert all(split.may_cut(0.7) for _ in range(2))
    split.cut(0.7)
    assert not split.may_cut(0.7)
    assert split.of_group([0.7, 0.8]) is None


def test_a_field_is_cut_into_regions_by_its_annotated_part():
    ignored = np.ones((100, 200), bool)
    ignored[20:60, 100:150] = False
    assert regions_by_share((100, 200), 0.2) == [(0, 0, 100, 160), (0, 160, 100, 200)]
    assert regions_by_share((100, 200), 0.2, ignored) == [(0, 0, 100, 140), (0, 140, 100, 200)]
    assert regions_by_share((200, 100), 0.2, ignored.T) == [(0, 0, 140, 100), (140, 0, 200, 100)]
    assert regions_by_share((100, 200), 0.2, ~ignored & False) == regions_by_share((100, 200), 0.2)


def test_both_regions_have_annotated_pixels_however_few_there_are():
    ignored = np.ones((100, 200), bool)
    ignored[50, 10], ignored[50, 190] = False, False
    (_, _, _, cut), _ = regions_by_share((100, 200), 0.2, ignored)
    assert 11 <= cut <= 190
