"""Tests of tasks.nuclei.intensity."""

from __future__ import annotations

import numpy as np

from tasks.nuclei.intensity import to_uint8
from tests.plates import two_squares

IMAGE, LABEL_IMAGE = two_squares()


def test_scaling_to_8_bit_maps_the_minimum_to_0_and_the_maximum_to_255() -> None:
    scaled = to_uint8(np.array([[100, 200], [300, 610]], np.uint16))
    assert scaled.dtype == np.uint8
    assert scaled.tolist() == [[0, 50], [100, 255]]


def test_a_constant_image_scales_to_zero() -> None:
    assert to_uint8(np.full((2, 2), 7, np.uint16)).tolist() == [[0, 0], [0, 0]]


def test_scaling_covers_all_16_bit_intensities_in_order() -> None:
    scaled = to_uint8(np.arange(2**16, dtype=np.uint16).reshape(256, 256)).ravel()
    assert (scaled[0], scaled[-1]) == (0, 255)
    assert (np.diff(scaled.astype(int)) >= 0).all()
