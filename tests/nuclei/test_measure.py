"""Tests of tasks.nuclei.measure."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.nuclei.measure import (
    focus,
    histogram_mean,
    histogram_percentile,
    intensity_histogram,
    largest_pieces,
    measure_instances,
)


def test_areas_and_pieces_are_counted_per_label() -> None:
    label_image = np.array([[5, 5, 0, 2], [0, 0, 0, 2], [5, 0, 0, 0]])
    instances = measure_instances(label_image)
    assert instances.numbers.tolist() == [2, 5]
    assert instances.areas_px.tolist() == [2, 3]
    assert instances.pieces.tolist() == [1, 2]


def test_pixels_that_share_a_corner_are_one_piece() -> None:
    assert measure_instances(np.array([[1, 0], [0, 1]])).pieces.tolist() == [1]


def test_the_largest_piece_of_each_label_stays() -> None:
    label_image = np.array([[5, 5, 0, 2], [0, 0, 0, 2], [5, 0, 2, 0], [7, 0, 0, 7]], np.int32)
    kept = [[5, 5, 0, 2], [0, 0, 0, 2], [0, 0, 0, 0], [7, 0, 0, 0]]
    assert largest_pieces(label_image).tolist() == kept
    assert largest_pieces(np.zeros((3, 3), np.int32)).tolist() == np.zeros((3, 3)).tolist()


def test_touching_labels_are_two_instances() -> None:
    assert measure_instances(np.array([[1, 1, 2, 2]])).areas_px.tolist() == [2, 2]


def test_huge_label_numbers_are_measured() -> None:
    instances = measure_instances(np.array([[0, 2_000_000_000]], np.int32))
    assert (instances.numbers.tolist(), instances.areas_px.tolist()) == ([2_000_000_000], [1])


def test_an_empty_label_image_has_no_instances() -> None:
    instances = measure_instances(np.zeros((3, 3), np.uint16))
    assert [len(part) for part in (instances.numbers, instances.areas_px, instances.pieces, instances.at_edge)] == [
        0
    ] * 4


def test_a_nucleus_in_the_first_or_last_row_or_column_is_at_the_edge() -> None:
    label_image = np.zeros((5, 5), np.uint8)
    label_image[0, 2], label_image[2, 4], label_image[2, 2] = 1, 2, 3
    assert measure_instances(label_image).at_edge.tolist() == [True, True, False]


def test_a_blurred_image_is_less_in_focus_and_brightness_and_contrast_do_not_count() -> None:
    sharp = np.kron(np.random.default_rng(0).integers(100, 200, (8, 8)), np.ones((16, 16))).astype(np.uint16)
    moved = [np.roll(sharp, (y, x), (0, 1)).astype(np.float64) for y in range(5) for x in range(5)]
    blurred = np.mean(moved, axis=0).astype(np.uint16)
    assert focus(blurred) < 0.5 * focus(sharp)
    assert focus(sharp * 3 + 50) == pytest.approx(focus(sharp), rel=1e-3)
    assert focus(np.full((8, 8), 7, np.uint16)) == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_histograms_of_two_images_add_up_to_that_of_both(dtype: type) -> None:
    both = intensity_histogram(np.array([[1, 2]], dtype)) + intensity_histogram(np.array([[2, 200]], dtype))
    assert np.flatnonzero(both).tolist() == [1, 2, 200]
    assert both[[1, 2, 200]].tolist() == [1, 2, 1]


def test_mean_and_percentiles_of_a_histogram_are_those_of_the_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 5000, (20, 30)).astype(np.uint16)
    histogram = intensity_histogram(image)
    assert histogram_mean(histogram) == pytest.approx(image.mean())
    for percent in (1, 50, 99, 100):
        assert histogram_percentile(histogram, percent) == np.percentile(image, percent, method="inverted_cdf")
