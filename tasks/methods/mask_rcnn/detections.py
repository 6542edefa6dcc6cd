"""From detections, whose masks are small and in their boxes, to a label image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

MASK_FROM = 0.5
"""A pixel belongs to a nucleus from this value of its mask."""


def label_image_of(
    boxes: Sequence[NDArray[np.floating]], masks: Sequence[NDArray[np.float32]], shape: tuple[int, int]
) -> NDArray[np.int32]:
    """Label image (y, x) of detections, best first, by their number: boxes (4,), their masks (28, 28) in [0, 1].

    Where masks overlap, a pixel is the better one's. One that has no pixel left is left out, and so is its number.
    """
    label_image = np.zeros(shape, np.int32)
    for number, (box, mask) in enumerate(zip(boxes, masks, strict=True), start=1):
        (start_y, start_x), (end_y, end_x) = (np.rint(box[:2]).astype(int), np.rint(box[2:]).astype(int))
        if end_y <= start_y or end_x <= start_x:
            continue
        full = cv2.resize(mask, (int(end_x - start_x), int(end_y - start_y)), interpolation=cv2.INTER_LINEAR)
        seen = label_image[start_y:end_y, start_x:end_x]
        seen[(full >= MASK_FROM) & (seen == 0)] = number
    return label_image
