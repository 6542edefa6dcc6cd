"""Patches: parts of a field with about as many nuclei each as a person corrects at a time.

As in the paper (`supervisely_grid.py` of CBIIT/nci-hitif), the edge of a patch is ceil(sqrt(wanted nuclei / nuclei per
px²)), patches are counted row by row, and a nucleus belongs to the first patch that has any of its pixels. There, what
is left over at the right and at the bottom of a field are narrow patches; here, all patches of a field are of one size
but for a pixel, and as many as come closest to that edge.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.runs import row_runs

NUCLEI_PER_PATCH = 50
"""As in the paper."""


class Patch(NamedTuple):
    """A rectangle of a field, in px; `y1` and `x1` are the first row and column after it."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def of(self, image: NDArray[Any]) -> NDArray[Any]:
        """Give the part of an image (y, x, ...) that lies in the patch."""
        return image[self.slices]


def patch_grid(
    label_image_or_density: NDArray[np.integer] | float,
    height: int,
    width: int,
    nuclei_per_patch: int = NUCLEI_PER_PATCH,
) -> list[Patch]:
    """Divide a field of `height` x `width` px into patches, row by row, that leave out no pixel and share none.

    The density is in nuclei per px²; of a label image (y, x), it is counted. A field without nuclei is one patch.
    """
    if isinstance(label_image_or_density, np.ndarray):
        density = _nuclei(label_image_or_density) / (height * width)
    else:
        density = label_image_or_density
    edge = math.ceil(math.sqrt(nuclei_per_patch / density)) if density > 0 else max(height, width)
    rows, columns = _bounds(height, edge), _bounds(width, edge)
    return [Patch(y0, x0, y1, x1) for y0, y1 in pairwise(rows) for x0, x1 in pairwise(columns)]


def patch_of_nuclei(label_image: NDArray[np.integer], patches: list[Patch]) -> dict[int, int]:
    """Give for each label the first patch that has any of its pixels, as position in all of a field's `patches`."""
    runs = row_runs(label_image)
    labels = runs.labels(label_image)
    # Of the patches that a run touches, all of one row of them, that of its first pixel comes first.
    y, x = np.divmod(runs.first[labels > 0], label_image.shape[1])
    rows, columns = (np.array(sorted({patch[axis] for patch in patches})) for axis in (0, 1))
    position = (np.searchsorted(rows, y, "right") - 1) * len(columns) + np.searchsorted(columns, x, "right") - 1
    numbers, nucleus = np.unique(labels[labels > 0], return_inverse=True)
    first = np.full(len(numbers), len(patches))
    np.minimum.at(first, nucleus, position)
    return dict(zip(numbers.tolist(), first.tolist(), strict=True))


def _nuclei(label_image: NDArray[np.integer]) -> int:
    return int(np.count_nonzero(np.unique(label_image)))


def _bounds(length: int, edge: int) -> list[int]:
    parts = max(1, round(length / edge))
    return [length * part // parts for part in range(parts + 1)]
