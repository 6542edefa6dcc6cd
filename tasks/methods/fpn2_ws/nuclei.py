"""From a field to its distance map and blurred border, and from these to its nuclei."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.methods.fpn2_ws.method import Settings
from tasks.nuclei.intensity import GreyLevels, Scaling, grey_levels
from tasks.nuclei.segmentation import Predict, flooded, magnified, predict_tiled, within_size_limits

# Along the outline the normalised distance is low, and the lower the larger the nucleus: 0.02 for a radius of
# 50 px. The border adds 0.1 there at any size. It also adds something outside, so that with a threshold of 0.05
# perfect maps make a nucleus a pixel too wide.
BORDER_SHARE = 0.25


def predict_maps(
    image: NDArray[np.integer], predict: Predict, settings: Settings, scaling: Scaling, zoom: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distance map and blurred border of a field; `image` and both results are (y, x).

    The networks see the field in grey levels by `scaling`, magnified by `zoom`.
    """
    grey = grey_levels(image, scaling)
    if settings.test_time_augmentation:
        predict = averaged_over_turns(predict)
    maps = predict_tiled(magnified(grey, zoom), predict, settings)
    parts = (maps[..., 0], maps[..., 1])
    if zoom == 1:
        return parts
    back = cv2.INTER_AREA if zoom > 1 else cv2.INTER_LINEAR
    distance_map, blurred_border = (cv2.resize(part, grey.shape[::-1], interpolation=back) for part in parts)
    return distance_map, blurred_border


def averaged_over_turns(predict: Predict) -> Predict:
    """Give the mean of what `predict` says of an image, its two flips and three rotations, each turned back."""

    def predict_turned(images: GreyLevels) -> NDArray[np.float32]:
        total = predict(images)
        for axis in (1, 2):
            total = total + np.flip(predict(np.flip(images, axis)), axis)
        for turns in (1, 2, 3):
            total = total + np.rot90(predict(np.rot90(images, turns, (1, 2))), -turns, (1, 2))
        return np.asarray(total / 6, np.float32)

    return predict_turned


def instances_from_maps(
    distance_map: NDArray[np.float32], blurred_border: NDArray[np.float32], settings: Settings
) -> NDArray[np.int32]:
    """Label image (y, x), 1..n: the paper's seeded watershed on the blurred border."""
    foreground = distance_map + BORDER_SHARE * blurred_border > settings.foreground_threshold
    marked = (distance_map > settings.marker_threshold) & foreground
    return within_size_limits(flooded(marked, foreground, blurred_border), settings)
