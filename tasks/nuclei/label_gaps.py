"""Counts what looks like nuclei and has no label, in fields that may be annotated only in part."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.label_fit import Sketch


def unlabelled_pieces(fields: Mapping[str, Sketch], typical_px: float, dark: bool) -> dict[str, int]:
    """Count, by field, the pieces without a label that are as bright as the labels and as large as half a nucleus.

    `typical_px` is the area of a nucleus in the whole field; with `dark`, nuclei are darker than their surroundings.
    Where a field has no label, the brightness is that of the other fields. Pieces in what is ignored don't count.
    """
    levels = {name: _level(small, dark) for name, small in fields.items()}
    known = [level for level in levels.values() if level is not None]
    if not known:
        return dict.fromkeys(fields, 0)
    typical = float(np.median(known))
    return {
        name: _unlabelled(small, typical if (level := levels[name]) is None else level, typical_px, dark)
        for name, small in fields.items()
    }


def _level(small: Sketch, dark: bool) -> float | None:
    """Give the brightness halfway between the labels and what is outside; None without labels."""
    image = _bright(small, dark)
    known = np.ones(image.shape, np.bool_) if small.known is None else small.known
    inside, outside = image[known & (small.inside > 200)], image[known & (small.inside < 50)]
    return (float(np.median(inside)) + float(np.median(outside))) / 2 if len(inside) and len(outside) else None


def _unlabelled(small: Sketch, level: float, typical_px: float, dark: bool) -> int:
    """Count the pieces that are brighter than `level`, as large as half a nucleus, and not labelled."""
    bright = (_bright(small, dark) > level).astype(np.uint8)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=4)
    accounted = small.inside / 255 if small.known is None else np.where(small.known, small.inside / 255, 1)
    labelled = np.bincount(pieces.ravel(), weights=accounted.ravel(), minlength=count)
    areas = stats[:, cv2.CC_STAT_AREA]
    least = max(typical_px / 2 * small.image.size / np.prod(small.full_shape), 4)
    return int(np.count_nonzero((areas >= least)[1:] & (labelled < 0.1 * areas)[1:]))


def _bright(small: Sketch, dark: bool) -> NDArray[np.uint16]:
    return np.iinfo(np.uint16).max - small.image if dark else small.image
