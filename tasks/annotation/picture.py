"""A picture of what an annotator changed in a field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from tasks.annotation.comparison import Comparison
from tasks.nuclei.figures.pictures import display_grey, draw_picture, label_overlay
from tasks.nuclei.figures.style import DPI

# Okabe and Ito's, by what became of a nucleus; what was deleted is drawn as it was sent.
COLOURS = {
    "kept": (100, 100, 100),
    "changed": (86, 180, 233),
    "split": (230, 159, 0),
    "merged": (204, 121, 167),
    "deleted": (213, 94, 0),
    "added": (0, 190, 130),
    "reclassified": (240, 228, 66),
}
_PANEL_WIDTH_INCH = 3.2
_TITLE_AND_LEGEND_INCH = 0.62
_LONGEST_SIDE_PX = 1200


def comparison_figure(
    image: NDArray[np.number],
    sent: NDArray[np.integer],
    returned: NDArray[np.integer],
    comparison: Comparison,
    title: str,
) -> Figure:
    """Draw a field, (y, x) arrays of one shape, as it was sent, as it came back, and what was changed."""
    step = max(1, round(max(image.shape) / _LONGEST_SIDE_PX))
    grey = display_grey(image)[::step, ::step]
    sent, returned = sent[::step, ::step], returned[::step, ::step]
    pictures = {
        "Sent": label_overlay(grey, sent),
        "Returned": label_overlay(grey, returned),
        "Changes": changes_overlay(grey, sent, returned, comparison),
    }
    height = _PANEL_WIDTH_INCH * image.shape[0] / image.shape[1] + _TITLE_AND_LEGEND_INCH
    figure = Figure(figsize=(len(pictures) * _PANEL_WIDTH_INCH, height), dpi=DPI, layout="constrained")
    figure.suptitle(title, fontsize=10)
    for axes, (name, picture) in zip(figure.subplots(1, len(pictures)), pictures.items(), strict=True):
        axes.set_title(name, fontsize=10)
        draw_picture(axes, picture)
    counts = comparison.counts()
    legend: list[Artist] = [
        Patch(facecolor=(colour[0] / 255, colour[1] / 255, colour[2] / 255), label=f"{counts[kind]} {kind}")
        for kind, colour in COLOURS.items()
    ]
    figure.legend(handles=legend, loc="outside lower right", ncols=len(legend), frameon=False, fontsize=8)
    return figure


def changes_overlay(
    grey: NDArray[np.uint8], sent: NDArray[np.integer], returned: NDArray[np.integer], comparison: Comparison
) -> NDArray[np.uint8]:
    """Give a (y, x, 3) picture: nuclei that came back in the colour of what became of them, with dark outlines."""
    picture = np.repeat(grey[..., np.newaxis], 3, axis=2) // 2
    kept = [comparison.partner[number] for number in comparison.kept]
    changed, reclassified = (
        [comparison.partner[number] for number in numbers] for numbers in (comparison.changed, comparison.reclassified)
    )
    parts = [part for parts in comparison.split.values() for part in parts]
    for labels, kind, numbers in (
        (sent, "deleted", comparison.deleted),
        (returned, "kept", kept),
        (returned, "reclassified", reclassified),
        (returned, "changed", changed),
        (returned, "split", parts),
        (returned, "merged", comparison.merged),
        (returned, "added", comparison.added),
    ):
        _colour(picture, labels, numbers, COLOURS[kind])
    return picture


def _colour(
    picture: NDArray[np.uint8], labels: NDArray[np.integer], numbers: Iterable[Any], colour: tuple[int, int, int]
) -> None:
    shown = np.where(np.isin(labels, list(numbers)), labels, 0)
    if shown.any():
        picture[shown > 0] = (picture[shown > 0] + np.array(colour, np.uint16)) // 2
        picture[find_boundaries(shown, mode="inner")] = colour
