"""A patch that a person shall look at: as it is, and with the outlines of its nuclei."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from tasks.nuclei.figures.plate_overview import DOUBTFUL_COLOUR, OUTLINE_COLOUR
from tasks.nuclei.patch_grid import Patch

LEAST_SIDE_PX = 400
"""Smaller patches are enlarged."""
_GAP_PX = 6


def patch_picture(
    grey: NDArray[np.uint8], label_images: Sequence[NDArray[np.integer]], patch: Patch
) -> NDArray[np.uint8]:
    """Give two pictures of a patch side by side, (y, x, 3): the image alone, and with outlines.

    `grey` is the whole field, as `display_grey` shows it. Outlines of the first label image are drawn just inside the
    nuclei, over those of the others in another colour, which are seen where they differ.
    """
    plain = np.repeat(patch.of(grey)[..., np.newaxis], 3, axis=2)
    times = max(1, round(LEAST_SIDE_PX / min(plain.shape[:2])))
    plain = _enlarged(plain, times)
    outlined = plain.copy()
    for label_image in reversed(label_images):
        outlines = find_boundaries(_enlarged(patch.of(label_image), times), mode="inner")
        outlined[outlines] = OUTLINE_COLOUR if label_image is label_images[0] else DOUBTFUL_COLOUR
    gap = np.full((len(plain), _GAP_PX, 3), 255, np.uint8)
    return np.hstack([plain, gap, outlined])


def _enlarged(image: NDArray[np.generic], times: int) -> NDArray[np.generic]:
    return image.repeat(times, axis=0).repeat(times, axis=1)
