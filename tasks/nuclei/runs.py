"""Runs of pixels along the rows of label images: a few per cent of the pixels, and all that sums over nuclei need."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Runs(NamedTuple):
    """Stretches of a row with one label, one after the other; both arrays have one entry per run."""

    first: NDArray[np.intp]
    """The pixel that each begins with, as position in the flat image."""
    length_px: NDArray[np.intp]


def row_runs(*label_images: NDArray[Any]) -> Runs:
    """Take label images (y, x) of one shape apart where a row begins, or a label changes in any of them."""
    begins = np.ones(label_images[0].shape, np.bool_)
    np.not_equal(label_images[0][:, 1:], label_images[0][:, :-1], out=begins[:, 1:])
    for label_image in label_images[1:]:
        begins[:, 1:] |= label_image[:, 1:] != label_image[:, :-1]
    first = np.flatnonzero(begins)
    return Runs(first, np.diff(first, append=begins.size))
