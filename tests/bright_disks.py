"""Fields of bright disks, and a segmenter that finds them by a threshold where they look as large as it knows them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from tasks.methods.segmenter import Segmenter
from tasks.nuclei.resizing import labels_resized
from tasks.nuclei.segmentation import Nuclei, SegmentationSettings, within_limits
from tasks.nuclei.view import View

NUCLEUS_PX = 28.0
KNOWN = (0.4, 2.5)
"""It finds disks whose diameter is so many times `NUCLEUS_PX`, as it sees them."""


def field_of_disks(diameter_px: float, side_px: int = 400, random_seed: int = 0) -> NDArray[np.uint16]:
    """Give a field (y, x) of disks on a grid, with noise that differs between fields."""
    noise = np.random.default_rng(random_seed).integers(0, 50, (side_px, side_px))
    step = 2 * diameter_px
    places = (np.mgrid[:side_px, :side_px] % step) - step / 2
    inside = np.hypot(*places) <= diameter_px / 2
    return np.asarray(np.where(inside, 1000, 100) + noise, np.uint16)


class BrightDisks(Segmenter):
    """Looks at fields in the resolution of its zoom, as networks do."""

    def __init__(self, settings: SegmentationSettings, nucleus_px: float | None = NUCLEUS_PX, zoom: float = 1.0):
        super().__init__(settings, View(scaling="percentile", zoom=zoom, nucleus_px=nucleus_px))
        self.looked_at: list[tuple[float, tuple[int, ...]]] = []
        """Zooms, and shapes of images as they were seen."""

    def look_at(self, image: NDArray[np.integer]) -> Any:
        seen = cv2.resize(image.astype(np.float32), None, fx=self.zoom, fy=self.zoom, interpolation=cv2.INTER_AREA)
        self.looked_at.append((self.zoom, seen.shape))
        found = label(seen > 500, connectivity=1).astype(np.int32)
        diameters = np.sqrt(4 * np.bincount(found.ravel()) / np.pi) / NUCLEUS_PX
        known = (diameters > KNOWN[0]) & (diameters < KNOWN[1])
        known[0] = False
        seen_labels = np.where(known[found], found, 0).astype(np.uint16)
        return labels_resized(seen_labels, image.shape)

    @staticmethod
    def nuclei_in(seen: Any, settings: SegmentationSettings) -> Nuclei:
        return within_limits(seen, None, settings)
