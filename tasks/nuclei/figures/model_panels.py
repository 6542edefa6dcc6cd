"""What several models make of the same parts of fields, beside each other, as in the paper's Fig. 2A, 5A and S1A."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from tasks.nuclei.figures.error_masks import ErrorMasks, error_overlay
from tasks.nuclei.figures.pictures import (
    Window,
    draw_picture,
    draw_scale_bar,
    label_overlay,
    side_in_diameters,
    window_with_most,
)
from tasks.nuclei.figures.style import DPI

PANEL_INCH, GAP_INCH = 1.35, 0.04
LEFT_INCH, TOP_INCH = 0.4, 0.62
SIDE_IN_DIAMETERS = 9
TRUTH, PREDICTED, DIFFERENT = "GT", "Inference", "GT XOR Inference"


class Predicted(NamedTuple):
    """A model's label image of a window, (y, x), and its errors at an IoU of 0.7 as they are in the whole field."""

    label_image: NDArray[np.integer]
    errors: ErrorMasks


class ShownField(NamedTuple):
    """A row of panels: a window of a field, in arrays (y, x) of one shape."""

    name: str
    """The cell line."""
    grey: NDArray[np.uint8]
    true_labels: NDArray[np.integer]
    predicted: Mapping[str, Predicted]
    """By the name of the model."""
    pixel_size_um: float


def shown_window(true_labels: NDArray[np.integer]) -> Window:
    """Give the square that truth fills most, so that no model has a say: nine nuclei wide, or as wide as the field.

    `true_labels` is (y, x).
    """
    side_px = min(side_in_diameters(true_labels, SIDE_IN_DIAMETERS), *true_labels.shape)
    return window_with_most(true_labels > 0, side_px)


def model_panels(fields: Sequence[ShownField]) -> Figure:
    """Draw a row for each field: truth, each model's nuclei, and each model's errors; the bars are 20 µm long.

    Missed nuclei are whole and in colours, elsewhere pixels in which truth and prediction differ are magenta.
    """
    models = list(dict.fromkeys(name for field in fields for name in field.predicted))
    columns = 1 + 2 * len(models)
    size = (LEFT_INCH + columns * (PANEL_INCH + GAP_INCH), TOP_INCH + len(fields) * (PANEL_INCH + GAP_INCH))
    figure = Figure(figsize=size, dpi=DPI)
    axes = [[figure.add_axes(_place(row, column, size)) for column in range(columns)] for row in range(len(fields))]
    for field, of_row in zip(fields, axes, strict=True):
        _draw_row(field, models, of_row)
    _write_titles(figure, axes[0], models, size[1])
    return figure


def _place(row: int, column: int, size: tuple[float, float]) -> tuple[float, float, float, float]:
    """Give left, bottom, width and height of a panel as parts of the figure."""
    left = LEFT_INCH + column * (PANEL_INCH + GAP_INCH)
    top = TOP_INCH + row * (PANEL_INCH + GAP_INCH)
    return left / size[0], 1 - (top + PANEL_INCH) / size[1], PANEL_INCH / size[0], PANEL_INCH / size[1]


def _draw_row(field: ShownField, models: Sequence[str], axes: Sequence[Axes]) -> None:
    truth, predicted, errors = axes[0], axes[1 : 1 + len(models)], axes[1 + len(models) :]
    draw_picture(truth, label_overlay(field.grey, field.true_labels))
    truth.text(-0.06, 0.5, field.name, fontsize=9, rotation=90, ha="right", va="center", transform=truth.transAxes)
    _draw_each(field, models, predicted, lambda one: label_overlay(field.grey, one.label_image))
    _draw_each(field, models, errors, lambda one: error_overlay(field.grey, field.true_labels, one.errors))
    draw_scale_bar(axes[-1] if axes[-1].images else truth, field.pixel_size_um)


def _draw_each(
    field: ShownField, models: Sequence[str], axes: Sequence[Axes], picture: Callable[[Predicted], NDArray[np.uint8]]
) -> None:
    """Draw a panel for each model; one that has no prediction of the field stays empty."""
    for name, axis in zip(models, axes, strict=True):
        axis.set_axis_off()
        if name in field.predicted:
            draw_picture(axis, picture(field.predicted[name]))


def _write_titles(figure: Figure, axes: Sequence[Axes], models: Sequence[str], height: float) -> None:
    """Write the names of models above their panels, and what the panels show above a line over all of them."""
    axes[0].set_title(TRUTH, fontsize=9)
    for axis, name in zip(axes[1:], [*models, *models], strict=True):
        axis.set_title(name, fontsize=9)
    for title, group in ((PREDICTED, axes[1 : 1 + len(models)]), (DIFFERENT, axes[1 + len(models) :])):
        left, right = group[0].get_position().x0, group[-1].get_position().x1
        line = 1 - 0.28 / height
        figure.text((left + right) / 2, line + 0.03 / height, title, fontsize=9.5, ha="center", va="bottom")
        figure.add_artist(Line2D([left, right], [line, line], color="#444444", linewidth=0.8))
