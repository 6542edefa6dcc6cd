"""Small ROI files for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.nuclei.intensity import Scaling
from tasks.nuclei.roi_file import ROI_TABLE, RoiBlock, RoiSource, RoiWriter
from tasks.nuclei.targets import blurred_border, distance_map


def make_roi_file(
    path: Path, training: int = 12, validation: int = 4, roi_px: int = 64, scaling: Scaling = "robust"
) -> Path:
    """Write ROIs of two bright squares each, at random places; the last ones are for validation."""
    amount = training + validation
    rng = np.random.default_rng(0)
    labels = np.zeros((amount, roi_px, roi_px), np.uint16)
    for label_image in labels:
        for number, column in enumerate((4, roi_px // 2 + 4), start=1):
            y, x = rng.integers(2, roi_px // 2), column + rng.integers(0, 4)
            label_image[y : y + 16, x : x + 16] = number
    image = np.where(labels > 0, 180, 20) + rng.integers(0, 20, labels.shape)
    rows = np.zeros(amount, ROI_TABLE)
    rows["is_validation"] = np.arange(amount) >= training
    distances, borders = (
        np.stack([np.rint(255 * target(x)) for x in labels]).astype(np.uint8)
        for target in (distance_map, blurred_border)
    )
    block = RoiBlock(image.astype(np.uint8), labels, distances, borders, rows)
    with RoiWriter(
        path, amount, roi_px, 1.0, scaling, [RoiSource("plate", "U2OS", "f", (0, 0, roi_px, roi_px))]
    ) as writer:
        writer.write(0, block)
    return path
