"""Training targets of the paper's networks, computed from label images.

The edge of an image is no boundary of a nucleus: what lies beyond it isn't known. So the targets of
a crop look the same as the crop of the targets, up to the normalisation of nuclei that are cut.
"""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Target = Literal["distance_map", "blurred_border", "foreground"]
TARGETS: tuple[Target, ...] = ("distance_map", "blurred_border")
"""The paper's. The foreground, 1 in nuclei and 0 elsewhere, may be predicted besides."""
BORDER_SIGMA_PX = 1.0
LEAST_DEPTH_PX = 3.0
"""That of a square of 5 px, whose 25 px are about the least that is kept as a nucleus by default."""
LEAST_CUT_DEPTH = 1 / 2
"""Of the median depth. What an edge leaves of a nucleus has a marker, by the paper's threshold, from 0.3 of it on: a
tenth of the area of a round nucleus."""

LEAST_DIFFERENCE = 0.05
"""Of distances that are told from each other, as a share of the largest."""


def distance_map(label_image: NDArray[np.integer], unknown: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Give the Euclidean distance of each pixel to the outside of its nucleus, divided by that nucleus's maximum.

    `label_image` is (y, x), 0 = background; the result is (y, x) float32 in [0, 1], 0 in the background.
    A nucleus that fills the whole image has no outside; it is 1 everywhere. Background that is `unknown`, (y, x) too,
    is no outside either.

    Specks don't reach 1, which would teach a network to find nuclei in them: labels that are less than
    `LEAST_DEPTH_PX` deep, and what an edge leaves of a nucleus without its middle, if that is less than
    `LEAST_CUT_DEPTH` of the depth of the nuclei that have theirs.
    """
    result = np.zeros(label_image.shape, np.float32)
    distances: list[tuple[tuple[slice, ...], NDArray[np.float32], bool]] = []
    for label, box in enumerate(ndimage.find_objects(label_image), start=1):
        if box is None:
            continue
        box = _grown_by_one_px(box)
        mask = label_image[box] == label
        inside = mask if unknown is None else mask | (unknown[box] & (label_image[box] == 0))
        if inside.all():
            result[box][mask] = 1
            continue
        distance = np.where(mask, _distance_to_outside(inside), np.float32(0))
        distances.append((box, distance, _has_its_middle(distance, box, label_image.shape)))
    whole = [float(distance.max()) for _, distance, has_middle in distances if has_middle]
    least_cut = max(LEAST_DEPTH_PX, LEAST_CUT_DEPTH * float(np.median(whole)) if whole else 0)
    for box, distance, has_middle in distances:
        depth = max(float(distance.max()), LEAST_DEPTH_PX if has_middle else least_cut)
        np.maximum(result[box], distance / np.float32(depth), out=result[box])
    return result


def not_known(label_image: NDArray[np.integer], ignored: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Give the pixels (y, x) that are ignored, or whose distance depends on what is.

    These are where the distance map would be another one if ignored background were part of the nuclei that touch it:
    whether a nucleus ends at the edge of what is ignored, or was cut off there, can't be seen.
    """
    if ignored is None:
        return np.zeros(label_image.shape, np.bool_)
    differences = np.abs(distance_map(label_image) - distance_map(label_image, ignored))
    return np.asarray(ignored | (differences > LEAST_DIFFERENCE))


def inner_border(label_image: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Give the pixels of nuclei with a pixel outside of their nucleus above, below, left or right; (y, x)."""
    differs = np.zeros(label_image.shape, bool)
    rows = label_image[1:] != label_image[:-1]
    columns = label_image[:, 1:] != label_image[:, :-1]
    differs[1:] |= rows
    differs[:-1] |= rows
    differs[:, 1:] |= columns
    differs[:, :-1] |= columns
    return differs & (label_image > 0)


def blurred_border(label_image: NDArray[np.integer]) -> NDArray[np.float32]:
    """Give the inner border of every nucleus, one pixel wide, blurred by a Gaussian with sigma 1 px.

    `label_image` is (y, x), 0 = background; the result is (y, x) float32 in [0, 1].
    """
    border = inner_border(label_image).astype(np.float32)
    blurred: NDArray[np.float32] = cv2.GaussianBlur(border, (0, 0), BORDER_SIGMA_PX, borderType=cv2.BORDER_REFLECT)
    return blurred


def _distance_to_outside(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Give the exact Euclidean distance of the pixels of a mask to the nearest pixel outside, in px.

    OpenCV's is off by 1e-6, and by another 1e-6 at the next call. The square is a whole number.
    """
    distance: NDArray[np.float32] = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    exact: NDArray[np.float32] = np.sqrt(np.rint(distance * distance))
    return exact


def _has_its_middle(distance: NDArray[np.float32], box: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    """Say whether a nucleus is as deep inside of an image of this shape as at its edge; else its middle lies beyond."""
    inside = tuple(
        slice(int(side.start == 0), length - side.start - 1 if side.stop >= length else None)
        for side, length in zip(box, shape, strict=True)
    )
    return bool(distance[inside].max(initial=0) >= distance.max())


def _grown_by_one_px(box: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
