"""Which fields are kept back from training: decided by their pixels, so that it stays when other fields arrive.

A model that is trained on is judged on fields that its first weights haven't seen either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Region = tuple[int, int, int, int]
"""y0, x0, y1, x1 in px."""


def lot_of(copies_sha256: Iterable[str]) -> float:
    """Draw a number from 0 to 1 for an image by the hashes (hexadecimal) of its pixels and of those of its copies.

    It is the highest of theirs, so that a copy that arrives later can lead out of validation only.
    """
    return int(max(copies_sha256)[:13], 16) / 16**13


class ValidationSplit:
    """Keeps back a share of the fields of one group after the other."""

    def __init__(self, share: float) -> None:
        self.share = share
        self._kept_back: dict[float, bool | None] = {}
        """By lot; None for an image that is cut into two parts."""

    def may_cut(self, lot: float) -> bool:
        """Whether an image may be cut into a part for training and one for validation: if no group before has it."""
        return lot not in self._kept_back

    def cut(self, lot: float) -> None:
        """Remember that an image is cut, so that no group after has it. Raises ValueError if one before has it."""
        if not self.may_cut(lot):
            raise ValueError(
                f"The image of lot {lot} is in a group before, so that it can't be cut; ask may_cut first."
            )
        self._kept_back[lot] = None

    def of_group(self, lots: Sequence[float]) -> list[bool] | None:
        """Decide for each field of a group whether it is kept back, and remember it for the groups after.

        Gives None if copies in groups before leave no two parts. Kept back are those whose lot is below the
        share: at least the lowest, and no more than half of the group. Fields of one lot are copies and stay together,
        in all groups.
        """
        chosen = sum(self._kept_back.get(lot) is True for lot in lots)
        for lot in sorted(set(lots) - set(self._kept_back)):
            after = chosen + lots.count(lot)
            wanted = chosen == 0 or (lot < self.share and after <= len(lots) / 2)
            self._kept_back[lot] = wanted and after < len(lots)
            chosen = after if self._kept_back[lot] else chosen
        if chosen in (0, len(lots)) or any(self._kept_back[lot] is None for lot in lots):
            return None
        return [self._kept_back[lot] is True for lot in lots]


def regions_by_share(shape: tuple[int, int], share: float, ignored: NDArray[np.bool_] | None = None) -> list[Region]:
    """Cut a (y, x) field across its longer side into one region for training and one for validation, of this share.

    Where pixels are `ignored`, it is the share of the others, and both regions have some if they lie in several rows,
    or columns.
    """
    height, width = shape
    along = 0 if height > width else 1
    cut = round(shape[along] * (1 - share))
    if ignored is not None:
        annotated_px = np.count_nonzero(~ignored, axis=1 - along)
        known, summed = np.flatnonzero(annotated_px), np.cumsum(annotated_px)
        cut = int(np.searchsorted(summed, (1 - share) * summed[-1])) + 1
        cut = min(cut, max(int(known[-1]), 1))
    if along == 0:
        return [(0, 0, cut, width), (cut, 0, height, width)]
    return [(0, 0, height, cut), (0, cut, height, width)]
