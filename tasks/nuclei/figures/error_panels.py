"""A field of view as image, truth, prediction and errors, as in the paper's Fig. 5A."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from tasks.nuclei.figures.error_kinds import KIND_COLOURS, KIND_TITLES, ErrorKind, error_kinds, matched_numbers
from tasks.nuclei.figures.pictures import (
    Window,
    display_grey,
    draw_picture,
    draw_scale_bar,
    label_overlay,
    side_in_diameters,
    window_with_most,
)
from tasks.nuclei.figures.style import DPI

IGNORED_COLOUR = np.array([70, 110, 190], np.uint8)

DARKENED = 0.55
"""How bright a picture is in which errors are marked."""
_PANEL_WIDTH_INCH = 3.2
_TITLE_AND_LEGEND_INCH = 0.62
_GAP_INCH = 0.22
_CROP_IN_DIAMETERS = 7


def error_panel(
    image: NDArray[np.number],
    true_labels: NDArray[np.integer],
    predicted_labels: NDArray[np.integer],
    pixel_size_um: float,
    title: str,
    ignored: NDArray[np.bool_] | None = None,
) -> Figure:
    """Draw a fov as image, truth, prediction and errors at an IoU of 0.7, as in the paper's Fig. 5A.

    All arrays are (y, x) of one shape; pixels that are ignored are drawn in blue. A nucleus has one colour in truth and
    prediction. The part of a large fov with the most errors is drawn once more below.
    """
    grey = display_grey(image)
    kinds = error_kinds(true_labels, predicted_labels, ignored)
    pictures = {
        "Image": np.repeat(grey[..., np.newaxis], 3, axis=2),
        "Truth": shaded(label_overlay(grey, true_labels), ignored),
        "Prediction": label_overlay(grey, predicted_labels, matched_numbers(true_labels, predicted_labels)),
        "Errors": shaded(kind_overlay(grey, kinds), ignored),
    }
    window = telling_window(kinds > 0, side_in_diameters(true_labels, _CROP_IN_DIAMETERS))
    rows = 1 if window is None else 2
    heights = [_PANEL_WIDTH_INCH * image.shape[0] / image.shape[1], _PANEL_WIDTH_INCH][:rows]
    size = (len(pictures) * _PANEL_WIDTH_INCH, sum(heights) + _TITLE_AND_LEGEND_INCH + rows * _GAP_INCH)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=10)
    all_axes = figure.subplots(rows, len(pictures), squeeze=False, height_ratios=heights)
    for column, (name, picture) in enumerate(pictures.items()):
        all_axes[0, column].set_title(name, fontsize=10)
        draw_picture(all_axes[0, column], picture)
        if window is not None:
            _outline(all_axes[0, column], window)
            all_axes[1, column].set_title(f"{name}, the frame enlarged", fontsize=10)
            draw_picture(all_axes[1, column], window.of(picture))
    for axes in all_axes[:, -1]:
        draw_scale_bar(axes, pixel_size_um)
    legend = _legend(ignored is not None)
    figure.legend(handles=legend, loc="outside lower right", ncols=len(legend), frameon=False, fontsize=8)
    return figure


def shaded(picture: NDArray[np.uint8], ignored: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Give a (y, x, 3) picture with the pixels that are ignored, (y, x), in blue, half covered."""
    if ignored is None:
        return picture
    half_covered = (picture // 2 + IGNORED_COLOUR // 2).astype(np.uint8)
    return np.where(ignored[..., np.newaxis], half_covered, picture)


def kind_overlay(grey: NDArray[np.uint8], kinds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give a (y, x, 3) picture, darkened, with every wrong pixel in the colour of its kind over its own texture."""
    picture = np.repeat((DARKENED * grey).astype(np.uint8)[..., np.newaxis], 3, axis=2)
    wrong = kinds > 0
    texture = 0.6 + 0.4 * grey[wrong].astype(np.float32) / 255
    picture[wrong] = KIND_COLOURS[kinds[wrong]] * texture[:, np.newaxis]
    picture[kinds == ErrorKind.OUTLINE] = KIND_COLOURS[ErrorKind.OUTLINE]
    return picture


def telling_window(wrong: NDArray[np.bool_], side_px: int) -> Window | None:
    """Find the square with the most wrong pixels; None if it would show over half of the fov's width or height."""
    return None if 2 * side_px > min(wrong.shape) else window_with_most(wrong, side_px)


def _legend(with_ignored: bool) -> list[Artist]:
    legend: list[Artist] = [
        Patch(facecolor=_hex(KIND_COLOURS[kind]), edgecolor="#444444", linewidth=0.5, label=title)
        for kind, title in KIND_TITLES.items()
    ]
    if with_ignored:
        legend.append(Patch(facecolor=_hex(IGNORED_COLOUR), label="not annotated, left out"))
    return legend


def _outline(axes: Axes, window: Window) -> None:
    axes.add_patch(
        Rectangle((window.x, window.y), window.side, window.side, fill=False, edgecolor="white", linewidth=1)
    )


def _hex(colour: NDArray[np.uint8]) -> str:
    return f"#{bytes(colour).hex()}"
