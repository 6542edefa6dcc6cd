from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from tasks.nuclei import scoring
from tasks.nuclei.errors import InputError
from tests.nuclei.peer_scores import synthetic_label_images


def row(*labels: int) -> NDArray[np.int32]:
    """A label image of one line, short enough to count by hand."""
    return np.array([labels], np.int32)


def counted(true_labels: NDArray[np.integer], predicted_labels: NDArray[np.integer], iou: float) -> tuple[int, ...]:
    counts = scoring.count(scoring.score_instances(true_labels, predicted_labels), [iou])
    return int(counts.tp[0]), int(counts.fp[0]), int(counts.fn[0])


def counts_of(tp: int, fp: int, fn: int) -> scoring.Counts:
    return scoring.Counts(np.array([tp]), np.array([fp]), np.array([fn]), tp + fn, tp + fp, 0, 0)


def test_the_thresholds_are_the_decimals_from_0_05_to_0_95() -> None:
    assert list(map(str, scoring.IOU_THRESHOLDS)) == [f"{n / 100:.2f}".rstrip("0") for n in range(5, 100, 5)]


def test_the_iou_of_every_overlapping_pair_is_intersection_over_union() -> None:
    pairs = scoring.iou_pairs(row(2, 2, 2, 2, 0, 9, 9, 0), row(0, 4, 4, 4, 4, 4, 1, 1))
    assert pairs.true_ids.tolist() == [2, 9]
    assert pairs.predicted_ids.tolist() == [1, 4]
    found = {
        (pairs.true_ids[t], pairs.predicted_ids[p]): iou
        for t, p, iou in zip(pairs.true_position, pairs.predicted_position, pairs.iou, strict=True)
    }
    assert found == {(2, 4): 3 / 6, (9, 4): 1 / 6, (9, 1): 1 / 3}


def test_equal_label_images_have_no_errors_at_any_threshold() -> None:
    labels = row(1, 1, 0, 2, 2, 3)
    counts = scoring.count(scoring.score_instances(labels, labels))
    assert (counts.tp == 3).all()
    assert (counts.fp == 0).all()
    assert (counts.fn == 0).all()


def test_an_iou_of_exactly_the_threshold_is_a_hit() -> None:
    for hundredths, iou_threshold in zip(range(5, 100, 5), scoring.IOU_THRESHOLDS, strict=True):
        true_labels = np.ones((1, 100), np.uint16)
        predicted_labels = (np.arange(100) < hundredths).astype(np.uint16)[np.newaxis]
        assert counted(true_labels, predicted_labels, iou_threshold) == (1, 0, 0)
        one_pixel_less = (np.arange(100) < hundredths - 1).astype(np.uint16)[np.newaxis]
        assert counted(true_labels, one_pixel_less, iou_threshold) == (0, 1, 1)


def test_a_nucleus_split_in_unequal_parts_is_one_miss_and_two_extras() -> None:
    true_labels, predicted_labels = row(1, 1, 1, 1, 1), row(1, 1, 1, 2, 2)
    assert counted(true_labels, predicted_labels, 0.7) == (0, 2, 1)
    scores = scoring.score_instances(true_labels, predicted_labels)
    assert scores.splits().tolist() == [1]
    assert scores.merges().tolist() == []


def test_two_nuclei_merged_into_one_are_two_misses_and_one_extra() -> None:
    true_labels, predicted_labels = row(3, 3, 3, 8, 8), row(5, 5, 5, 5, 5)
    assert counted(true_labels, predicted_labels, 0.7) == (0, 1, 2)
    scores = scoring.score_instances(true_labels, predicted_labels)
    assert scores.splits().tolist() == []
    assert scores.merges().tolist() == [5]


def test_a_part_with_an_iou_under_a_tenth_makes_no_split() -> None:
    true_labels = np.ones((1, 11), np.uint8)
    part_of_one_in_eleven = row(*[1] * 10, 2)
    assert scoring.score_instances(true_labels, part_of_one_in_eleven).splits().tolist() == []
    true_labels = np.ones((1, 10), np.uint8)
    part_of_one_in_ten = row(*[1] * 9, 2)
    assert scoring.score_instances(true_labels, part_of_one_in_ten).splits().tolist() == [1]


@pytest.mark.parametrize(("dtype", "gap"), [(np.uint8, 2), (np.int32, 10**7), (np.uint32, 3 * 10**7), (np.int64, 5)])
def test_gaps_in_the_label_numbers_and_their_dtype_change_nothing(dtype: type, gap: int) -> None:
    images = synthetic_label_images(0)
    expected = scoring.count(scoring.score_instances(*images))
    true_index, predicted_index = (np.unique(labels, return_inverse=True)[1] for labels in images)
    true_labels: NDArray[np.integer] = (gap * true_index).astype(dtype)
    predicted_labels: NDArray[np.integer] = (gap * predicted_index).astype(dtype)
    found = scoring.count(scoring.score_instances(true_labels, predicted_labels))
    assert_array_equal(found.tp, expected.tp)
    assert_array_equal(found.fp, expected.fp)
    assert (found.splits, found.merges) == (expected.splits, expected.merges)


