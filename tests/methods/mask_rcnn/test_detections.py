"""Label images from detections."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tasks.methods.mask_rcnn.detections import label_image_of

FULL = np.ones((28, 28), np.float32)


def test_a_full_mask_fills_its_box() -> None:
    label_image = label_image_of([np.array([2, 3, 10, 8], np.float32)], [FULL], (20, 20))
    expected = np.zeros((20, 20), np.int32)
    expected[2:10, 3:8] = 1
    assert_array_equal(label_image, expected)


def test_a_round_mask_is_round_at_any_size() -> None:
    y, x = np.mgrid[:28, :28] - 13.5
    disc = ((y**2 + x**2) < 14**2).astype(np.float32)
    label_image = label_image_of([np.array([10, 10, 110, 110], np.float32)], [disc], (120, 120))
    assert label_image.sum() == pytest.approx(np.pi * 50**2, rel=0.02)


def test_where_two_overlap_the_better_one_has_the_pixel() -> None:
    boxes = [np.array([0, 0, 10, 10], np.float32), np.array([0, 5, 10, 15], np.float32)]
    label_image = label_image_of(boxes, [FULL, FULL], (10, 20))
    assert label_image[0].tolist() == [1] * 10 + [2] * 5 + [0] * 5


def test_what_has_no_pixel_is_left_out_and_the_others_keep_their_numbers() -> None:
    boxes = [
        np.array(box, np.float32)
        for box in ([0, 0, 10, 10], [3, 3, 6, 6], [5, 5, 5, 9], [0, 12, 4, 14], [12, 0, 14, 9])
    ]
    masks = [FULL, FULL, FULL, 0 * FULL, FULL]
    assert np.unique(label_image_of(boxes, masks, (20, 20))).tolist() == [0, 1, 5]
