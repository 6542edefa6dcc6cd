"""Figures: F1 curves, error rates, panels that show where the errors are; heat maps and an overview of a plate;
scores of all versions on all plates; drift.

All draw on a `Figure` of their own (no state of pyplot), so that threads may draw at once; save with
`figure.savefig(path)`. Colours are told apart with the usual kinds of colour blindness too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import find_boundaries

from tasks.nuclei.scoring import iou_pairs

OBJECT_LEVEL_IOU = 0.7
SCALE_BAR_UM = 20

# Okabe and Ito's palette; blue, orange, ... for lines and bars on white.
LINE_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
LINE_STYLES = ("-", "--", "-.", ":")
POOLED_COLOUR = "#222222"

INSTANCE_COLOURS = np.array(
    [[86, 180, 233], [230, 159, 0], [0, 190, 130], [240, 228, 66], [225, 140, 190], [235, 110, 30]], np.uint8
)
# Warm, because magenta looks blue to those who don't see red or green.
MISSED_COLOURS = np.array([[240, 228, 66], [240, 160, 0], [150, 215, 60], [255, 200, 120]], np.uint8)
DIFFERENCE_COLOUR = np.array([255, 0, 255], np.uint8)

_PANEL_WIDTH_INCH = 3.2
_TITLE_AND_LEGEND_INCH = 0.62
_GAP_INCH = 0.12
_DPI = 130
_CROP_IN_DIAMETERS = 7

OUTLINE_COLOUR = np.array([255, 190, 0], np.uint8)
NO_DATA_COLOUR = "#8a8a8a"
_WELL_INCH = 0.3
_OVERVIEW_COLUMNS = 4
_STRIP_COLOURS = {"#D55E00": "a field of this plate", "#0072B2": "a field of a training plate"}
_USUAL_COLOUR = "#e9edf1"
_TILE_INCH = 3.4
_CELL_WIDTH_INCH, _CELL_HEIGHT_INCH = 0.5, 0.34
_LETTER_INCH = 0.065


class F1Curve(NamedTuple):
    """F1 of one cell line with its 95 % interval, one entry per IoU threshold."""

    name: str
    iou_thresholds: Sequence[float]
    f1: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


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


class Strip(NamedTuple):
    """One measure of every field of view, plate by plate."""

    title: str
    unit: str
    values: Mapping[str, Sequence[float]]
    """By plate."""
    usual: tuple[float, float]
    """Between these, a plate isn't far out."""


class OverviewTile(NamedTuple):
    title: str
    picture: NDArray[np.uint8]
    """(y, x, 3)"""


class ErrorMasks(NamedTuple):
    """Which pixels are wrong: boolean (y, x), nowhere both true."""

    missed: NDArray[np.bool_]
    """Whole false negatives."""
    differing: NDArray[np.bool_]
    """Of all others, where truth and prediction differ: edges of hits, and false positives."""


class NucleusExample(NamedTuple):
    """The surroundings of a true nucleus that one of two models finds; all arrays (y, x) of one shape."""

    title: str
    grey: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    """The nucleus, by its true label."""
    champion: NDArray[np.integer]
    challenger: NDArray[np.integer]


class Window(NamedTuple):
    """A square part of a fov, in px."""

    y: int
    x: int
    side: int

    def of(self, image: NDArray) -> NDArray:
        return image[self.y : self.y + self.side, self.x : self.x + self.side]


