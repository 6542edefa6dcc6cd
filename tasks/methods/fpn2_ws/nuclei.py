"""From a field to its distance map and blurred border, and from these to its nuclei."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.methods.fpn2_ws.method import Settings
from tasks.nuclei.intensity import GreyLevels, Scaling, grey_levels
from tasks.nuclei.segmentation import Nuclei, Predict, flooded, magnified, predict_tiled, within_limits
from tasks.nuclei.targets import inner_border

# Along the outline the normalised distance is low, and the lower the larger the nucleus: 0.02 for a radius of
# 50 px. The border adds 0.1 there at any size. It also adds something outside, so that with a threshold of 0.05
# perfect maps make a nucleus a pixel too wide.
BORDER_SHARE = 0.25


class Maps(NamedTuple):
    """What the networks say of a field, (y, x) each, in [0, 1]."""

    distance_map: NDArray[np.float32]
    blurred_border: NDArray[np.float32]
    foreground: NDArray[np.float32] | None = None
    """None from networks that don't predict it."""


def predict_maps(
    image: NDArray[np.integer],
    predict: Predict,
    settings: Settings,
    scaling: Scaling,
    zoom: float = 1.0,
    channels: int = 2,
    least_span: float = 0.0,
) -> Maps:
    """Maps of a field (y, x); `predict` gives so many `channels` of them, in the order of `Maps`.

    The networks see the field in grey levels by `scaling` and `least_span`, magnified by `zoom`.
    """
    grey = grey_levels(image, scaling, least_span)
    if settings.test_time_augmentation:
        predict = averaged_over_turns(predict)
    maps = predict_tiled(magnified(grey, zoom), predict, settings, channels)
    parts = [maps[..., channel] for channel in range(channels)]
    if zoom == 1:
        return Maps(*parts)
    back = cv2.INTER_AREA if zoom > 1 else cv2.INTER_LINEAR
    return Maps(*(cv2.resize(part, grey.shape[::-1], interpolation=back) for part in parts))


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


def nuclei_from_maps(maps: Maps, settings: Settings) -> Nuclei:
    """Give the nuclei of the paper's seeded watershed on the blurred border."""
    foreground = _foreground(maps, settings)
    marked = (maps.distance_map > settings.marker_threshold) & foreground
    label_image = flooded(marked, foreground, maps.blurred_border)
    return within_limits(label_image, fit_of_nuclei(label_image, maps.distance_map), settings)


def _foreground(maps: Maps, settings: Settings) -> NDArray[np.bool_]:
    if maps.foreground is not None:
        return np.asarray(maps.foreground > settings.mask_threshold)
    return np.asarray(maps.distance_map + BORDER_SHARE * maps.blurred_border > settings.foreground_threshold)


def fit_of_nuclei(label_image: NDArray[np.int32], distance_map: NDArray[np.float32]) -> NDArray[np.float64]:
    """How well a predicted distance map (y, x) is that of the nuclei that were found, of labels 1..m, in [0, 1].

    1 less the sum of the differences to the map of these outlines, as a share of the sum of that.
    """
    inside = label_image > 0
    labels = label_image[inside]
    own = _own_distances(label_image, inside, labels)
    errors, total = (np.bincount(labels, weights) for weights in (np.abs(distance_map[inside] - own), own))
    return np.clip(1 - errors[1:] / np.maximum(total[1:], 1), 0, 1)


def _own_distances(
    label_image: NDArray[np.int32], inside: NDArray[np.bool_], labels: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Distance of each pixel of a nucleus to its outline, divided by the nucleus's maximum."""
    core = inside & ~inner_border(label_image)
    distance = 1 + cv2.distanceTransform(core.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)[inside]
    largest = np.zeros(int(labels.max(initial=0)) + 1, np.float32)
    np.maximum.at(largest, labels, distance)
    return np.asarray(distance / largest[labels])
