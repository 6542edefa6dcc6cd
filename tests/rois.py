"""Small ROI files for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.intensity import GreyLevels, Scaling
from tasks.nuclei.roi_file import ROI_TABLE, RoiBlock, RoiSource, RoiWriter, as_stored
from tasks.nuclei.targets import blurred_border, distance_map
from tasks.nuclei.view import View


def make_roi_file(
    path: Path,
    training: int = 12,
    validation: int = 4,
    roi_px: int = 64,
    scaling: Scaling = "percentile",
    ignored_columns: int = 0,
) -> Path:
    """Write ROIs of two bright squares each, at random places; the last ones are for validation.

    So many columns at the left are ignored.
    """
    amount = training + validation
    rng = np.random.default_rng(0)
    labels = np.zeros((amount, roi_px, roi_px), np.uint16)
    for label_image in labels:
        for number, column in enumerate((4, roi_px // 2 + 4), start=1):
            y, x = rng.integers(2, roi_px // 2), column + rng.integers(0, 4)
            label_image[y : y + 16, x : x + 16] = number
    image = np.where(labels > 0, 180, 20) + rng.integers(0, 20, labels.shape)
    grey: GreyLevels = image.astype(np.float32 if scaling == "percentile" else np.uint8)
    ignored = np.broadcast_to(np.arange(roi_px) < ignored_columns, labels.shape) if ignored_columns else None
    return _write(path, grey, labels, np.arange(amount) >= training, scaling, ignored)


def write_images(path: Path, images: GreyLevels, scaling: Scaling) -> Path:
    """Write images (n, y, x) as ROIs without a nucleus, the first half of them for training."""
    is_validation = np.arange(len(images)) >= len(images) // 2
    return _write(path, images, np.zeros(images.shape, np.uint16), is_validation, scaling)


def _write(
    path: Path,
    images: GreyLevels,
    labels: NDArray[np.uint16],
    is_validation: NDArray[np.bool_],
    scaling: Scaling,
    ignored: NDArray[np.bool_] | None = None,
) -> Path:
    amount, roi_px, _ = images.shape
    rows = np.zeros(amount, ROI_TABLE)
    rows["is_validation"] = is_validation
    distances, borders = (
        np.stack([np.rint(255 * target(x)) for x in labels]).astype(np.uint8)
        for target in (distance_map, blurred_border)
    )
    block = RoiBlock(as_stored(images), labels, distances, borders, rows, ignored)
    sources = [RoiSource("plate", "U2OS", "f", (0, 0, roi_px, roi_px), 1.0)]
    with RoiWriter(path, amount, roi_px, View(scaling=scaling), sources, ignored is not None) as writer:
        writer.write(0, block)
    return path
