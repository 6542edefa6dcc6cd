"""Strip plots of how a plate differs from the training plates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tasks.nuclei.figures.style import DPI

_STRIP_COLOURS = {"#D55E00": "a field of this plate", "#0072B2": "a field of a training plate"}
_USUAL_COLOUR = "#e9edf1"


class Strip(NamedTuple):
    """One measure of every field of view, plate by plate."""

    title: str
    unit: str
    values: Mapping[str, Sequence[float]]
    """By plate."""
    usual: tuple[float, float]
    """A plate whose median lies outside of these is an outlier."""


def strip_figure(strips: Sequence[Strip], plates: Sequence[str]) -> Figure:
    """Draw one strip plot per measure, two in a row: one line per plate, one point per field.

    The first of `plates` stands out.
    """
    rows = -(-len(strips) // 2)
    size = (10, 0.8 + rows * (0.9 + 0.26 * len(plates)))
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    all_axes = figure.subplots(rows, 2, sharey=True, squeeze=False).ravel()
    for axes in all_axes[len(strips) :]:
        axes.set_axis_off()
    for axes, strip in zip(all_axes, strips, strict=False):
        _draw_strip(axes, strip, plates)
    all_axes[0].set_ylim(len(plates) - 0.5, -0.5)
    legend = [Line2D([], [], color=c, marker="o", linestyle="", label=t) for c, t in _STRIP_COLOURS.items()]
    band = Patch(facecolor=_USUAL_COLOUR, label="not an outlier")
    figure.legend(handles=[*legend, band], loc="outside lower right", ncols=3, frameon=False, fontsize=8)
    return figure


def _draw_strip(axes: Axes, strip: Strip, plates: Sequence[str]) -> None:
    axes.axvspan(*strip.usual, color=_USUAL_COLOUR, linewidth=0, zorder=0)
    first, others = _STRIP_COLOURS
    for line, plate in enumerate(plates):
        values = np.sort(strip.values.get(plate, ()))
        # Points of similar fields would hide each other on one line.
        offsets = np.linspace(-0.2, 0.2, 5)[2 * np.arange(len(values)) % 5]
        colour = others if line else first
        axes.scatter(values, line + offsets, s=18, color=colour, alpha=0.6, linewidths=0)
        if len(values):
            axes.vlines(np.median(values), line - 0.38, line + 0.38, color=colour, linewidth=2)
    axes.set_yticks(range(len(plates)), plates, fontsize=8)
    axes.set_title(f"{strip.title}, {strip.unit}" if strip.unit else strip.title, fontsize=9, loc="left")
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