def f1_figure(curves: Sequence[F1Curve], pooled: F1Curve | None = None) -> Figure:
    """Draw F1 against the IoU threshold, lines with their 95 % bands, and the pooled one if there are several."""
    figure = Figure(figsize=(8, 4.6), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    colours = _colours([curve.name for curve in curves])
    for number, curve in enumerate(curves):
        style = LINE_STYLES[number // len(LINE_COLOURS) % len(LINE_STYLES)]
        _draw_curve(axes, curve, colours[curve.name], style)
    if pooled and len(curves) > 1:
        _draw_curve(axes, pooled, POOLED_COLOUR, "--")
    axes.axvline(OBJECT_LEVEL_IOU, color="#777777", linestyle=(0, (6, 4)), linewidth=1, zorder=0)
    axes.annotate(
        "object level", (OBJECT_LEVEL_IOU, 0.02), (-4, 0), textcoords="offset points", ha="right", color="#555555"
    )
    axes.set(xlim=(0.05, 0.95), ylim=(0, 1.02), xlabel="IoU threshold", ylabel="F1", xticks=np.arange(1, 10) / 10)
    axes.grid(color="#e4e4e4")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def error_rate_figure(rates: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw a row of bar plots, one per kind of error, as the paper's Fig. S3.

    `rates` holds for each kind of error the errors per true nucleus of each cell line; every kind has
    an axis of its own.
    """
    names = list(next(iter(rates.values())))
    figure = Figure(figsize=(10, 1.2 + 0.34 * len(names)), dpi=_DPI, layout="constrained")
    all_axes = figure.subplots(1, len(rates), sharey=True, squeeze=False)[0]
    colours = _colours(names)
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


def error_panel(
    image: NDArray[np.number],
    true_labels: NDArray[np.integer],
    predicted_labels: NDArray[np.integer],
    pixel_size_um: float,
    title: str,
) -> Figure:
    """Draw a fov as image, truth, prediction and errors at an IoU of 0.7, as in the paper's Fig. 5A.

    All three are (y, x) of one shape. Of a large fov the part with most errors is drawn once more below.
    """
    grey = display_grey(image)
    errors = error_masks(true_labels, predicted_labels, OBJECT_LEVEL_IOU)
    pictures = {
        "Image": np.repeat(grey[..., np.newaxis], 3, axis=2),
        "Truth": label_overlay(grey, true_labels),
        "Prediction": label_overlay(grey, predicted_labels),
        "Errors": error_overlay(grey, true_labels, errors),
    }
    window = telling_window(errors, _crop_side_px(true_labels))
    rows = 1 if window is None else 2
    heights = [_PANEL_WIDTH_INCH * image.shape[0] / image.shape[1], _PANEL_WIDTH_INCH][:rows]
    size = (len(pictures) * _PANEL_WIDTH_INCH, sum(heights) + _TITLE_AND_LEGEND_INCH + rows * _GAP_INCH)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    figure.suptitle(title, fontsize=10)
    all_axes = figure.subplots(rows, len(pictures), squeeze=False, height_ratios=heights)
    for column, (name, picture) in enumerate(pictures.items()):
        all_axes[0, column].set_title(name, fontsize=10)
        _draw_picture(all_axes[0, column], picture)
        if window is not None:
            _outline(all_axes[0, column], window)
            _draw_picture(all_axes[1, column], window.of(picture))
    for axes in all_axes[:, -1]:
        _draw_scale_bar(axes, pixel_size_um)
    legend: list[Artist] = [
        Patch(facecolor=_hex(MISSED_COLOURS[0]), label="missed nuclei, whole (yellow to green)"),
        Patch(facecolor=_hex(DIFFERENCE_COLOUR), label="elsewhere: pixels in which truth and prediction differ"),
    ]
    figure.legend(handles=legend, loc="outside lower right", ncols=2, frameon=False, fontsize=8)
    return figure


def plate_heat_maps(
    maps: Sequence[HeatMap], row_names: Sequence[str], column_names: Sequence[str], title: str, model: str
) -> Figure:
    """Draw a plate once for each measure, one below the other; wells without data are white and crossed."""
    width = 1.6 + _WELL_INCH * len(column_names)
    height = 0.8 + len(maps) * (0.7 + _WELL_INCH * len(row_names))
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    figure.suptitle(title, fontsize=10, wrap=True)
    for axes, heat_map in zip(figure.subplots(len(maps), squeeze=False)[:, 0], maps, strict=True):
        _draw_heat_map(axes, heat_map, row_names, column_names)
    figure.supxlabel(f"Segmented with {model}", fontsize=7, wrap=True)
    return figure


def matrix_figure(
    matrices: Sequence[ScoreMatrix], versions: Sequence[str], plates: Sequence[str], cell_lines: Sequence[str]
) -> Figure:
    """Draw a heat map for each matrix, with the numbers; `cell_lines` holds that of each plate, equal ones together.

    Numbers of what was forgotten have the drop below them. High matrices are side by side, wide ones one below the
    other.
    """
    rows, columns = (1, len(matrices)) if len(versions) > len(plates) else (len(matrices), 1)
    labels = [_LETTER_INCH * max(map(len, names)) for names in (versions, plates, cell_lines)]
    width = columns * (_CELL_WIDTH_INCH * len(plates) + labels[0] + 1.1)
    height = rows * (_CELL_HEIGHT_INCH * len(versions) + labels[1] + labels[2] + 0.7) + 0.4
    figure = Figure(figsize=(max(width, 4), height), dpi=_DPI, layout="constrained")
    for axes, matrix in zip(figure.subplots(rows, columns, squeeze=False).ravel(), matrices, strict=True):
        _draw_matrix(axes, matrix, versions, plates)
        _draw_groups(axes, cell_lines)
    figure.supxlabel("below F1: drop against the best earlier version; x: not known", fontsize=7, wrap=True)
    return figure


def overview_picture(image: NDArray[np.number], label_image: NDArray[np.integer], side_px: int) -> NDArray[np.uint8]:
    """Give the middle of a fov, (side, side, 3) or smaller, with the outline of every nucleus just inside it."""
    grey = display_grey(image)
    y, x = (max(0, (size - side_px) // 2) for size in image.shape)
    window = Window(y, x, side_px)
    picture = np.repeat(window.of(grey)[..., np.newaxis], 3, axis=2)
    picture[window.of(find_boundaries(label_image, mode="inner"))] = OUTLINE_COLOUR
    return picture


def overview_figure(tiles: Sequence[OverviewTile], pixel_size_um: float, title: str, model: str) -> Figure:
    """Draw pictures of one size, four a row."""
    columns = min(len(tiles), _OVERVIEW_COLUMNS)
    rows = -(-len(tiles) // columns)
    height, width = tiles[0].picture.shape[:2]
    tile_height = _TILE_INCH * height / width + 0.2
    figure = Figure(figsize=(columns * _TILE_INCH, rows * tile_height + 0.5), dpi=_DPI, layout="constrained")
    figure.suptitle(title, fontsize=10, wrap=True)
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in all_axes:
        axes.set_axis_off()
    for axes, tile in zip(all_axes, tiles, strict=False):
        axes.set_title(tile.title, fontsize=8)
        axes.imshow(tile.picture)
    _draw_scale_bar(all_axes[len(tiles) - 1], pixel_size_um)
    figure.supxlabel(f"Segmented with {model}", fontsize=7, wrap=True)
    return figure


def examples_figure(examples: Sequence[NucleusExample], title: str) -> Figure:
    """Draw a row an example: the image, and what the champion and the challenger make of it, the nucleus outlined."""
    side = 1.8
    figure = Figure(figsize=(3 * side, len(examples) * (side + 0.25) + 0.7), dpi=_DPI, layout="constrained")
    figure.suptitle(title, fontsize=9)
    all_axes = figure.subplots(len(examples), 3, squeeze=False)
    for example, row in zip(examples, all_axes, strict=True):
        image = np.repeat(example.grey[..., np.newaxis], 3, axis=2)
        overlays = (label_overlay(example.grey, labels) for labels in (example.champion, example.challenger))
        for axes, picture in zip(row, (image, *overlays), strict=True):
            _draw_picture(axes, picture)
            _draw_outline(axes, example.mask)
        # The name is longer than a picture is wide; it has the row for itself.
        row[0].set_title(example.title, fontsize=6.5, pad=2, loc="left")
    for axes, name in zip(all_axes[-1], ("image", "champion", "challenger"), strict=True):
        axes.text(0.5, -0.04, name, transform=axes.transAxes, ha="center", va="top", fontsize=8)
    return figure


def strip_figure(strips: Sequence[Strip], plates: Sequence[str]) -> Figure:
    """Draw a strip plot a measure, two a row: a line a plate, a point a field; the first of `plates` stands out."""
    rows = -(-len(strips) // 2)
    size = (10, 0.8 + rows * (0.9 + 0.26 * len(plates)))
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    all_axes = figure.subplots(rows, 2, sharey=True, squeeze=False).ravel()
    for axes in all_axes[len(strips) :]:
        axes.set_axis_off()
    for axes, strip in zip(all_axes, strips, strict=False):
        _draw_strip(axes, strip, plates)
    all_axes[0].set_ylim(len(plates) - 0.5, -0.5)
    legend = [Line2D([], [], color=c, marker="o", linestyle="", label=t) for c, t in _STRIP_COLOURS.items()]
    band = Patch(facecolor=_USUAL_COLOUR, label="not far out")
    figure.legend(handles=[*legend, band], loc="outside lower right", ncols=3, frameon=False, fontsize=8)
    return figure


def window_around(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Give a square part of a (y, x) image around a nucleus, three times as long as it, or as long as the image has."""
    y, x = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    side = min(3 * int(max(y[-1] - y[0], x[-1] - x[0]) + 1), *mask.shape)
    first = (int(np.clip((p[0] + p[-1] - side) // 2, 0, n - side)) for p, n in zip((y, x), mask.shape, strict=True))
    y0, x0 = first
    return slice(y0, y0 + side), slice(x0, x0 + side)


def display_grey(image: NDArray[np.number]) -> NDArray[np.uint8]:
    """Stretch a (y, x) image so that all but the darkest 0.5 % and the brightest 0.2 % of pixels keep their detail."""
    low, high = np.percentile(image, [0.5, 99.8])
    stretched = (image.astype(np.float32) - low) / max(high - low, 1)
    return (255 * np.clip(stretched, 0, 1)).astype(np.uint8)


def label_overlay(grey: NDArray[np.uint8], label_image: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Give a (y, x, 3) picture with every nucleus in a colour over its own texture, edges dark."""
    return _tinted(grey, label_image, label_image > 0, INSTANCE_COLOURS)


def error_masks(
    true_labels: NDArray[np.integer], predicted_labels: NDArray[np.integer], iou_threshold: float
) -> ErrorMasks:
    """Find the wrong pixels of two (y, x) label images. `iou_threshold` is at least 0.5, so that matches are unique."""
    pairs = iou_pairs(true_labels, predicted_labels)
    hits = pairs.iou >= iou_threshold
    partner = np.zeros(len(pairs.true_ids) + 1, np.int64)
    partner[pairs.true_position[hits] + 1] = pairs.predicted_ids[pairs.predicted_position[hits]]
    position = np.searchsorted(pairs.true_ids, true_labels) + 1
    expected_labels = partner[np.where(true_labels > 0, position, 0)]
    missed = (true_labels > 0) & (expected_labels == 0)
    return ErrorMasks(missed, (predicted_labels != expected_labels) & ~missed)


def error_overlay(grey: NDArray[np.uint8], true_labels: NDArray[np.integer], errors: ErrorMasks) -> NDArray[np.uint8]:
    """Give a (y, x, 3) picture: missed nuclei whole and in colours, other differing pixels in magenta."""
    picture = _tinted(grey, true_labels, errors.missed, MISSED_COLOURS)
    picture[errors.differing] = DIFFERENCE_COLOUR
    return picture


def telling_window(errors: ErrorMasks, side_px: int) -> Window | None:
    """Find the square with most wrong pixels; None where it would show more than half of the fov's width or height."""
    wrong = (errors.missed | errors.differing).astype(np.float32)
    if 2 * side_px > min(wrong.shape):
        return None
    share = ndimage.uniform_filter(wrong, side_px, mode="constant")
    half = side_px // 2
    inside = share[half : wrong.shape[0] - side_px + half + 1, half : wrong.shape[1] - side_px + half + 1]
    y, x = np.unravel_index(np.argmax(inside), inside.shape)
    return Window(int(y), int(x), side_px)


def _crop_side_px(true_labels: NDArray[np.integer]) -> int:
    """Give seven diameters of a typical nucleus."""
    areas = np.unique(true_labels[true_labels > 0], return_counts=True)[1]
    typical_area = float(np.median(areas)) if len(areas) else 400.0
    return max(64, round(_CROP_IN_DIAMETERS * 2 * np.sqrt(typical_area / np.pi)))


def _tinted(
    grey: NDArray[np.uint8], label_image: NDArray[np.integer], mask: NDArray[np.bool_], colours: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    picture = np.repeat(grey[..., np.newaxis], 3, axis=2)
    texture = 0.5 + 0.5 * grey[mask].astype(np.float32) / 255
    edges = find_boundaries(label_image, mode="inner")[mask]
    texture[edges] *= 0.45
    picture[mask] = colours[label_image[mask] % len(colours)] * texture[:, np.newaxis]
    return picture


def _hex(colour: NDArray[np.uint8]) -> str:
    return f"#{bytes(colour).hex()}"


def _colours(names: Sequence[str]) -> dict[str, str]:
    return {name: LINE_COLOURS[number % len(LINE_COLOURS)] for number, name in enumerate(names)}


def _draw_curve(axes: Axes, curve: F1Curve, colour: str, style: str) -> None:
    axes.fill_between(curve.iou_thresholds, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(curve.iou_thresholds, curve.f1, color=colour, linestyle=style, linewidth=1.8, label=curve.name)


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
    """Name rows and columns of a heat map, the columns above it, and part its cells by white lines."""
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
        text = f"{f1:.2f}" + (f"\n{-drop:.2f}" if drop >= 0.01 else "")
        colour = "black" if f1 > low + 0.55 * (high - low) else "white"
        axes.text(column, row, text, color=colour, fontsize=7, ha="center", va="center", linespacing=1.0)
    axes.figure.colorbar(picture, ax=axes, pad=0.02).ax.tick_params(labelsize=7)


def _draw_groups(axes: Axes, names: Sequence[str]) -> None:
    """Write the name of each group of neighbouring columns below it, upright where it is too narrow, and part them."""
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


def _draw_strip(axes: Axes, strip: Strip, plates: Sequence[str]) -> None:
    axes.axvspan(*strip.usual, color=_USUAL_COLOUR, linewidth=0, zorder=0)
    first, others = _STRIP_COLOURS
    for line, plate in enumerate(plates):
        values = np.sort(strip.values.get(plate, ()))
        # Points of like fields would hide each other on one line.
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


def _draw_picture(axes: Axes, picture: NDArray[np.uint8]) -> None:
    axes.imshow(picture)
    axes.set_axis_off()


def _draw_outline(axes: Axes, mask: NDArray[np.bool_]) -> None:
    """Around a mask, also where it ends at an edge of the picture."""
    height, width = mask.shape
    axes.contour(
        np.arange(-1, width + 1), np.arange(-1, height + 1), np.pad(mask, 1), [0.5], colors="white", linewidths=0.9
    )
    axes.set(xlim=(-1, width), ylim=(height, -1))


def _outline(axes: Axes, window: Window) -> None:
    axes.add_patch(
        Rectangle((window.x, window.y), window.side, window.side, fill=False, edgecolor="white", linewidth=1)
    )


def _draw_scale_bar(axes: Axes, pixel_size_um: float) -> None:
    width, height = axes.get_xlim()[1], axes.get_ylim()[0]
    length = SCALE_BAR_UM / pixel_size_um
    right, y = 0.96 * width, 0.95 * height
    axes.add_patch(
        Rectangle(
            (right - length, y - 0.014 * height),
            length,
            0.014 * height,
            facecolor="white",
            edgecolor="black",
            linewidth=0.5,
        )
    )
    text = axes.text(
        right, y - 0.025 * height, f"{SCALE_BAR_UM} µm", color="white", fontsize=7, ha="right", va="bottom"
    )
    text.set_path_effects([withStroke(linewidth=1.5, foreground="black")])
