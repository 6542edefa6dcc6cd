"""Small pictures of the fields of a plate, to be looked at before it is imported."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from tasks.nuclei.figures.pictures import display_grey
from tasks.nuclei.figures.plate_overview import OUTLINE_COLOUR

LONGEST_SIDE_PX = 800


def preview_picture(image: NDArray[np.number], label_image: NDArray[np.integer] | None = None) -> NDArray[np.uint8]:
    """Give a whole field, (y, x, 3), at most 800 px high and wide, with the outline of every nucleus.

    Labels of another size than the image are not drawn.
    """
    grey = display_grey(image)
    scale = min(1.0, LONGEST_SIDE_PX / max(grey.shape))
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    picture = np.repeat(small[..., np.newaxis], 3, axis=2)
    if label_image is not None and label_image.shape == image.shape:
        rows, columns = (
            np.minimum(((np.arange(side) + 0.5) / scale).astype(int), whole - 1)
            for side, whole in zip((height, width), image.shape, strict=True)
        )
        picture[find_boundaries(label_image[np.ix_(rows, columns)], mode="inner")] = OUTLINE_COLOUR
    return picture
