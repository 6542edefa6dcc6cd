"""Single nuclei that only one of two models finds, with the labels of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tasks.nuclei.figures.pictures import draw_heading, draw_picture, draw_scale_bar, label_overlay
from tasks.nuclei.figures.style import DPI

HEADINGS = ("image", "champion", "challenger")


class NucleusExample(NamedTuple):
    """The surroundings of a true nucleus that only one of two models finds; all arrays (y, x) of one shape."""

    title: str
    grey: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    """The nucleus, by its true label."""
    champion: NDArray[np.integer]
    challenger: NDArray[np.integer]
    pixel_size_um: float


def window_around(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Give a square part of a (y, x) image around a nucleus, three times as long as it if the image is large enough."""
    y, x = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    side = min(3 * int(max(y[-1] - y[0], x[-1] - x[0]) + 1), *mask.shape)
    first = (int(np.clip((p[0] + p[-1] - side) // 2, 0, n - side)) for p, n in zip((y, x), mask.shape, strict=True))
    y0, x0 = first
    return slice(y0, y0 + side), slice(x0, x0 + side)


def examples_figure(examples: Sequence[NucleusExample], title: str) -> Figure:
    """Draw one row per example: the image, the champion's and the challenger's labels, with the nucleus outlined."""
    side = 1.8
    figure = Figure(figsize=(3 * side, len(examples) * (side + 0.25) + 0.7), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=9)
    all_axes = figure.subplots(len(examples), 3, squeeze=False)
    for example, row in zip(examples, all_axes, strict=True):
        image = np.repeat(example.grey[..., np.newaxis], 3, axis=2)
        overlays = (label_overlay(example.grey, labels) for labels in (example.champion, example.challenger))
        for axes, picture, heading in zip(row, (image, *overlays), HEADINGS, strict=True):
            draw_picture(axes, picture)
            draw_heading(axes, heading)
            _draw_outline(axes, example.mask)
        draw_scale_bar(row[-1], example.pixel_size_um)
        # The name is longer than a picture is wide; it runs over the whole row.
        row[0].set_title(example.title, fontsize=6.5, pad=2, loc="left")
    return figure


def _draw_outline(axes: Axes, mask: NDArray[np.bool_]) -> None:
    """Draw a line around a mask, also where the mask ends at an edge of the picture."""
    height, width = mask.shape
    axes.contour(
        np.arange(-1, width + 1), np.arange(-1, height + 1), np.pad(mask, 1), [0.5], colors="white", linewidths=0.9
    )
    axes.set(xlim=(-1, width), ylim=(height, -1))
