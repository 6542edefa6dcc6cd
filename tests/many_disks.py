"""Fields of disks at random places off the pixel grid, to see whether label images lie on their image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

STEP_PX = 40


def disks(shape: tuple[int, int]) -> NDArray[np.int32]:
    """Give a label image (y, x) of disks of 20 to 28 px, one in each square of `STEP_PX`."""
    rng = np.random.default_rng(0)
    labels = np.zeros(shape, np.int32)
    y, x = np.mgrid[: shape[0], : shape[1]]
    corners = np.ndindex(shape[0] // STEP_PX, shape[1] // STEP_PX)
    for number, corner in enumerate(corners, start=1):
        centre_y, centre_x = STEP_PX * (np.array(corner) + 0.5) + rng.uniform(-4, 4, 2)
        labels[np.hypot(y - centre_y, x - centre_x) < rng.uniform(10, 14)] = number
    return labels


def apart_px(label_image: NDArray[np.integer], image: NDArray[Any]) -> float:
    """How far nuclei lie from their light, by the mean over them; both (y, x), dark outside of nuclei."""
    pieces, count = ndimage.label(ndimage.binary_dilation(label_image > 0, iterations=2))
    of_labels, of_image = (
        np.array(ndimage.center_of_mass(light, pieces, range(1, count + 1))) for light in (label_image > 0, image)
    )
    return float(np.abs((of_labels - of_image).mean(axis=0)).max())
