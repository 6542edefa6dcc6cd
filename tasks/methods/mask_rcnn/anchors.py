"""Anchors: boxes of fixed sizes and shapes all over an image, from which proposals start."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

STRIDES_PX = (4, 8, 16, 32, 64)
"""Strides of the levels P2 to P6 of the pyramid."""
SIZES_PX = (8, 16, 32, 64, 128)
"""The paper's, one a level: side of a square anchor."""
RATIOS = (0.5, 1.0, 2.0)
"""Width by height; all anchors of a level have the same area."""


def anchors_of(side_px: int) -> NDArray[np.float32]:
    """Anchors (n, 4) of a square image as `boxes` has them: level after level, rows, columns, ratios.

    Their centers are at multiples of the stride, as for the pretrained weights.
    """
    return np.concatenate([_level(side_px, stride, size) for stride, size in zip(STRIDES_PX, SIZES_PX, strict=True)])


def _level(side_px: int, stride_px: int, size_px: int) -> NDArray[np.float32]:
    root = np.sqrt(RATIOS)
    size = size_px * np.stack([1 / root, root], axis=-1)
    steps = np.arange(0, side_px, stride_px)
    center = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1)[:, :, np.newaxis]
    return np.concatenate([center - size / 2, center + size / 2], axis=-1).reshape(-1, 4).astype(np.float32)
