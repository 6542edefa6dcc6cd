"""From the intensities of a camera to the 8 bits that networks see."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale a finite (y, x) image so that its minimum is 0 and its maximum 255; a constant image is all 0."""
    low, high = float(image.min()), float(image.max())
    if low == high:
        return np.zeros(image.shape, np.uint8)
    scaled = (image.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    grey: NDArray[np.uint8] = np.rint(scaled).clip(0, 255).astype(np.uint8)
    return grey
