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


def distance_map(label_image: NDArray[np.integer]) -> NDArray[np.float32]:
    """Give the Euclidean distance of each pixel to the outside of its nucleus, divided by that nucleus's maximum.

    `label_image` is (y, x), 0 = background; the result is (y, x) float32 in [0, 1], 0 in the background.
    A nucleus that fills the whole image has no outside; it is 1 everywhere.
    """
    result = np.zeros(label_image.shape, np.float32)
    for label, box in enumerate(ndimage.find_objects(label_image), start=1):
        if box is None:
            continue
        box = _grown_by_one_px(box)
        mask = label_image[box] == label
        if mask.all():
            result[box] = 1
            continue
        distance = _distance_to_outside(mask)
        np.maximum(result[box], distance / distance.max(), out=result[box])
    return result


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


def _grown_by_one_px(box: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
