"""Bars of the errors per true nucleus."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from tasks.nuclei.figures.style import DPI, colours_of


def error_rate_figure(rates: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw a row of bar plots, one per kind of error, as the paper's Fig. S3.

    `rates` holds for each kind of error the errors per true nucleus of each cell line; every kind has
    an axis of its own.
    """
    names = list(next(iter(rates.values())))
    figure = Figure(figsize=(10, 1.2 + 0.34 * len(names)), dpi=DPI, layout="constrained")
    all_axes = figure.subplots(1, len(rates), sharey=True, squeeze=False)[0]
    colours = colours_of(names)
    for axes, (kind, values) in zip(all_axes, rates.items(), strict=True):
        bars = axes.barh(names, [values[name] for name in names], color=[colours[name] for name in names])
        axes.bar_label(bars, [f"{100 * values[name]:.1f}" for name in names], padding=3, fontsize=8)
        axes.set_title(kind, fontsize=10)
        axes.set_xlim(0, 1.25 * max(*values.values(), 0.01))
        axes.xaxis.set_major_formatter(lambda rate, _: f"{100 * rate:g}")
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[0].invert_yaxis()
    figure.supxlabel("% of the true nuclei", fontsize=9)
    return figure
