"""Divides a field into patches of about 50 nuclei, each of which is corrected once.

As in the paper's export, a patch has an edge of sqrt(nuclei per patch / nuclei per pixel), patches are gone through row
by row, and a nucleus belongs to the first that holds a pixel of it; in others it is shown. Unlike there, rows and
columns of patches are equally wide, so that none is a strip at the border, and small nuclei aren't left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tasks.annotation.sheet import Patch, Sheet, sheet_name, sheet_of
from tasks.nuclei.runs import row_runs

NUCLEI_PER_PATCH = 50


def divide(
    field: str,
    label_image: NDArray[np.integer],
    unsure: Sequence[int] = (),
    nuclei_per_patch: int = NUCLEI_PER_PATCH,
) -> list[Sheet]:
    """Give the sheets of a field, (y, x) labels; the same for the same field. One without a patch if it is small."""
    whole = sheet_of(field, label_image, unsure)
    rows, columns = (
        _borders(size, _edge(whole, nuclei_per_patch)) for size in (label_image.shape[0], label_image.shape[1])
    )
    patches = [Patch(y0, x0, y1, x1) for y0, y1 in pairwise(rows) for x0, x1 in pairwise(columns)]
    if len(patches) == 1:
        return [whole]
    owners = _owners(label_image, rows, columns)
    return [_sheet(field, whole, label_image, patch, number, owners) for number, patch in enumerate(patches)]


def _edge(whole: Sheet, nuclei_per_patch: int) -> float:
    height, width = whole.size
    if not whole.nuclei:
        return math.inf
    return math.ceil(math.sqrt(nuclei_per_patch * height * width / len(whole.nuclei)))


def _borders(size: int, edge: float) -> list[int]:
    """Divide a length into equal parts, as near to the edge as may be."""
    parts = max(round(size / edge), 1)
    return [round(size * part / parts) for part in range(parts + 1)]


def _owners(label_image: NDArray[np.integer], rows: Sequence[int], columns: Sequence[int]) -> dict[int, int]:
    """Give the number of the first patch that holds a pixel of each label. A run begins in the first that holds it."""
    runs = row_runs(label_image)
    y, x = np.divmod(runs.first, label_image.shape[1])
    patch = (np.searchsorted(rows, y, side="right") - 1) * (len(columns) - 1)
    patch += np.searchsorted(columns, x, side="right") - 1
    labels, positions = np.unique(runs.labels(label_image), return_inverse=True)
    first = np.full(len(labels), np.iinfo(np.intp).max)
    np.minimum.at(first, positions, patch)
    return dict(zip(labels.tolist(), first.tolist(), strict=True))


def _sheet(
    field: str, whole: Sheet, label_image: NDArray[np.integer], patch: Patch, number: int, owners: dict[int, int]
) -> Sheet:
    inside = set(np.unique(label_image[patch.slices]).tolist())
    nuclei = [
        nucleus if owners[nucleus.sent_id] == number else replace(nucleus, kind="context")
        for nucleus in whole.nuclei
        if nucleus.sent_id is not None and nucleus.sent_id in inside
    ]
    return Sheet(sheet_name(field, patch), whole.height, whole.width, patch, tuple(nuclei))
