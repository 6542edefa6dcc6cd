"""Figures in facets as the paper's: F1 curves, dots, replicates with their mean, bars of errors; F1 against cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import AutoLocator, LogLocator, NullLocator

from tasks.nuclei.figures.style import DPI, colours_of
from tasks.nuclei.scoring import OBJECT_LEVEL_IOU

STRIP = "#d0d0d0"
GRID = "#e6e6e6"
FRAME = "#444444"
LEAST_IOU_SHOWN = 0.5
DOT_PX = 55
BOX_WIDTH = 0.5
NARROW = 5
"""A range of costs of which the largest is below this many times the smallest."""
STRIP_INCHES = 0.26
INCHES_PER_LETTER = 0.046
"""Downwards, of a label of 8 points that is turned by 45 degrees."""
ONE_LINE = "#111111"

Curves = Mapping[str, Mapping[float, float]]
"""F1 by IoU threshold, of each line."""


class Dot(NamedTuple):
    """A value of one group at a place of the x-axis."""

    x: str
    group: str
    value: float
    is_marked: bool = False
    """Drawn open: it isn't what its row says, such as a training without its pretrained weights."""


class Interval(NamedTuple):
    """Mean of a group at a place, with its 95 % interval; NaN where there is none."""

    x: str
    group: str
    mean: float
    low: float
    high: float


class CostPoint(NamedTuple):
    """An experiment: what it costs and what it brings."""

    name: str
    group: str
    hours: float
    f1: float


def curve_facets(panels: Mapping[tuple[str, str], Curves], legend: str) -> Figure:
    """Draw F1 against the IoU threshold from 0.5 on, in a grid of panels by (row, column); a row "" has no strip.

    Several lines have colours with a legend of this title, a single one is black.
    """
    rows, columns = (list(dict.fromkeys(key[n] for key in panels)) for n in (0, 1))
    figure, axes = _grid(len(rows), len(columns), 1.7 if len(rows) > 1 else 3.6, sharey=True)
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    colours = colours_of(names) if len(names) > 1 else dict.fromkeys(names, ONE_LINE)
    for (row, column), curves in panels.items():
        axis = axes[rows.index(row)][columns.index(column)]
        for name, curve in curves.items():
            shown = {x: y for x, y in sorted(curve.items()) if x >= LEAST_IOU_SHOWN}
            axis.plot(list(shown), list(shown.values()), color=colours[name], linewidth=1.5)
        axis.axvline(OBJECT_LEVEL_IOU, color="#888888", linestyle=(0, (8, 5)), linewidth=1.1)
        axis.set(ylim=(-0.04, 1.04), xticks=np.arange(5, 10) / 10, yticks=[0, 0.25, 0.5, 0.75, 1])
        axis.tick_params(axis="x", rotation=-45)
    _strips(axes, columns, rows)
    figure.supxlabel("IoU Threshold", fontsize=10)
    figure.supylabel("F1 Score", fontsize=10)
    if len(names) > 1:
        handles = [Line2D([], [], color=colours[name], linewidth=1.5, label=name) for name in names]
        figure.legend(handles=handles, title=legend, loc="outside right center", frameon=False)
    return figure


def dot_facets(
    panels: Mapping[str, Sequence[Dot]], x_title: str, legend: str, iou_threshold: float = OBJECT_LEVEL_IOU
) -> Figure:
    """Draw F1 of each group at each place, a panel for each cell line, from 0 to 1."""
    return _dots(panels, {}, x_title, legend, iou_threshold)


def replicate_facets(
    panels: Mapping[str, Sequence[Dot]],
    intervals: Mapping[str, Sequence[Interval]],
    x_title: str,
    legend: str,
    iou_threshold: float = OBJECT_LEVEL_IOU,
) -> Figure:
    """Draw F1 of each replicate, with the mean as a line in the box of its 95 % interval."""
    return _dots(panels, intervals, x_title, legend, iou_threshold)


def bar_facets(panels: Mapping[str, Mapping[str, float]], y_title: str, x_title: str) -> Figure:
    """Draw a bar for each group, a panel with a scale of its own for each cell line."""
    figure, ((*axes,),) = _grid(1, len(panels), 3.6, sharey=False)
    for axis, values in zip(axes, panels.values(), strict=True):
        axis.bar(list(values), list(values.values()), color="#474747", width=0.85)
        axis.set_ylim(0, max(1.05 * max(values.values(), default=0), 0.5))
        _turn(axis, list(values))
    _strips([axes], list(panels))
    figure.supylabel(y_title, fontsize=10)
    _below_turned_labels(figure, x_title, list(next(iter(panels.values()), ())))
    return figure


