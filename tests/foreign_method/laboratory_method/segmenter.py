"""Bright spots on whole fields."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from laboratory_method.classifier import Classifier
from laboratory_method.method import Settings
from tasks.methods.segmenter import Segmenter
from tasks.nuclei.segmentation import Nuclei, flooded, within_limits

MARKER_SHARE = 0.5
"""Pixels farther from the background than this share of a nucleus's radius mark a nucleus."""
DISTANCE_SMOOTHING_PX = 2


class Seen(NamedTuple):
    """What the classifier says of a field."""

    probability: NDArray[np.float32]
    """(y, x) in [0, 1]"""
    radius_px: float
    """Of a typical nucleus in the field."""


class BrightSpots(Segmenter):
    """A classifier and the settings."""

    settings: Settings

    def __init__(self, classifier: Classifier, settings: Settings) -> None:
        # Fields are magnified as the ROIs were, or each plate by the size of its nuclei.
        super().__init__(settings, classifier.view)
        self._classifier = classifier

    def look_at(self, image: NDArray[np.integer]) -> Seen:
        # The slow part, done once a field; `calibrate` tries all levels on what it gives.
        return Seen(self._classifier.probability(image, self.zoom), self._classifier.radius_px / self.zoom)

    @staticmethod
    def nuclei_in(seen: Seen, settings: Settings) -> Nuclei:
        foreground = ndimage.binary_fill_holes(seen.probability > settings.level)
        distance = ndimage.distance_transform_edt(foreground).astype(np.float32)
        distance = ndimage.gaussian_filter(distance, DISTANCE_SMOOTHING_PX)
        marked = (distance > MARKER_SHARE * seen.radius_px) & foreground
        label_image = flooded(marked, foreground, -distance)
        numbers = np.arange(1, label_image.max() + 1)
        # How sure the classifier is of a nucleus; a method that can't say it gives None.
        confidences = np.asarray(ndimage.mean(seen.probability, label_image, numbers))
        return within_limits(label_image, confidences, settings)
