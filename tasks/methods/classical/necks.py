"""A foreground parted into nuclei at its necks, by a watershed whose start points are joined where no neck is."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.segmentation import flooded

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]

SMOOTHING, LEAST_SMOOTHING_PX = 0.04, 0.5
"""Sigma of the Gaussian that takes the roughness of outlines out of the heights, in diameters of a nucleus."""


class Passes(NamedTuple):
    """Two and two hills that touch, one entry per pair."""

    hills: NDArray[np.int32]
    """(n, 2), numbers of the hills."""
    height: Floats
    """(n,), of the highest place between the two."""


def parted(found: NDArray[np.bool_], light: Floats, neck: float, diameter_px: float) -> Labels:
    """Part a foreground (y, x) with its brightness where it is narrow or dark; gives a label image, with gaps.

    The height of a pixel is its distance to the background times its brightness. Each hill is flooded by itself, and
    two are joined where the pass between them is at least `neck` of the lower one's top.
    """
    padded = np.pad(found, 1).view(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    rough = distance * np.maximum(light, 0)
    height = cv2.GaussianBlur(rough, (0, 0), max(SMOOTHING * diameter_px, LEAST_SMOOTHING_PX)) * found
    tops = found & (height == cv2.dilate(height, np.ones((3, 3), np.uint8)))
    return joined(flooded(tops, found, -height), height, neck)


def joined(hills: Labels, height: Floats, neck: float) -> Labels:
    """Join hills (labels 1..n) whose pass is at least `neck` of the lower one's top, the highest pass first."""
    tops = np.zeros(int(hills.max(initial=0)) + 1, np.float32)
    np.maximum.at(tops, hills.ravel(), height.ravel())
    into = list(range(len(tops)))

    def last(hill: int) -> int:
        while into[hill] != hill:
            into[hill] = into[into[hill]]
            hill = into[hill]
        return hill

    passes = passes_between(hills, height)
    for (one, other), of_pass in zip(passes.hills.tolist(), passes.height.tolist(), strict=True):
        lower, higher = sorted((last(one), last(other)), key=lambda hill: float(tops[hill]))
        if of_pass >= neck * tops[lower]:
            into[lower] = higher
    return np.array([last(hill) for hill in range(len(tops))], np.int32)[hills]


def passes_between(hills: Labels, height: Floats) -> Passes:
    """Give the passes between hills of a label image (y, x), the highest first."""
    pairs, heights = [], []
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        here, there = hills[one], hills[other]
        touch = (here != there) & (here > 0) & (there > 0)
        pairs.append(np.sort(np.stack([here[touch], there[touch]], axis=1), axis=1))
        heights.append(np.minimum(height[one][touch], height[other][touch]))
    found, number = np.unique(np.concatenate(pairs), axis=0, return_inverse=True)
    highest = np.zeros(len(found), np.float32)
    np.maximum.at(highest, number.ravel(), np.concatenate(heights))
    order = np.argsort(-highest, kind="stable")
    return Passes(found[order], highest[order])
