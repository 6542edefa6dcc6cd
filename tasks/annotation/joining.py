"""A field of which more came back, joined with what the plate has of it: what was annotated before isn't lost.

Where both were looked at, what came back now counts. A nucleus is taken from where most of it was looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.plates.image_files import NOT_LOOKED_AT, UNSURE
from tasks.nuclei.plates.label_numbers import number_labels


@dataclass(frozen=True, eq=False)
class FieldLabels:
    """The labels of a field, both (y, x)."""

    label_image: NDArray[np.integer]
    kinds: NDArray[np.uint8]
    """As in ignored/: annotated, not looked at, unsure."""

    @property
    def is_seen(self) -> NDArray[np.bool_]:
        return np.asarray(self.kinds != NOT_LOOKED_AT)


@dataclass(frozen=True, eq=False)
class Joined:
    """Labels of before keep their numbers; of those that came now, some have new ones."""

    labels: FieldLabels
    kept: frozenset[int]
    """Labels of before that are still there as they were annotated."""
    numbers: Mapping[int, int]
    """The label that each one that was annotated now has, by the one that it came with."""


def joined(before: FieldLabels, now: FieldLabels) -> Joined:
    """Join what a plate has of a field with what came back of it."""
    old, new = _mostly(before.label_image, now.is_seen), _mostly(now.label_image, now.is_seen)
    old_annotated = _mostly(before.label_image, before.is_seen)
    kept = sorted(number for number in old if not old[number] and old_annotated[number])
    annotated = [number for number in new if new[number]]
    in_annotated = _mostly(now.label_image, before.is_seen)
    proposed = [number for number in new if not new[number] and not in_annotated[number]]
    numbers = _numbers(annotated + proposed, kept)
    label_image = np.zeros(before.label_image.shape, np.int32)
    unseen = ~before.is_seen & ~now.is_seen
    for source, chosen, where in (
        (now.label_image, {number: numbers[number] for number in proposed}, unseen),
        (before.label_image, {number: number for number in kept}, True),
        (now.label_image, {number: numbers[number] for number in annotated}, True),
    ):
        painted = _painted(source, chosen)
        np.copyto(label_image, painted, where=(painted > 0) & where)
    kinds = _kinds(before, now, label_image, kept)
    return Joined(FieldLabels(label_image, kinds), frozenset(kept), {number: numbers[number] for number in annotated})


def _mostly(label_image: NDArray[np.integer], where: NDArray[np.bool_]) -> dict[int, bool]:
    """Say of each label whether half of its pixels or more are there."""
    numbered = number_labels(label_image)
    area, there = (
        np.bincount(pixels, minlength=len(numbered.ids) + 1)
        for pixels in (numbered.label_image.ravel(), numbered.label_image[where])
    )
    return dict(zip(numbered.ids.tolist(), (2 * there >= area)[1:].tolist(), strict=True))


def _numbers(labels: list[int], taken: list[int]) -> dict[int, int]:
    """Give each label its own number, or where that is taken, one that none has."""
    following = max([*labels, *taken], default=0) + 1
    numbers, used = {}, set(taken)
    for label in labels:
        if label in used:
            numbers[label], following = following, following + 1
        else:
            numbers[label] = label
    return numbers


def _painted(label_image: NDArray[np.integer], numbers: Mapping[int, int]) -> NDArray[np.int32]:
    """Give a label image of these labels alone, with other numbers."""
    numbered = number_labels(label_image)
    values = np.array([0, *(numbers.get(number, 0) for number in numbered.ids.tolist())], np.int32)
    return values[numbered.label_image]


def _kinds(before: FieldLabels, now: FieldLabels, label_image: NDArray[np.int32], kept: list[int]) -> NDArray[np.uint8]:
    kinds = np.where(now.is_seen, now.kinds, before.kinds)
    is_kept = (_painted(label_image, dict.fromkeys(kept, 1)) > 0) & (label_image == before.label_image)
    # A nucleus of which nobody could say is so where it reaches into what was looked at now, too.
    unsure = np.unique(before.label_image[(before.kinds == UNSURE) & is_kept])
    kinds[is_kept & (_painted(before.label_image, dict.fromkeys(unsure.tolist(), 1)) > 0)] = UNSURE
    # Of a nucleus that counts no longer, the rest was looked at as a part of it.
    of_others = (before.label_image > 0) & (_painted(before.label_image, dict.fromkeys(kept, 1)) == 0)
    kinds[of_others & ~now.is_seen & (label_image == 0)] = NOT_LOOKED_AT
    return kinds
