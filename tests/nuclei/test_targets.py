"""Training targets, on label images small enough to count by hand."""

import numpy as np
import pytest
from scipy import ndimage

from tasks.nuclei.targets import blurred_border, distance_map, inner_border, not_known


def square(side_px: int, margin_px: int) -> np.ndarray:
    label_image = np.zeros((side_px + 2 * margin_px,) * 2, np.uint16)
    label_image[margin_px:-margin_px, margin_px:-margin_px] = 1
    return label_image


def test_the_distance_map_rises_from_the_boundary_to_one_at_the_centre():
    row = distance_map(square(5, 2))[4]
    np.testing.assert_allclose(row, [0, 0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3, 0, 0], atol=1e-6)


def test_the_distance_map_is_the_exact_one_and_the_same_in_every_call():
    y, x = np.mgrid[:120, :150]
    ellipse = ((y - 60) / 50) ** 2 + ((x - 75) / 66.5) ** 2 < 1
    exact = np.sqrt(np.rint(ndimage.distance_transform_edt(ellipse) ** 2)).astype(np.float32)
    for _ in range(20):
        np.testing.assert_array_equal(distance_map(ellipse.astype(np.uint16)), exact / exact.max())


def test_each_nucleus_is_normalised_by_its_own_maximum():
    label_image = np.zeros((20, 40), np.uint16)
    label_image[2:7, 2:7] = 3
    label_image[2:17, 20:35] = 9
    result = distance_map(label_image)
    assert result[label_image == 3].max() == 1
    assert result[label_image == 9].max() == 1


def test_touching_nuclei_are_the_outside_of_each_other():
    label_image = np.zeros((9, 12), np.uint16)
    label_image[2:7, 1:6], label_image[2:7, 6:11] = 1, 2
    row = distance_map(label_image)[4]
    np.testing.assert_allclose(row[1:11], [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3] * 2, atol=1e-6)


def test_the_edge_of_the_image_is_no_boundary():
    label_image = np.zeros((6, 12), np.uint16)
    label_image[:, :4] = 1
    np.testing.assert_allclose(distance_map(label_image)[3, :5], [1, 0.75, 0.5, 0.25, 0], atol=1e-6)
    assert inner_border(label_image).sum() == 6


def test_the_distances_of_a_nucleus_that_may_be_cut_off_are_not_known():
    label_image, ignored = np.zeros((9, 30), np.uint16), np.zeros((9, 30), bool)
    label_image[2:7, 2:7], label_image[2:7, 14:19], ignored[:, 19:] = 1, 2, True
    assert not not_known(label_image, ignored)[:, :14].any()
    assert not_known(label_image, ignored)[4, 14:].tolist() == [False] * 3 + [True] * 13
    ignored[:, 19] = False
    np.testing.assert_array_equal(not_known(label_image, ignored), ignored)


def test_under_what_is_ignored_a_label_is_taken_for_what_it_says():
    label_image, ignored = np.zeros((9, 20), np.uint16), np.zeros((9, 20), bool)
    label_image[2:7, 2:7], label_image[2:7, 7:12], ignored[:, 7:] = 1, 2, True
    assert not not_known(label_image, ignored)[3:6, :7].any()


def test_what_is_left_of_a_nucleus_that_is_mostly_ignored_is_not_known():
    y, x = np.mgrid[:60, :100]
    label_image, ignored = np.zeros((60, 100), np.uint16), x >= 60
    label_image[np.hypot(y - 30, x - 30) < 12] = 1
    label_image[(np.hypot(y - 30, x - 70) < 20) & ~ignored] = 2
    unknown = not_known(label_image, ignored)
    assert unknown[label_image == 2].mean() > 0.8
    assert not unknown[label_image == 1].any()


def test_all_is_known_of_a_field_that_is_annotated_whole():
    assert not not_known(square(5, 2), None).any()


def test_a_nucleus_that_fills_the_image_is_one_everywhere():
    assert (distance_map(np.ones((8, 8), np.uint16)) == 1).all()


def test_what_an_edge_leaves_of_a_nucleus_is_no_nucleus_of_its_own():
    y, x = np.mgrid[:60, :80]
    label_image = np.zeros((60, 80), np.uint16)
    label_image[np.hypot(y - 30, x - 40) < 12] = 1
    label_image[np.hypot(y - 30, x + 10) < 12] = 2
    result = distance_map(label_image)
    assert result[label_image == 1].max() == 1
    # Two of its 12 pixels are left.
    assert 0 < result[label_image == 2].max() < 0.4


@pytest.mark.parametrize("beyond_px", [0, 3, 5])
def test_a_nucleus_of_which_an_edge_leaves_more_than_a_half_is_one_in_its_deepest_pixels(beyond_px):
    y, x = np.mgrid[:60, :80]
    label_image = np.zeros((60, 80), np.uint16)
    label_image[np.hypot(y - 30, x - 40) < 12] = 1
    label_image[np.hypot(y - 30, x + beyond_px) < 12] = 2
    assert distance_map(label_image)[label_image == 2].max() == 1


@pytest.mark.parametrize(("side_px", "deepest"), [(1, 1 / 3), (2, 1 / 3), (4, 2 / 3), (5, 1)])
def test_a_label_of_a_few_pixels_is_not_raised_to_one(side_px, deepest):
    assert distance_map(square(side_px, 3)).max() == pytest.approx(deepest)


def test_the_distance_map_agrees_with_scipy_on_random_blobs():
    from scipy import ndimage

    rng = np.random.default_rng(3)
    blobs = ndimage.label(ndimage.gaussian_filter(rng.random((90, 110)), 3) > 0.51)[0]
    expected = np.zeros(blobs.shape)
    for label in range(1, blobs.max() + 1):
        distance = ndimage.distance_transform_edt(blobs == label)
        expected += distance / distance.max()
    at_edge = np.unique(np.concatenate([blobs[0], blobs[-1], blobs[:, 0], blobs[:, -1]]))
    shallow = [label for label in range(1, blobs.max() + 1) if ndimage.distance_transform_edt(blobs == label).max() < 3]
    inside = ~np.isin(blobs, [*at_edge[at_edge > 0], *shallow])
    assert inside[blobs > 0].mean() > 0.3
    np.testing.assert_allclose(distance_map(blobs)[inside], expected[inside], atol=1e-5)


def test_the_inner_border_of_a_square_is_its_outermost_ring():
    border = inner_border(square(5, 2))
    assert border.sum() == 16
    assert not border[4, 4]
    assert border[2, 2]


def test_the_blurred_border_keeps_the_weight_of_the_border_and_peaks_on_it():
    result = blurred_border(square(21, 10))
    assert result.sum() == pytest.approx(80, rel=1e-3)
    # Across a straight line of width 1, a Gaussian with sigma 1 leaves 0.399 on the line and 0.242 beside it.
    np.testing.assert_allclose(result[20, 9:12], [0.242, 0.399, 0.242], atol=5e-3)


def test_an_empty_label_image_gives_empty_targets():
    empty = np.zeros((16, 16), np.uint16)
    assert not distance_map(empty).any()
    assert not blurred_border(empty).any()