def test_the_largest_32_bit_labels_keep_apart() -> None:
    largest = 2**32 - 1
    true_labels = np.array([[largest, largest, largest - 1, 0]], np.uint32)
    predicted_labels = np.array([[largest, largest, 0, largest - 1]], np.uint32)
    assert counted(true_labels, predicted_labels, 0.7) == (1, 1, 1)


def test_too_many_labels_for_a_full_table_give_the_same_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    images = synthetic_label_images(1)
    expected = scoring.count(scoring.score_instances(*images))
    monkeypatch.setattr(scoring, "_MAX_DENSE_CELLS", 10)
    found = scoring.count(scoring.score_instances(*images))
    assert_array_equal(found.tp, expected.tp)
    assert_array_equal(found.fp, expected.fp)
    assert_array_equal(found.fn, expected.fn)
    assert (found.splits, found.merges) == (expected.splits, expected.merges)


def test_many_true_and_many_predicted_nuclei_take_no_full_table() -> None:
    labels = np.arange(1, 300 * 300 + 1, dtype=np.uint32).reshape(300, 300)
    assert counted(labels, labels, 0.7) == (90_000, 0, 0)


def test_no_prediction_makes_all_nuclei_misses_and_no_nuclei_makes_all_predictions_extras() -> None:
    assert counted(row(1, 0, 2), row(0, 0, 0), 0.7) == (0, 0, 2)
    assert counted(row(0, 0, 0), row(1, 0, 2), 0.7) == (0, 2, 0)


def test_a_field_without_nuclei_in_which_none_were_found_has_f1_one() -> None:
    counts = scoring.count(scoring.score_instances(row(0, 0), row(0, 0)))
    assert (counts.true_nuclei, counts.predicted_nuclei) == (0, 0)
    assert (scoring.f1_score(counts.tp, counts.fp, counts.fn) == 1).all()
    assert scoring.error_rate(0, true_nuclei=0) == 0


def test_f1_follows_the_papers_formula() -> None:
    f1 = scoring.f1_score(np.array([3, 0]), np.array([1, 2]), np.array([2, 0]))
    assert_allclose(f1, [2 * 3 / (2 * 3 + 1 + 2), 0])


def test_rates_are_per_true_nucleus_as_in_the_papers_figure_s3() -> None:
    # FPN2-WS on MCF10A: 40 false positives of 1,349 nuclei are drawn as 2.97 %.
    assert scoring.error_rate(40, true_nuclei=1349) == pytest.approx(0.0297, abs=5e-5)


def test_pooling_sums_counts_before_the_quotient() -> None:
    pooled = scoring.pool([counts_of(tp=1, fp=0, fn=0), counts_of(tp=0, fp=4, fn=4)])
    assert (pooled.tp[0], pooled.fp[0], pooled.fn[0]) == (1, 4, 4)
    assert (pooled.true_nuclei, pooled.predicted_nuclei) == (5, 5)
    assert_allclose(scoring.f1_score(pooled.tp, pooled.fp, pooled.fn), [0.2])