def cost_figure(points: Sequence[CostPoint], x_title: str, legend: str) -> Figure:
    """Draw F1 at the object level against hours. Those points are joined and named that no cheaper one reaches."""
    figure = Figure(figsize=(9, 5.2), dpi=DPI, layout="constrained")
    axis = figure.subplots()
    groups = list(dict.fromkeys(point.group for point in points))
    colours = colours_of(groups)
    for group in groups:
        own = [point for point in points if point.group == group]
        axis.scatter(
            [p.hours for p in own], [p.f1 for p in own], s=DOT_PX, color=colours[group], alpha=0.7, label=group
        )
    best = worth_their_price(points)
    axis.plot([p.hours for p in best], [p.f1 for p in best], color="#555555", linewidth=1, zorder=1)
    axis.set(xlabel=x_title, ylabel=f"F1 Score @ IoU {OBJECT_LEVEL_IOU:g}")
    if points and min(point.hours for point in points) > 0:
        _make_logarithmic(axis, [point.hours for point in points])
    axis.grid(color=GRID)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    if points:
        figure.legend(title=legend, loc="outside right upper", frameon=False)
        _name_points(figure, axis, best)
    return figure


def _make_logarithmic(axis: Axes, values: Sequence[float]) -> None:
    """Make the x-axis logarithmic, with plain numbers in steps of 1, 2, 5; even steps suit a narrow range."""
    axis.set_xscale("log")
    is_narrow = max(values) < NARROW * min(values)
    axis.xaxis.set_major_locator(AutoLocator() if is_narrow else LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    # Matplotlib's own would write formulas between them.
    axis.xaxis.set_minor_locator(NullLocator())


def _name_points(figure: Figure, axis: Axes, points: Sequence[CostPoint]) -> None:
    """Number points, and give the names below: beside the points, long ones would cover each other."""
    for number, point in enumerate(points, start=1):
        place: dict[str, Any] = {"xytext": (0, 7), "ha": "center", "textcoords": "offset points"}
        axis.annotate(str(number), (point.hours, point.f1), fontsize=8, **place)
    names = [Line2D([], [], linestyle="", label=f"{number}  {one.name}") for number, one in enumerate(points, start=1)]
    columns: dict[str, Any] = {"ncols": min(2, len(points)), "handlelength": 0, "handletextpad": 0, "fontsize": 8}
    figure.legend(handles=names, loc="outside lower center", frameon=False, **columns)


def worth_their_price(points: Sequence[CostPoint]) -> list[CostPoint]:
    """Give the points that no other one of as little cost exceeds, from cheap to dear."""
    best: list[CostPoint] = []
    for point in sorted(points, key=lambda point: (point.hours, -point.f1)):
        if not best or point.f1 > best[-1].f1:
            best.append(point)
    return best


def _dots(
    panels: Mapping[str, Sequence[Dot]],
    intervals: Mapping[str, Sequence[Interval]],
    x_title: str,
    legend: str,
    iou_threshold: float,
) -> Figure:
    figure, ((*axes,),) = _grid(1, len(panels), 3.9, sharey=True)
    everything = [dot for dots in panels.values() for dot in dots]
    places, groups = (list(dict.fromkeys(getattr(dot, name) for dot in everything)) for name in ("x", "group"))
    colours = colours_of(groups)
    for axis, (name, dots) in zip(axes, panels.items(), strict=True):
        for interval in intervals.get(name, ()):
            _draw_interval(axis, interval, places.index(interval.x), colours[interval.group])
        for dot in dots:
            face = "none" if dot.is_marked else colours[dot.group]
            place = places.index(dot.x)
            axis.scatter(place, dot.value, s=DOT_PX, facecolor=face, edgecolor=colours[dot.group], alpha=0.7, zorder=3)
        axis.set(xlim=(-0.6, len(places) - 0.4), ylim=(-0.05, 1.1), yticks=np.arange(11) / 10)
        _turn(axis, places)
    _strips([axes], list(panels))
    figure.supylabel(f"F1 Score @ IoU {iou_threshold:g}", fontsize=10)
    _below_turned_labels(figure, x_title, places)
    handles = [_dot_handle(group, colours[group]) for group in groups]
    if any(dot.is_marked for dot in everything):
        handles.append(_dot_handle("without pretrained weights", "#777777", face="none"))
    figure.legend(handles=handles, title=legend, loc="outside right center", frameon=False)
    return figure


def _draw_interval(axis: Axes, interval: Interval, place: int, colour: str) -> None:
    left = place - BOX_WIDTH / 2
    if np.isfinite(interval.low):
        # The paper's axis cuts off what is beyond 0.
        size = interval.high - interval.low
        axis.add_patch(
            Rectangle((left, interval.low), BOX_WIDTH, size, facecolor="none", edgecolor=colour, linewidth=1.1)
        )
    axis.plot([left, left + BOX_WIDTH], [interval.mean] * 2, color=colour, linewidth=2.6, zorder=2)


def _dot_handle(label: str, colour: str, face: str | None = None) -> Line2D:
    return Line2D(
        *([], []), linestyle="", marker="o", markersize=8, color=colour, markerfacecolor=face or colour, label=label
    )


def _turn(axis: Axes, labels: Sequence[str]) -> None:
    texts = axis.set_xticks(range(len(labels)), labels, rotation=-45, ha="left", rotation_mode="anchor")
    for tick in texts:
        # They may reach below the next panel, which the layout would make room for.
        tick.label1.set_in_layout(False)


def _below_turned_labels(figure: Figure, title: str, labels: Sequence[str]) -> None:
    """Write the title of the x-axis, with room for labels that the layout doesn't see."""
    room = (0.35 + INCHES_PER_LETTER * max(map(len, labels), default=0)) / figure.get_size_inches()[1]
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0, room, 1, 1 - room))
    figure.text(0.42, 0.01, title, fontsize=10, ha="center", va="bottom")


