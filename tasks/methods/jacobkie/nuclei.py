"""From the maps of a field to its nuclei, and from several zooms to one label image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tasks.methods.jacobkie.method import Settings
from tasks.methods.jacobkie.positions import DIRECTIONS, STEPS, position_maps
from tasks.nuclei.segmentation import Nuclei, flooded

SMOOTHING_PX = 1.0
LEAST_FALL = 0.1
"""Least fall of a smoothed position over two pixels at a seam. It rises within a nucleus and falls by 2 at its end."""
LEAST_FREE = 0.5
"""Share of a nucleus that no better one has, for it to stay."""


def nuclei_from_maps(maps: NDArray[np.float32], settings: Settings) -> NDArray[np.int32]:
    """Label image (y, x), with gaps, from maps (y, x, 9)."""
    in_nucleus, within_nucleus, within_run = maps[..., 0], maps[..., 1:5], maps[..., 5:]
    foreground = in_nucleus > settings.mask_threshold
    depth = 1 - np.abs(within_run).max(axis=-1)
    core = foreground & (depth > settings.core_depth) & ~seams(within_nucleus)
    return flooded(core, foreground, -depth)


def seams(within_nucleus: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where positions (y, x, 4) fall in their direction, from the pixel before to the one after."""
    found = np.zeros(within_nucleus.shape[:2], bool)
    for channel in range(len(DIRECTIONS)):
        position = cv2.GaussianBlur(np.ascontiguousarray(within_nucleus[..., channel]), (0, 0), SMOOTHING_PX)
        padded = np.pad(position, 1, mode="edge")
        found |= _moved(padded, STEPS[channel], -1) - _moved(padded, STEPS[channel], 1) > LEAST_FALL
    return found


def _moved(padded: NDArray[np.float32], step: tuple[int, int], sign: int) -> NDArray[np.float32]:
    """Give for every pixel what lies a step from it."""
    y, x = 1 + sign * step[0], 1 + sign * step[1]
    return padded[y : y + padded.shape[0] - 2, x : x + padded.shape[1] - 2]


def agreement(label_image: NDArray[np.int32], maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """How well the predicted positions agree with those in the outlines that were found, by label, at most 1.

    Times the mean likelihood to be in a nucleus. Of labels that aren't there, and of 0, it is 0.
    """
    inside = label_image > 0
    labels = label_image[inside]
    errors = np.abs(maps[inside][:, 1:] - position_maps(label_image)[inside]).mean(axis=-1)
    amount = int(label_image.max(initial=0)) + 1
    areas_px = np.maximum(np.bincount(labels, minlength=amount), 1)
    error, likelihood = (
        np.bincount(labels, weights=values, minlength=amount) / areas_px for values in (errors, maps[inside][:, 0])
    )
    return (1 - error) * likelihood


def best_of_zooms(label_images: Sequence[NDArray[np.int32]], scores: Sequence[NDArray[np.float64]]) -> Nuclei:
    """Give the nuclei of several zooms, from label images of one shape and scores by label, which are confidences.

    The best nucleus comes first; another one stays, without the pixels that are taken, if most of it is free.
    """
    found = [
        (float(of_zoom[label]), zoom, label, box)
        for zoom, (label_image, of_zoom) in enumerate(zip(label_images, scores, strict=True))
        for label, box in enumerate(ndimage.find_objects(label_image), start=1)
        if box is not None
    ]
    merged = np.zeros(label_images[0].shape, np.int32)
    kept: list[float] = []
    for score, zoom, label, box in sorted(found, key=lambda nucleus: (-nucleus[0], *nucleus[1:3])):
        mask = label_images[zoom][box] == label
        free = mask & (merged[box] == 0)
        if free.sum() > LEAST_FREE * mask.sum():
            kept.append(score)
            merged[box][free] = len(kept)
    # A score is negative where positions differ by more than 1 on average.
    return Nuclei(merged, np.clip(np.array(kept, np.float32), 0, 1))
