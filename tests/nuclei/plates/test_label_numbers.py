"""Tests of tasks.nuclei.plates.label_numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.image_files import decode_numbered
from tasks.nuclei.plates.label_numbers import number_labels
from tests.plates import two_squares

LABEL_IMAGE = two_squares()[1]
TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", TYPES)
def test_labels_of_every_type_are_numbered_from_1(kind: str, order: Any) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, (LABEL_IMAGE * 60).astype(np.dtype(kind)), byteorder=order)
    read = decode_numbered(file.getvalue(), Path("a.tif")).label_image
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, LABEL_IMAGE)


@pytest.mark.parametrize("first", [1, 2**16, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 2])
def test_labels_of_any_size_keep_their_order_and_their_numbers_are_known(first: int) -> None:
    labels = np.array([0, first, first + 1, 2**64 - 1], np.uint64)[LABEL_IMAGE]
    numbered = number_labels(labels)
    np.testing.assert_array_equal(numbered.label_image, LABEL_IMAGE)
    assert numbered.ids.tolist() == [first, first + 1]
    np.testing.assert_array_equal(numbered.mask_of(first + 1), LABEL_IMAGE == 2)
    assert not numbered.mask_of(3).any()


def test_multiples_of_2_to_the_32_are_not_background() -> None:
    np.testing.assert_array_equal(number_labels(LABEL_IMAGE.astype(np.uint64) << 32).label_image, LABEL_IMAGE)


def test_without_background_the_smallest_label_is_1() -> None:
    np.testing.assert_array_equal(number_labels(LABEL_IMAGE + 5).label_image, LABEL_IMAGE + 1)


def test_a_mask_of_true_and_false_is_one_label() -> None:
    np.testing.assert_array_equal(number_labels(LABEL_IMAGE > 0).label_image, LABEL_IMAGE > 0)


def test_an_image_without_nuclei_has_no_labels() -> None:
    numbered = number_labels(np.zeros((3, 4), np.uint8))
    assert (numbered.label_image.max(), len(numbered.ids)) == (0, 0)


NO_LABELS = {
    "negative": (LABEL_IMAGE.astype(np.int16) - 1, "has the negative label -1; allowed are 0"),
    "fractions": (LABEL_IMAGE / 2, "labels are float64 and not whole numbers; allowed are integers"),
    "not a number": (np.where(LABEL_IMAGE > 0, LABEL_IMAGE, np.nan), "labels are float64 and not whole numbers"),
    "infinite": (np.where(LABEL_IMAGE > 1, np.inf, 0), "labels are float64 and not whole numbers"),
    "rounded": (
        LABEL_IMAGE.astype(np.float32) * 2**24,
        "has the label 33554432 as float32, which is exact up to 16,777",
    ),
    "complex": (LABEL_IMAGE.astype(np.complex64), "labels are complex64; allowed are integers"),
}


@pytest.mark.parametrize(("labels", "message"), NO_LABELS.values(), ids=NO_LABELS)
def test_what_cannot_be_labels_is_refused(labels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        number_labels(labels)
