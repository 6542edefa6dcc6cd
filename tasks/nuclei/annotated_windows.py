"""Where training ROIs are cut from a field that is annotated in part: windows in which something is annotated."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST_SHARE = 0.25
"""Of the pixels of a window that are annotated; where no window has as many, half of what the best one has."""
STEPS_OF_A_SIDE = 8
"""Windows are compared at places that are an eighth of their side apart, of which the first is drawn."""


class AnnotatedWindows:
    """Draws windows of a field of which (y, x) pixels are `ignored`."""

    def __init__(self, ignored: NDArray[np.bool_]) -> None:
        self.ignored = ignored
        self._sums: NDArray[np.int32] = cv2.integral((~ignored).astype(np.uint8))

    def draw(self, side_px: int, shown_px: int, rng: np.random.Generator) -> tuple[int, int]:
        """Draw the upper left corner of a square of which the middle part, a square too, is shown.

        Every window in whose middle enough is annotated is as likely as another. The middle lies in the field, unless
        the field is smaller: then they have one middle.
        """
        margin_px = (side_px - shown_px) // 2
        starts = [_starts(length, shown_px, rng) for length in self.ignored.shape]
        annotated_px = self._annotated_px(starts[0], starts[1], shown_px)
        enough = annotated_px >= min(LEAST_SHARE * shown_px**2, annotated_px.max() / 2)
        row, column = np.divmod(rng.choice(np.flatnonzero(enough)), len(starts[1]))
        return int(starts[0][row]) - margin_px, int(starts[1][column]) - margin_px

    def _annotated_px(self, y: NDArray[np.integer], x: NDArray[np.integer], side_px: int) -> NDArray[np.integer]:
        """Count the annotated pixels of squares at all places (y, x)."""
        height, width = self.ignored.shape
        top, bottom = (np.clip(rows, 0, height)[:, np.newaxis] for rows in (y, y + side_px))
        left, right = (np.clip(columns, 0, width) for columns in (x, x + side_px))
        sums = self._sums
        counts: NDArray[np.int32] = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return counts


def _starts(length: int, side_px: int, rng: np.random.Generator) -> NDArray[np.integer]:
    """Give where windows may begin along an axis, the first and the last possible place among them."""
    room = length - side_px
    if room <= 0:
        return np.array([-((side_px - length) // 2)])
    step = max(side_px // STEPS_OF_A_SIDE, 1)
    return np.unique(np.concatenate(([0, room], np.arange(rng.integers(step), room, step))))
