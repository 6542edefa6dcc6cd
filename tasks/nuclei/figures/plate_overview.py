"""An overview of a plate: the middle of some fields, with the outlines of their nuclei."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from tasks.nuclei.figures.pictures import Window, display_grey, draw_scale_bar
from tasks.nuclei.figures.style import DPI

OUTLINE_COLOUR = np.array([255, 190, 0], np.uint8)
DOUBTFUL_COLOUR = np.array([255, 60, 255], np.uint8)
_OVERVIEW_COLUMNS = 4
_TILE_INCH = 3.4
_TITLE_LETTERS = 48


class OverviewTile(NamedTuple):
    title: str
    picture: NDArray[np.uint8]
    """(y, x, 3)"""


def overview_picture(
    image: NDArray[np.number], label_image: NDArray[np.integer], side_px: int, doubtful: Sequence[int]
) -> NDArray[np.uint8]:
    """Give the middle of a fov, (side, side, 3) or smaller, with the outline of every nucleus just inside it.

    Outlines of the labels `doubtful` have a colour of their own.
    """
    grey = display_grey(image)
    y, x = (max(0, (size - side_px) // 2) for size in image.shape)
    window = Window(y, x, side_px)
    picture = np.repeat(window.of(grey)[..., np.newaxis], 3, axis=2)
    outlines = window.of(find_boundaries(label_image, mode="inner"))
    picture[outlines] = OUTLINE_COLOUR
    picture[outlines & np.isin(window.of(label_image), doubtful)] = DOUBTFUL_COLOUR
    return picture


def overview_figure(
    tiles: Sequence[OverviewTile], pixel_size_um: float, title: str, model: str, doubt: str = ""
) -> Figure:
    """Draw pictures of one size, four per row. `doubt` says which outlines have the colour of doubtful nuclei."""
    columns = min(len(tiles), _OVERVIEW_COLUMNS)
    rows = -(-len(tiles) // columns)
    height, width = tiles[0].picture.shape[:2]
    tile_height = _TILE_INCH * height / width + 0.2
    figure = Figure(figsize=(columns * _TILE_INCH, rows * tile_height + 0.5), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=10, wrap=True)
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in all_axes:
        axes.set_axis_off()
    for axes, tile in zip(all_axes, tiles, strict=False):
        axes.set_title(_shortened(tile.title), fontsize=8)
        axes.imshow(tile.picture)
    # One in each row, at its end.
    for last in {*range(columns - 1, len(tiles), columns), len(tiles) - 1}:
        draw_scale_bar(all_axes[last], pixel_size_um)
    if doubt:
        colour = f"#{DOUBTFUL_COLOUR.tobytes().hex()}"
        figure.legend(handles=[Patch(facecolor=colour, label=doubt)], loc="outside lower right", fontsize=7)
    figure.supxlabel(f"Segmented with {model}", fontsize=7, wrap=True)
    return figure


def _shortened(title: str) -> str:
    """Leave out the middle of a title that is longer than a picture is wide."""
    half = _TITLE_LETTERS // 2
    return title if len(title) <= _TITLE_LETTERS else f"{title[:half]}…{title[-half:]}"