def _grid(rows: int, columns: int, height: float, sharey: bool) -> tuple[Figure, list[list[Axes]]]:
    """Give a grid of panels with light lines, each in a frame."""
    figure = Figure(figsize=(2.4 + 1.75 * columns, 1.1 + height * rows), dpi=DPI, layout="constrained")
    axes: list[list[Axes]] = figure.subplots(rows, columns, sharey=sharey, sharex=sharey, squeeze=False).tolist()
    for axis in (axis for row in axes for axis in row):
        axis.grid(color=GRID)
        axis.set_axisbelow(True)
        axis.spines[:].set_color(FRAME)
        axis.tick_params(labelsize=8, color=FRAME)
    return figure, axes


def _strips(axes: Sequence[Sequence[Axes]], columns: Sequence[str], rows: Sequence[str] = ("",)) -> None:
    """Write the names of columns into a grey strip above, those of rows into one at the right."""
    for axis, name in zip(axes[0], columns, strict=True):
        thickness = STRIP_INCHES / _inches(axis)[1]
        _strip(axis, name, (0, 1, 1, thickness), rotation=0)
    for of_row, name in zip(axes, rows, strict=True):
        if name:
            thickness = STRIP_INCHES / _inches(of_row[-1])[0]
            _strip(of_row[-1], name, (1, 0, thickness, 1), rotation=-90)


def _inches(axis: Axes) -> tuple[float, float]:
    """Give about how wide and high a panel is, before the layout is made."""
    grid = axis.get_subplotspec()
    rows, columns = (grid.get_gridspec().nrows, grid.get_gridspec().ncols) if grid else (1, 1)
    width, height = axis.figure.get_size_inches()  # type: ignore[union-attr]
    return (width - 2.2) / columns, (height - 1.1) / rows


def _strip(axis: Axes, name: str, place: tuple[float, float, float, float], rotation: int) -> None:
    """Draw a strip beside a panel; `place` is left, bottom, width and height as parts of the panel's."""
    left, bottom, width, height = place
    options: dict[str, Any] = {"transform": axis.transAxes, "clip_on": False}
    strip = Rectangle((left, bottom), width, height, facecolor=STRIP, edgecolor=FRAME, linewidth=0.8, **options)
    axis.add_patch(strip)
    centred: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8.5, "rotation": rotation}
    axis.text(left + width / 2, bottom + height / 2, name, **centred, **options)
