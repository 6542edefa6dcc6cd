"""Labels are numbered 1..n once, when they are read: whatever numbers a file has, all that follows handles these."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError


class NumberedLabels(NamedTuple):
    """A label image with labels 1..n, in the order of the labels in the file."""

    label_image: NDArray[np.int32]
    """(y, x), 0 = background."""
    ids: NDArray[Any]
    """The labels in the file, ascending, (n,) integer: that of label k is `ids[k - 1]`."""

    @property
    def as_in_file(self) -> NDArray[Any]:
        """The (y, x) label image with the labels of the file."""
        return np.concatenate((np.zeros(1, self.ids.dtype), self.ids))[self.label_image]

    def mask_of(self, label_in_file: int) -> NDArray[np.bool_]:
        """Give the (y, x) mask of the nucleus that has this label in the file; empty if there is none."""
        return np.isin(self.label_image, np.flatnonzero(self.ids == label_in_file) + 1)


def number_labels(labels: NDArray[Any]) -> NumberedLabels:
    """Number the labels of a (y, x) image of any integer dtype, bool or whole numbers in floats; 0 is background.

    Raises InputError for negative labels and for floats that can't be labels. Sorting the runs of equal pixels instead
    of the pixels takes 0.05 s instead of 1 s for 5.5 million pixels.
    """
    _refuse_other_numbers(labels)
    pixels = labels.ravel()
    starts = np.flatnonzero(np.concatenate(([True], pixels[1:] != pixels[:-1])))
    ids, numbers = np.unique(pixels[starts], return_inverse=True)
    if ids[0] < 0:
        raise InputError(f"has the negative label {ids[0]}; allowed are 0 (background) and up.")
    first = 0 if ids[0] == 0 else 1
    numbered = np.repeat((numbers + first).astype(np.int32), np.diff(starts, append=pixels.size))
    whole = ids if ids.dtype.kind in "ui" else ids.astype(np.int64)
    return NumberedLabels(numbered.reshape(labels.shape), whole[1 - first :])


def _refuse_other_numbers(labels: NDArray[Any]) -> None:
    """Up to 2^24 a float32 holds every whole number; beyond, neighbouring labels may have become one."""
    kind = labels.dtype.kind
    if kind in "uib":
        return
    if kind != "f":
        raise InputError(f"labels are {labels.dtype}; allowed are integers, save it as uint16.")
    if not np.isfinite(labels).all() or (labels != np.rint(labels)).any():
        raise InputError(
            f"labels are {labels.dtype} and not whole numbers; allowed are integers, save it as uint16 "
            "(a map of probabilities or distances is not a label image)."
        )
    largest = 2 ** (np.finfo(labels.dtype).nmant + 1)
    if labels.max() > largest:
        raise InputError(
            f"has the label {labels.max():.0f} as {labels.dtype}, which is exact up to {largest:,} only; "
            "number the labels from 1 and save it as uint16."
        )
