"""Runs of pixels along the rows of label images: a few per cent of the pixels, and all that sums over nuclei need."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)
Box = tuple[slice, slice]
"""Rows and columns."""


class Runs(NamedTuple):
    """Stretches of a row with one label, one after the other; both arrays have one entry per run."""

    first: NDArray[np.intp]
    """The pixel that each begins with, as position in the flat image."""
    length_px: NDArray[np.intp]
    shape: tuple[int, ...]
    """Of the images, (y, x)."""

    def labels(self, label_image: NDArray[Scalar]) -> NDArray[Scalar]:
        """Give the label of each run in one of the images (y, x)."""
        return label_image.ravel()[self.first]

    def filled(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """Give the image (y, x) in which the pixels of each run have its value."""
        return np.repeat(values, self.length_px).reshape(self.shape)

    def boxes(self, labels: NDArray[np.integer], wanted: NDArray[np.integer]) -> list[Box]:
        """Give the smallest box around each of the wanted labels, from the label of each run."""
        y, x = np.divmod(self.first, self.shape[1])
        ends = [(np.minimum, y), (np.maximum, y + 1), (np.minimum, x), (np.maximum, x + self.length_px)]
        sides = np.tile([[self.shape[0]], [0], [self.shape[1]], [0]], int(labels.max(initial=0)) + 1)
        for side, (least_or_most, of_runs) in zip(sides, ends, strict=True):
            least_or_most.at(side, labels, of_runs)
        return [(slice(top, bottom), slice(left, right)) for top, bottom, left, right in sides[:, wanted].T.tolist()]


def row_runs(*label_images: NDArray[Any]) -> Runs:
    """Take label images (y, x) of one shape apart where a row begins, or a label changes in any of them."""
    begins = np.ones(label_images[0].shape, np.bool_)
    np.not_equal(label_images[0][:, 1:], label_images[0][:, :-1], out=begins[:, 1:])
    for label_image in label_images[1:]:
        begins[:, 1:] |= label_image[:, 1:] != label_image[:, :-1]
    first = np.flatnonzero(begins)
    return Runs(first, np.diff(first, append=begins.size), begins.shape)
