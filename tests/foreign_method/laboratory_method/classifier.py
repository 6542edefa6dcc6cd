"""The classifier of pixels, and how it is kept: a folder with `network.json` and `weights.npy`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from laboratory_method.method import METHOD
from tasks.nuclei.errors import InputError
from tasks.nuclei.intensity import GreyLevels, grey_levels
from tasks.nuclei.segmentation import magnified
from tasks.nuclei.view import View

SMOOTHINGS_PX = (1, 2, 4, 8, 16)
FEATURES = len(SMOOTHINGS_PX) + 1
"""The smoothed images and a constant."""


@dataclass
class Classifier:
    """A logistic regression on the features of a pixel."""

    weights: NDArray[np.float64]
    """(features,)"""
    radius_px: float
    """Of a typical nucleus, as the classifier sees it."""
    view: View
    """How the classifier sees fields: as it saw the ROIs that it was trained on."""

    def probability(self, image: NDArray[np.integer], zoom: float) -> NDArray[np.float32]:
        """Give for every pixel of a field (y, x) how probably it is part of a nucleus, (y, x) in [0, 1].

        The classifier sees the field magnified by `zoom`.
        """
        grey = grey_levels(image, self.view.scaling)
        seen = logistic(features(magnified(grey, zoom)) @ self.weights).astype(np.float32)
        if zoom == 1:
            return seen
        back: NDArray[np.float32] = cv2.resize(seen, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return back

    def save(self, folder: Path) -> None:
        # The pipeline reads "method"; the rest is for `load_classifier`.
        content = {"method": METHOD.name, "radius_px": self.radius_px, "view": asdict(self.view)}
        (folder / "network.json").write_text(json.dumps(content, indent=1))
        np.save(folder / "weights.npy", self.weights)


def load_classifier(folder: Path) -> Classifier:
    """Load a folder that `save` wrote."""
    content = json.loads((folder / "network.json").read_text())
    weights = np.load(folder / "weights.npy")
    if weights.shape != (FEATURES,):
        raise InputError(f"{folder} has weights of the shape {weights.shape}, not {(FEATURES,)}; train it again.")
    return Classifier(weights, content["radius_px"], View(**content["view"]))


def features(grey: GreyLevels) -> NDArray[np.float32]:
    """Give the features of every pixel of an image (y, x), (y, x, features)."""
    bright = np.sqrt(grey.astype(np.float32) / 255)
    smoothed = [ndimage.gaussian_filter(bright, smoothing) for smoothing in SMOOTHINGS_PX]
    return np.stack([*smoothed, np.ones_like(bright)], axis=-1)


def logistic(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(1 / (1 + np.exp(-x)))
