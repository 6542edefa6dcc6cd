"""Pixels of which nobody said what they are: nuclei that nobody could tell, and parts of a field not looked at.

A nucleus counts if at most half of its pixels are ignored, as a predicted segment does in panoptic quality (Kirillov et
al., CVPR 2019, section 4.1, "Void labels"). One that reaches into ignored pixels, or ends at them, is cut: what lies
beyond isn't known, as at the edge of an image.
"""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Labels = TypeVar("Labels", bound=np.integer)

MOST_IGNORED_SHARE = 1 / 2
"""Of a nucleus that counts."""
MARGIN_PX = 3
"""So near to ignored pixels, interpolation and the blur of borders (sigma 1 px) bring what isn't known."""


def counted(label_image: NDArray[np.integer], ignored: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say of the labels 0..n of a (y, x) label image whether their nuclei count, (n + 1,); 0 doesn't."""
    areas_px = np.bincount(label_image.ravel())
    ignored_px = np.bincount(label_image[ignored], minlength=len(areas_px))
    counts: NDArray[np.bool_] = (areas_px > 0) & (ignored_px <= MOST_IGNORED_SHARE * areas_px)
    counts[0] = False
    return counts


def counted_nuclei(label_image: NDArray[Labels], ignored: NDArray[np.bool_] | None) -> NDArray[Labels]:
    """Give the (y, x) label image without the nuclei that don't count; numbers stay."""
    if ignored is None:
        return label_image
    return np.where(counted(label_image, ignored)[label_image], label_image, label_image.dtype.type(0))


def cut_nuclei(label_image: NDArray[np.integer], ignored: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say of the labels 0..n of a (y, x) label image whether ignored pixels cut their nuclei, (n + 1,); 0 isn't cut.

    A nucleus is cut if one of its pixels has an ignored one above, below, left or right that isn't its own.
    """
    cut = np.zeros(int(label_image.max(initial=0)) + 1, np.bool_)
    for here, there in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[:-1], np.s_[1:]),
        (np.s_[1:], np.s_[:-1]),
    ):
        cut[label_image[here][ignored[there] & (label_image[here] != label_image[there])]] = True
    cut[0] = False
    return cut


def uncertain_nuclei(label_image: NDArray[np.integer], ignored: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say of the labels 0..n of a (y, x) label image of which nuclei size and middle aren't known, (n + 1,)."""
    uncertain = cut_nuclei(label_image, ignored) | ~counted(label_image, ignored)
    uncertain[0] = False
    return uncertain


def with_margin(ignored: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Give the pixels of a (y, x) ROI whose values or targets depend on ignored ones."""
    side_px = 2 * MARGIN_PX + 1
    return np.asarray(cv2.dilate(ignored.astype(np.uint8), np.ones((side_px, side_px), np.uint8)), np.bool_)