@pytest.mark.parametrize(
    ("true_labels", "predicted_labels", "words"),
    [
        (row(1, 1), row(1, 1, 1), r"\(1, 3\).*\(1, 2\)"),
        (row(1, -1), row(1, 1), "true label image has the label -1"),
        (row(1, 1), np.ones((1, 2), np.float32), "predicted label image is float32"),
        (row(1, 1), np.full((1, 2), 2**32, np.int64), "4294967296"),
    ],
)
def test_what_is_no_pair_of_label_images_is_refused(
    true_labels: NDArray[np.integer], predicted_labels: NDArray[np.integer], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        scoring.score_instances(true_labels, predicted_labels)


PEER_SCORES = pd.read_csv(Path(__file__).with_name("peer_scores.csv"))


def our_f1(random_seed: int) -> NDArray[np.float64]:
    counts = scoring.count(scoring.score_instances(*synthetic_label_images(random_seed)))
    return scoring.f1_score(counts.tp, counts.fp, counts.fn)


@pytest.mark.parametrize("peer", ["stardist", "cellpose"])
@pytest.mark.parametrize("random_seed", sorted(PEER_SCORES["random_seed"].unique()))
def test_f1_from_an_iou_of_one_half_is_that_of_the_peers(peer: str, random_seed: int) -> None:
    theirs = PEER_SCORES[PEER_SCORES["random_seed"] == random_seed]
    upper = (theirs["iou_threshold"] >= 0.5).to_numpy()
    assert upper.sum() == 10
    assert_allclose(our_f1(random_seed)[upper], theirs[f"{peer}_f1"][upper], atol=5e-5)


@pytest.mark.parametrize("peer", ["stardist", "cellpose"])
def test_below_one_half_f1_is_never_below_that_of_the_peers_who_pair_nuclei_one_to_one(peer: str) -> None:
    lower = PEER_SCORES[PEER_SCORES["iou_threshold"] < 0.5]
    for random_seed, theirs in lower.groupby("random_seed"):
        gain = our_f1(int(str(random_seed)))[: len(theirs)] - theirs[f"{peer}_f1"].to_numpy()
        assert gain.min() >= -1e-12
        assert gain.max() > 0.01


def left_out(*pixels: int) -> NDArray[np.bool_]:
    return row(*pixels) > 0


def counted_beside(
    true_labels: NDArray[np.integer], predicted_labels: NDArray[np.integer], ignored: NDArray[np.bool_], iou: float
) -> tuple[int, ...]:
    counts = scoring.count(scoring.score_instances(true_labels, predicted_labels, ignored), [iou])
    return int(counts.tp[0]), int(counts.fp[0]), int(counts.fn[0])


def test_nuclei_in_ignored_pixels_are_neither_hits_nor_errors() -> None:
    true_labels, predicted_labels = row(1, 1, 0, 0, 2, 2, 0), row(3, 3, 0, 4, 0, 0, 5)
    assert counted_beside(true_labels, predicted_labels, left_out(0, 0, 0, 1, 1, 1, 1), 0.7) == (1, 0, 0)


def test_a_nucleus_counts_if_half_of_it_is_ignored_and_does_not_if_more_is() -> None:
    true_labels, nothing = row(1, 1, 1, 1, 0, 0), np.zeros((1, 6), np.int32)
    half, more = left_out(0, 0, 1, 1, 1, 1), left_out(0, 1, 1, 1, 1, 1)
    assert counted_beside(true_labels, nothing, half, 0.7) == (0, 0, 1)
    assert counted_beside(true_labels, nothing, more, 0.7) == (0, 0, 0)
    assert counted_beside(nothing, true_labels, half, 0.7) == (0, 1, 0)
    assert counted_beside(nothing, true_labels, more, 0.7) == (0, 0, 0)


def test_the_iou_is_of_annotated_pixels_whether_the_nucleus_was_cut_off_there_or_not() -> None:
    ignored = left_out(0, 0, 0, 0, 0, 1, 1, 1)
    predicted_labels = row(0, 7, 7, 7, 7, 7, 7, 0)
    for true_labels in (row(0, 3, 3, 3, 3, 3, 3, 3), row(0, 3, 3, 3, 3, 0, 0, 0)):
        scores = scoring.score_instances(true_labels, predicted_labels, ignored)
        assert scores.true_iou.tolist() == scores.predicted_iou.tolist() == [1]


def test_a_nucleus_that_counts_may_be_found_by_one_that_does_not() -> None:
    ignored = left_out(0, 0, 0, 0, 1, 1, 1, 1, 1)
    inside, reaching_out = row(0, 1, 1, 1, 1, 1, 0, 0, 0), row(0, 2, 2, 2, 2, 2, 2, 2, 0)
    assert counted_beside(inside, reaching_out, ignored, 0.9) == (1, 0, 0)
    assert counted_beside(reaching_out, inside, ignored, 0.9) == (0, 0, 0)


def test_nuclei_that_are_mostly_ignored_are_no_partners_of_splits_and_merges() -> None:
    ignored = left_out(0, 0, 0, 0, 0, 0, 1, 1)
    two, one = row(1, 1, 1, 1, 0, 2, 2, 2), row(5, 5, 5, 5, 5, 5, 0, 0)
    assert scoring.score_instances(two, one, ignored).merges().tolist() == []
    assert scoring.score_instances(one, two, ignored).splits().tolist() == []
    assert scoring.score_instances(two, one).merges().tolist() == [5]
    assert scoring.score_instances(one, two).splits().tolist() == [5]


def test_with_nothing_ignored_the_scores_are_those_without() -> None:
    true_labels, predicted_labels = synthetic_label_images(1)
    nothing = np.zeros(true_labels.shape, np.bool_)
    without, beside = (scoring.score_instances(true_labels, predicted_labels, ignored) for ignored in (None, nothing))
    for name, values in vars(without).items():
        assert_array_equal(getattr(beside, name), values)


def test_large_label_numbers_are_counted_by_their_ignored_share_too() -> None:
    large = 4_000_000_000
    true_labels = np.array([[large, large, 0, large - 1, large - 1]], np.uint32)
    scores = scoring.score_instances(true_labels, np.zeros_like(true_labels), left_out(0, 0, 0, 1, 1))
    assert scores.true_ids.tolist() == [large]


def test_what_is_ignored_must_be_of_the_same_image() -> None:
    with pytest.raises(InputError, match=r"What is ignored is \(1, 3\) px, the true label image \(1, 2\) px"):
        scoring.score_instances(row(1, 1), row(1, 1), left_out(0, 0, 1))
