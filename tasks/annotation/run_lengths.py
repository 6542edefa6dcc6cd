"""Masks as lengths of runs, as CVAT (along rows of the box) and COCO (down the columns of the image) keep them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.annotation.sheet import Nucleus, cropped
from tasks.nuclei.errors import InputError


def runs_of(pixels: NDArray[np.bool_]) -> list[int]:
    """Give the lengths of runs of a flat mask, background first, which may have the length 0."""
    changes = np.flatnonzero(np.diff(pixels, prepend=False, append=~pixels[-1:]))
    runs: list[int] = np.diff(changes, prepend=0).tolist()
    return runs


def mask_of(runs: Sequence[int], size: int) -> NDArray[np.bool_]:
    """Give the flat mask of runs; InputError if they don't cover it exactly."""
    lengths = np.asarray(runs, np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or int(lengths.sum()) != size:
        raise InputError(
            f"has a mask whose runs are {int(lengths.sum()):,} pixels long, not {size:,}; export it again."
        )
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)


def column_runs(nucleus: Nucleus, size: tuple[int, int]) -> list[int]:
    """Give the runs of COCO: down the columns of the whole image of a height and width."""
    height, width = size
    columns = np.zeros((nucleus.mask.shape[1], height), np.bool_)
    rows = nucleus.box[0]
    columns[:, rows] = nucleus.mask.T
    first, *others = runs_of(columns.ravel())
    before, after = nucleus.left * height, (width - nucleus.left - len(columns)) * height
    runs = [first + before, *others]
    if len(runs) % 2:
        runs[-1] += after
    elif after:
        runs.append(after)
    return runs


def nucleus_of_column_runs(runs: Sequence[int], size: tuple[int, int]) -> Nucleus | None:
    """Read the runs of COCO; None for an empty mask. Only the columns that it covers are filled."""
    height, width = size
    lengths = np.asarray(runs, np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or int(lengths.sum()) != height * width:
        raise InputError(
            f"has a mask whose runs are {int(lengths.sum()):,} pixels long, and its image has {height} x {width}; "
            "export it again."
        )
    ends = np.cumsum(lengths)
    covered = np.flatnonzero((np.arange(len(lengths)) % 2 == 1) & (lengths > 0))
    if not len(covered):
        return None
    first, last = int(ends[covered[0]] - lengths[covered[0]]) // height, int(ends[covered[-1]] - 1) // height
    columns = np.zeros((last - first + 1) * height, np.bool_)
    for run in covered.tolist():
        columns[ends[run] - lengths[run] - first * height : ends[run] - first * height] = True
    return cropped(columns.reshape(-1, height).T, 0, first, size)


def runs_in_text(text: str) -> list[int]:
    """Read the runs that COCO packs into text.

    Six bits a character, of which five are of the number and one says that it goes on; from the fourth run on, the
    number is the difference to that two before (rleFrString of cocoapi's maskApi.c). pycocotools reads it only into
    a mask of the whole image, which takes 5 ms for each nucleus of a field of 2158 x 2558 px.
    """
    codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    if not len(codes) or (codes < 0).any() or (codes > 63).any() or codes[-1] & 32:
        raise InputError("has a mask in characters that COCO doesn't use, or cut short; export it again.")
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    digits = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    if digits.max() > 6:
        raise InputError("has a mask with a number of over 35 bits; export it again.")
    numbers = np.add.reduceat((codes & 31) << (5 * digits), starts)
    is_negative = (codes[ends] & 16) > 0
    numbers[is_negative] -= np.int64(1) << (5 * (digits[ends] + 1))[is_negative]
    for parity in (1, 2):
        numbers[parity::2] = np.cumsum(numbers[parity::2])
    runs: list[int] = numbers.tolist()
    return runs
