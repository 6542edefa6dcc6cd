"""The losses against values worked out by hand."""

import numpy as np
from numpy.testing import assert_allclose

from tasks.methods.mask_rcnn.losses import box_loss, class_loss, mask_loss


def test_the_class_loss_is_the_mean_over_what_counts() -> None:
    logits = np.array([[0, np.log(3)], [0, 0], [9, 0]], np.float32)  # nucleus with 3/4, 1/2, nearly 0
    loss = class_loss(logits, np.array([True, False, True]), np.array([True, True, False]))
    assert_allclose(loss, (np.log(4 / 3) + np.log(2)) / 2, rtol=1e-6)


def test_the_box_loss_is_squared_near_and_linear_far() -> None:
    deltas = np.array([[0.5, 0, 0, 0], [3, 0, 0, 0], [100, 0, 0, 0]], np.float32)
    loss = box_loss(deltas, np.zeros((3, 4), np.float32), np.array([True, True, False]))
    assert_allclose(loss, (0.125 / 4 + 2.5 / 4) / 2, rtol=1e-6)


def test_the_mask_loss_is_the_mean_over_pixels_of_what_counts() -> None:
    logits = np.array([[[0, np.log(3)]], [[5, 5]]], np.float32)
    loss = mask_loss(logits, np.array([[[1, 0]], [[0, 0]]], np.float32), np.array([True, False]))
    assert_allclose(loss, (np.log(2) + np.log(4)) / 2, rtol=1e-6)


def test_where_nothing_counts_all_losses_are_zero() -> None:
    nowhere = np.zeros(2, bool)
    assert class_loss(np.ones((2, 2), np.float32), nowhere, nowhere) == 0
    assert box_loss(np.ones((2, 4), np.float32), np.zeros((2, 4), np.float32), nowhere) == 0
    assert mask_loss(np.ones((2, 3, 3), np.float32), np.zeros((2, 3, 3), np.float32), nowhere) == 0
