"""F1 against the number of annotated nuclei, one picture per cell line, and what more of them are expected to bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.nuclei.figures.style import DPI, LINE_COLOURS
from tasks.nuclei.learning_curve import MORE_NUCLEI, Round, expected, fitted

_COLUMNS = 2
_POINTS = 60
_SHARES = (0.05, 0.5, 0.95)


def learning_curve_figure(rounds: Mapping[str, Sequence[Round]]) -> Figure:
    """Draw the rounds of each cell line as points with their 95 % intervals.

    Where there are enough, the fitted curve and its 90 % band are drawn too, dashed beyond the last round.
    """
    rows, columns = -(-len(rounds) // _COLUMNS), min(len(rounds), _COLUMNS)
    figure = Figure(figsize=(5.2 * columns, 3.6 * rows), dpi=DPI, layout="constrained")
    all_axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes in all_axes[len(rounds) :]:
        axes.set_axis_off()
    for axes, (cell_line, of_line) in zip(all_axes, rounds.items(), strict=False):
        _draw(axes, sorted(of_line, key=lambda one: one.nuclei))
        axes.set_title(cell_line, fontsize=10, loc="left")
    return figure


def _draw(axes: Axes, rounds: Sequence[Round]) -> None:
    nuclei, f1 = [one.nuclei for one in rounds], [one.f1 for one in rounds]
    # A score of 0 or 1 may lie at the end of its interval.
    below, above = ([max(0, one.f1 - one.low) for one in rounds], [max(0, one.high - one.f1) for one in rounds])
    axes.errorbar(nuclei, f1, (below, above), fmt="o", color=LINE_COLOURS[0], markersize=4, linewidth=1, capsize=2)
    if expected(rounds).gain is not None:
        _draw_fit(axes, rounds)
    end = max(nuclei) + MORE_NUCLEI
    # A curve at 0 or at 1 must not lie on the axis.
    axes.set(xlim=(-0.03 * end, 1.03 * end), ylim=(-0.03, 1.03), xlabel="annotated nuclei", ylabel="F1 at IoU 0.7")
    axes.grid(color="#e4e4e4")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_fit(axes: Axes, rounds: Sequence[Round]) -> None:
    curves, first, last = fitted(rounds), rounds[0].nuclei, rounds[-1].nuclei
    at = np.linspace(first, last + MORE_NUCLEI, _POINTS)
    low, middle, high = np.transpose([curves.quantiles(curves.f1(nuclei), _SHARES) for nuclei in at])
    colour = LINE_COLOURS[1]
    axes.fill_between(at, low, high, color=colour, alpha=0.16, linewidth=0)
    seen = at <= last
    axes.plot(at[seen], middle[seen], color=colour, linewidth=1.8)
    axes.plot(at[~seen], middle[~seen], color=colour, linewidth=1.8, linestyle="--")
