"""Heat maps: measures of the wells of a plate; F1 of models on plates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tasks.nuclei.figures.style import DPI
from tasks.nuclei.own_proposals import MARK, MEANING

NO_DATA_COLOUR = "#8a8a8a"
_WELL_INCH = 0.3
_CELL_WIDTH_INCH, _CELL_HEIGHT_INCH = 0.5, 0.34
_LETTER_INCH = 0.065


class HeatMap(NamedTuple):
    """One measure of the wells of a plate."""

    title: str
    unit: str
    values: NDArray[np.float64]
    """(row, column); NaN where a well has none."""
    from_zero: bool
    """Whether the colours begin at 0, or at the lowest value."""


class ScoreMatrix(NamedTuple):
    """F1 of models on plates; arrays are (version, plate), NaN where unknown."""

    title: str
    f1: NDArray[np.float64]
    forgotten: NDArray[np.float64]
    """How far F1 is below that of the best earlier version; 0 where it isn't."""
    is_flattered: NDArray[np.bool_]
    """Where the model proposed some of the true labels itself."""


def plate_heat_maps(
    maps: Sequence[HeatMap], row_names: Sequence[str], column_names: Sequence[str], title: str, model: str
) -> Figure:
    """Draw one map of the plate per measure, one below the other; wells without data are white with a cross."""
    width = 1.6 + _WELL_INCH * len(column_names)
    height = 0.8 + len(maps) * (0.7 + _WELL_INCH * len(row_names))
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=10, wrap=True)
    for axes, heat_map in zip(figure.subplots(len(maps), squeeze=False)[:, 0], maps, strict=True):
        _draw_heat_map(axes, heat_map, row_names, column_names)
    figure.supxlabel(f"Segmented with {model}", fontsize=7, wrap=True)
    return figure


def matrix_figure(
    matrices: Sequence[ScoreMatrix], versions: Sequence[str], plates: Sequence[str], cell_lines: Sequence[str]
) -> Figure:
    """Draw one heat map per matrix, with the numbers in it.

    `cell_lines` names the cell line of each plate; plates of one cell line are neighbours. Where F1 is lower than
    that of an earlier version, the drop stands below the number. Tall matrices are drawn side by side, wide ones
    one below the other.
    """
    rows, columns = (1, len(matrices)) if len(versions) > len(plates) else (len(matrices), 1)
    labels = [_LETTER_INCH * max(map(len, names)) for names in (versions, plates, cell_lines)]
    width = columns * (_CELL_WIDTH_INCH * len(plates) + labels[0] + 1.1)
    height = rows * (_CELL_HEIGHT_INCH * len(versions) + labels[1] + labels[2] + 0.7) + 0.4
    figure = Figure(figsize=(max(width, 4), height), dpi=DPI, layout="constrained")
    for axes, matrix in zip(figure.subplots(rows, columns, squeeze=False).ravel(), matrices, strict=True):
        _draw_matrix(axes, matrix, versions, plates)
        _draw_groups(axes, cell_lines)
    legend = "below F1: drop against the best earlier version; x: not known"
    if any(matrix.is_flattered.any() for matrix in matrices):
        legend += f"; {MARK} {MEANING}"
    figure.supxlabel(legend, fontsize=7, wrap=True)
    return figure


def _draw_heat_map(axes: Axes, heat_map: HeatMap, row_names: Sequence[str], column_names: Sequence[str]) -> None:
    known = heat_map.values[np.isfinite(heat_map.values)]
    low = 0 if heat_map.from_zero or not len(known) else known.min()
    picture = axes.imshow(heat_map.values, cmap="viridis", vmin=low, vmax=known.max(initial=low + 1e-9))
    axes.set_title(f"{heat_map.title} (x: no data)", fontsize=9)
    _name_cells(axes, row_names, column_names)
    _cross_unknown(axes, heat_map.values)
    bar = axes.figure.colorbar(picture, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label(heat_map.unit, fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _name_cells(axes: Axes, row_names: Sequence[str], column_names: Sequence[str], rotation: float = 0) -> None:
    """Name rows and columns of a heat map, the columns above it, and separate its cells by white lines."""
    axes.set_xticks(range(len(column_names)), column_names, fontsize=7, rotation=rotation)
    axes.set_yticks(range(len(row_names)), row_names, fontsize=7)
    axes.set_xticks(np.arange(len(column_names)) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(row_names)) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.2)
    axes.tick_params(which="both", length=0)
    axes.xaxis.tick_top()


def _cross_unknown(axes: Axes, values: NDArray[np.float64]) -> None:
    rows, columns = np.nonzero(np.isnan(values))
    axes.scatter(columns, rows, marker="x", s=14, color=NO_DATA_COLOUR, linewidths=0.7)


def _draw_matrix(axes: Axes, matrix: ScoreMatrix, versions: Sequence[str], plates: Sequence[str]) -> None:
    known = matrix.f1[np.isfinite(matrix.f1)]
    low = np.floor(10 * known.min(initial=0.9)) / 10
    high = max(np.ceil(10 * known.max(initial=0)) / 10, low + 0.1)
    picture = axes.imshow(matrix.f1, cmap="viridis", vmin=low, vmax=high, aspect="auto")
    axes.set_title(matrix.title, fontsize=9)
    _name_cells(axes, versions, plates, rotation=90)
    _cross_unknown(axes, matrix.f1)
    for row, column in np.argwhere(np.isfinite(matrix.f1)):
        f1, drop = matrix.f1[row, column], matrix.forgotten[row, column]
        mark = MARK if matrix.is_flattered[row, column] else ""
        text = f"{f1:.2f}{mark}" + (f"\n{-drop:.2f}" if drop >= 0.01 else "")
        colour = "black" if f1 > low + 0.55 * (high - low) else "white"
        axes.text(column, row, text, color=colour, fontsize=7, ha="center", va="center", linespacing=1.0)
    axes.figure.colorbar(picture, ax=axes, pad=0.02).ax.tick_params(labelsize=7)


def _draw_groups(axes: Axes, names: Sequence[str]) -> None:
    """Write the name of each group of neighbouring columns below it, upright if it is narrow; separate the groups."""
    starts = [column for column, name in enumerate(names) if column == 0 or name != names[column - 1]]
    for first, end in zip(starts, [*starts[1:], len(names)], strict=True):
        fits = _LETTER_INCH * len(names[first]) < _CELL_WIDTH_INCH * (end - first)
        axes.annotate(
            names[first],
            ((first + end - 1) / 2, 0),
            (0, -4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=0 if fits else 90,
            fontsize=8,
            ha="center",
            va="top",
        )
        if first:
            axes.axvline(first - 0.5, color="white", linewidth=5)
