"""Pictures of a field of view, and how they are shown: grey, nuclei in colours, windows, scale bar."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import find_boundaries

from tasks.nuclei.intensity import grey_levels

Pixel = TypeVar("Pixel", bound=np.generic)

SCALE_BAR_UM = 20
LEAST_SIDE_PX = 64
TYPICAL_AREA_PX = 400.0
"""Of a nucleus, in a field without any."""

INSTANCE_COLOURS = np.array(
    [[86, 180, 233], [230, 159, 0], [0, 190, 130], [240, 228, 66], [225, 140, 190], [235, 110, 30]], np.uint8
)


class Window(NamedTuple):
    """A square part of a fov, in px."""

    y: int
    x: int
    side: int

    def of(self, image: NDArray[Pixel]) -> NDArray[Pixel]:
        return image[self.y : self.y + self.side, self.x : self.x + self.side]


def window_with_most(mask: NDArray[np.bool_], side_px: int) -> Window:
    """Find the square with the most true pixels, the uppermost of several; `side_px` is at most that of the mask."""
    share = ndimage.uniform_filter(mask.astype(np.float32), side_px, mode="constant")
    half = side_px // 2
    inside = share[half : mask.shape[0] - side_px + half + 1, half : mask.shape[1] - side_px + half + 1]
    y, x = np.unravel_index(np.argmax(inside), inside.shape)
    return Window(int(y), int(x), side_px)


def side_in_diameters(label_image: NDArray[np.integer], diameters: float) -> int:
    """Give the side in px of a square as wide as so many nuclei of the median area; at least 64."""
    areas = np.unique(label_image[label_image > 0], return_counts=True)[1]
    typical_area = float(np.median(areas)) if len(areas) else TYPICAL_AREA_PX
    return max(LEAST_SIDE_PX, round(diameters * 2 * math.sqrt(typical_area / math.pi)))


def display_grey(image: NDArray[np.number]) -> NDArray[np.uint8]:
    """Stretch a (y, x) image so that all but the darkest 0.5 % and the brightest 0.2 % of pixels keep their detail.

    What is no part of the field, such as a blank border or dead cells, doesn't count.
    """
    image = grey_levels(image, "robust")
    low, high = np.percentile(image, [0.5, 99.8])
    stretched = (image.astype(np.float32) - low) / max(high - low, 1)
    grey: NDArray[np.uint8] = (255 * np.clip(stretched, 0, 1)).astype(np.uint8)
    return grey


def label_overlay(
    grey: NDArray[np.uint8], label_image: NDArray[np.integer], numbers: NDArray[np.integer] | None = None
) -> NDArray[np.uint8]:
    """Give a (y, x, 3) picture with every nucleus in a colour over its own texture, edges dark.

    Colours are those of `numbers`, (y, x), where these are given, else those of the labels.
    """
    return tinted(grey, label_image, label_image > 0, INSTANCE_COLOURS, numbers)


def tinted(
    grey: NDArray[np.uint8],
    label_image: NDArray[np.integer],
    mask: NDArray[np.bool_],
    colours: NDArray[np.uint8],
    numbers: NDArray[np.integer] | None = None,
) -> NDArray[np.uint8]:
    numbers = label_image if numbers is None else numbers
    picture = np.repeat(grey[..., np.newaxis], 3, axis=2)
    texture = 0.5 + 0.5 * grey[mask].astype(np.float32) / 255
    edges = find_boundaries(label_image, mode="inner")[mask]
    texture[edges] *= 0.45
    picture[mask] = colours[numbers[mask] % len(colours)] * texture[:, np.newaxis]
    return picture


def draw_picture(axes: Axes, picture: NDArray[np.uint8]) -> None:
    axes.imshow(picture)
    axes.set_axis_off()


def draw_heading(axes: Axes, text: str) -> None:
    """Write into the upper left corner of a picture what it shows."""
    heading = axes.text(
        0.03, 0.97, text, transform=axes.transAxes, color="white", fontsize=7, ha="left", va="top", zorder=5
    )
    heading.set_path_effects([withStroke(linewidth=1.5, foreground="black")])


def draw_scale_bar(axes: Axes, pixel_size_um: float) -> None:
    width, height = axes.get_xlim()[1], axes.get_ylim()[0]
    length = SCALE_BAR_UM / pixel_size_um
    right, y = 0.96 * width, 0.95 * height
    axes.add_patch(
        Rectangle(
            (right - length, y - 0.014 * height),
            length,
            0.014 * height,
            facecolor="white",
            edgecolor="black",
            linewidth=0.5,
        )
    )
    text = axes.text(
        right, y - 0.025 * height, f"{SCALE_BAR_UM} µm", color="white", fontsize=7, ha="right", va="bottom"
    )
    text.set_path_effects([withStroke(linewidth=1.5, foreground="black")])
