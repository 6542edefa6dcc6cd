"""Resizing label images so that they stay on their image."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def labels_resized(label_image: NDArray[np.integer | np.bool_], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Enlarge or shrink a label image (y, x) to a shape; each pixel gets the label at its centre.

    INTER_NEAREST takes that at the corner, and lays labels half a pixel off their image (opencv/opencv#9096).
    """
    labels = label_image.astype(np.int32, copy=False)
    if labels.shape == shape:
        return labels
    return np.asarray(cv2.resize(labels, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT))
