"""Divides a field into sheets of about 50 nuclei, each of which is corrected once.

The patches are those of `tasks.nuclei.patch_grid`; a nucleus belongs to the first that holds a pixel of it, and is only
shown in others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tasks.annotation.sheet import Sheet, sheet_name, sheet_of
from tasks.nuclei.patch_grid import NUCLEI_PER_PATCH, Patch, patch_grid, patch_of_nuclei


def divide(
    field: str,
    label_image: NDArray[np.integer],
    unsure: Sequence[int] = (),
    nuclei_per_patch: int = NUCLEI_PER_PATCH,
) -> list[Sheet]:
    """Give the sheets of a field, (y, x) labels; the same for the same field. One without a patch if it is small."""
    whole = sheet_of(field, label_image, unsure)
    patches = patch_grid(label_image, *whole.size, nuclei_per_patch)
    if len(patches) == 1:
        return [whole]
    owners = patch_of_nuclei(label_image, patches)
    return [_sheet(field, whole, label_image, patch, number, owners) for number, patch in enumerate(patches)]


def _sheet(
    field: str, whole: Sheet, label_image: NDArray[np.integer], patch: Patch, number: int, owners: dict[int, int]
) -> Sheet:
    inside = set(np.unique(patch.of(label_image)).tolist())
    nuclei = [
        nucleus if owners[nucleus.sent_id] == number else replace(nucleus, kind="context")
        for nucleus in whole.nuclei
        if nucleus.sent_id is not None and nucleus.sent_id in inside
    ]
    return Sheet(sheet_name(field, patch), whole.height, whole.width, patch, tuple(nuclei))
