"""Boxes and anchors against small cases worked out by hand."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tasks.methods.mask_rcnn import boxes as box_geometry
from tasks.methods.mask_rcnn.anchors import SIZES_PX, anchors_of

REFERENCE = np.array([[10, 20, 30, 60]], np.float32)  # 20 x 40 px around (20, 40)


def test_a_box_twice_as_high_and_shifted_by_half_a_width_is_encoded_by_hand() -> None:
    box = np.array([[0, 40, 40, 80]], np.float32)  # 40 x 40 px around (20, 60)
    deltas = box_geometry.encode(box, REFERENCE)
    assert_allclose(deltas, [[0, 0.5 / 0.1, np.log(2) / 0.2, 0]], atol=1e-6)


def test_what_was_encoded_is_decoded() -> None:
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 200, (50, 2))
    boxes = np.concatenate([start, start + rng.uniform(3, 60, (50, 2))], axis=1).astype(np.float32)
    references = np.roll(boxes, 1, axis=0)
    assert_allclose(box_geometry.decode(box_geometry.encode(boxes, references), references), boxes, atol=1e-2)


def test_a_wild_difference_gives_a_finite_box() -> None:
    assert np.isfinite(box_geometry.decode(np.array([[0, 0, 1e6, 1e6]], np.float32), REFERENCE)).all()


def test_boxes_are_clipped_to_the_image() -> None:
    assert_allclose(box_geometry.clip(np.array([[-5, 3, 300, 260]], np.float32), 256), [[0, 3, 256, 256]])


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        ([10, 20, 30, 60], 1),
        ([10, 40, 30, 80], 1 / 3),  # half of each is shared
        ([30, 60, 50, 80], 0),  # they only touch
        ([15, 30, 25, 50], 0.25),  # inside
        ([0, 0, 0, 0], 0),
    ],
)
def test_iou_of_two_boxes(other: list[float], iou: float) -> None:
    assert_allclose(box_geometry.iou(REFERENCE, np.array([other], np.float32)), [[iou]], atol=1e-6)


def test_empty_boxes_share_nothing_and_give_no_nan() -> None:
    empty = np.zeros((1, 4), np.float32)
    assert_allclose(box_geometry.iou(empty, empty), [[0]])
    assert_allclose(box_geometry.area(np.array([[5, 5, 1, 1]], np.float32)), [0])


def test_a_training_image_has_three_anchors_at_each_place_of_each_level() -> None:
    anchors = anchors_of(256)
    assert anchors.shape == (3 * (64**2 + 32**2 + 16**2 + 8**2 + 4**2), 4)
    assert anchors.dtype == np.float32


def test_the_first_anchors_of_the_second_row_are_where_and_as_large_as_they_should_be() -> None:
    wide, square, high = np.flip(anchors_of(256)[64 * 3 : 64 * 3 + 3], axis=0)
    assert_allclose(square, [0, -4, 8, 4])
    # Twice as wide as high, with the same area.
    height, width = 8 / np.sqrt(2), 8 * np.sqrt(2)
    assert_allclose(wide, [4 - height / 2, -width / 2, 4 + height / 2, width / 2], rtol=1e-6)
    assert_allclose(high, [4 - width / 2, -height / 2, 4 + width / 2, height / 2], rtol=1e-6)


def test_all_anchors_of_a_level_have_its_area() -> None:
    areas = box_geometry.area(anchors_of(256)).numpy()
    counts = [3 * side**2 for side in (64, 32, 16, 8, 4)]
    expected = np.repeat(np.square(SIZES_PX), counts)
    assert_allclose(areas, expected, rtol=1e-5)


def test_the_share_of_a_box_in_a_mask_is_of_its_whole_area_also_beyond_the_image() -> None:
    mask = np.zeros((20, 30), bool)
    mask[:10] = True
    boxes = [[0, 0, 10, 10], [5, 5, 15, 15], [10, 0, 20, 30], [-10, 0, 10, 10], [3, 3, 3, 3], [9.5, 0, 10.5, 4]]
    shares = box_geometry.share_in(np.array(boxes, np.float32), box_geometry.sums_of(mask))
    assert_allclose(shares, [1, 0.5, 0, 0.5, 0, 1])
