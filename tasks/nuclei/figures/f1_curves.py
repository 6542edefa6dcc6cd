"""F1 against the IoU threshold, one line per cell line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.nuclei.figures.style import DPI, LINE_COLOURS, colours_of
from tasks.nuclei.scoring import OBJECT_LEVEL_IOU

LINE_STYLES = ("-", "--", "-.", ":")
_LIMITS = (-0.03, 1.03)
"""A curve at 0 or at 1 must not lie on the axis."""
POOLED_COLOUR = "#222222"
CEILING_COLOUR = "#777777"


class F1Curve(NamedTuple):
    """F1 of one cell line with its 95 % interval, one entry per IoU threshold."""

    name: str
    iou_thresholds: Sequence[float]
    f1: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def f1_figure(curves: Sequence[F1Curve], pooled: F1Curve | None = None, ceiling: F1Curve | None = None) -> Figure:
    """Draw F1 against the IoU threshold, lines with their 95 % bands, and the pooled one if there are several.

    `ceiling` is the agreement of two annotators, which no model can be expected to exceed by much.
    """
    figure = Figure(figsize=(8, 4.6), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    colours = colours_of([curve.name for curve in curves])
    for number, curve in enumerate(curves):
        style = LINE_STYLES[number // len(LINE_COLOURS) % len(LINE_STYLES)]
        _draw_curve(axes, curve, colours[curve.name], style)
    if pooled and len(curves) > 1:
        _draw_curve(axes, pooled, POOLED_COLOUR, "--")
    if ceiling:
        _draw_curve(axes, ceiling, CEILING_COLOUR, ":")
    axes.axvline(OBJECT_LEVEL_IOU, color="#777777", linestyle=(0, (6, 4)), linewidth=1, zorder=0)
    axes.annotate(
        "object level", (OBJECT_LEVEL_IOU, 0.02), (-4, 0), textcoords="offset points", ha="right", color="#555555"
    )
    axes.set(xlim=(0.05, 0.95), ylim=_LIMITS, xlabel="IoU threshold", ylabel="F1", xticks=np.arange(1, 10) / 10)
    axes.grid(color="#e4e4e4")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _draw_curve(axes: Axes, curve: F1Curve, colour: str, style: str) -> None:
    axes.fill_between(curve.iou_thresholds, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(curve.iou_thresholds, curve.f1, color=colour, linestyle=style, linewidth=1.8, label=curve.name)
