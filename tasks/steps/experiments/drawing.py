"""The figures of a matrix, each by the form that the matrix names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from tasks.nuclei.figures.facets import (
    CostPoint,
    Dot,
    Interval,
    bar_facets,
    cost_figure,
    curve_facets,
    dot_facets,
    replicate_facets,
)
from tasks.nuclei.figures.model_panels import ShownField, model_panels
from tasks.nuclei.shared_proposals import MARK
from tasks.steps.experiments.data import SHARED, WORD, Data
from tasks.steps.experiments.panels import PanelField
from tasks.steps.experiments.tables import Row, Table, cell_lines_in_order, errors_of, rows_of

ERROR_PANELS = {
    "A": ("false_positives", "% of False Positives"),
    "B": ("false_negatives", "% of False Negatives"),
    "C": ("merges", "% of Merges"),
    "D": ("splits", "% of Splits"),
}
"""As in the paper's Fig. S3."""
NO_SECOND_SET = "no plate has a second label set"
NO_PICTURE = "no picture of a test field was kept"
NO_WEIGHTS = "‡"
"""Marks what ran without the pretrained weights that it asks for."""
LEGEND_OF_VARIANT = {"annotations": "Annotation", "training": "Dataset"}


def figures_of(
    spec: Mapping[str, Any], table: Table, data: Data, fields: Sequence[PanelField], axes: Mapping[str, str]
) -> Iterator[tuple[str, Figure | str]]:
    """Give the figures of a table with their names; of one for which there is nothing to draw, the reason."""
    scores = rows_of(spec, data, list(axes))
    for name, form in (spec.get("figures") or {}).items():
        if form == "curves":
            yield name, _curves(spec, scores)
        elif form == "dots":
            yield name, dot_facets(_dots(table), _x_title(table), table.by[0], table.columns[0].iou_threshold)
        elif form == "replicates":
            yield (
                name,
                replicate_facets(
                    _dots(table), _intervals(table), _x_title(table), table.by[0], table.columns[0].iou_threshold
                ),
            )
        elif form == "errors":
            yield from _errors(name, spec, errors_of(spec, data, list(axes), None))
        elif form == "panels":
            shown = _shown_fields(spec, scores, fields)
            yield name, model_panels(shown) if shown else _lacking_labels(spec)
        else:
            yield name, _agreement(data.agreement) if len(data.agreement) else NO_SECOND_SET


def _lacking_labels(spec: Mapping[str, Any]) -> str:
    return NO_SECOND_SET if spec.get("kind") == "annotations" else NO_PICTURE


def cost_of_all(data: Data, by: str, legend: str) -> Figure:
    """Draw F1 against CPU hours, coloured by a column of the matrix; hours of GPUs are named as left out."""
    groups = data.scores.drop_duplicates("experiment").set_index("experiment")[f"{WORD}{by}"]
    known = data.costs.dropna(subset=["f1_at_0.7", "cpu_hours"])
    points = [
        CostPoint(row["experiment"], str(groups[row["experiment"]]), float(row["cpu_hours"]), float(row["f1_at_0.7"]))
        for row in known.to_dict("records")
    ]
    x_title = "CPU hours; GPU hours are not in it" if data.costs["gpu_seconds"].sum() > 0 else "CPU hours"
    return cost_figure(points, x_title, legend)


def _curves(spec: Mapping[str, Any], scores: pd.DataFrame) -> Figure:
    """Draw a line for each cell line in a panel for each row, or where labels or images are compared one for each."""
    rows = pd.Series([_marked_name(spec, one) for one in scores.to_dict("records")], scores.index, str)
    compared = spec.get("kind") in LEGEND_OF_VARIANT
    panels: dict[tuple[str, str], dict[str, dict[float, float]]] = {}
    of_cell_lines = cell_lines_in_order(list(scores["cell_line"]))
    for cell_line in of_cell_lines:
        for row in dict.fromkeys(rows):
            own = scores[(scores["cell_line"] == cell_line) & (rows == row)]
            for variant, of_line in own.groupby("variant", sort=True):
                panel = (cell_line, row) if compared else ("", row)
                line = str(variant) if compared else cell_line
                curve = dict(zip(of_line["iou_threshold"], of_line["f1"], strict=True))
                panels.setdefault(panel, {})[line] = curve
    return curve_facets(panels, LEGEND_OF_VARIANT.get(spec.get("kind", ""), "Cell Line"))


def _shown_fields(spec: Mapping[str, Any], scores: pd.DataFrame, fields: Sequence[PanelField]) -> list[ShownField]:
    """Give a row for each cell line with the labels that count, or with the others where labels are compared."""
    models = {one["experiment"]: _marked_name(spec, one) for one in scores.to_dict("records")}
    wanted = [field for field in fields if field.is_counting != (spec.get("kind") == "annotations")]
    several = len({field.labels for field in wanted}) > 1
    order = cell_lines_in_order([field.cell_line for field in wanted])
    return [
        ShownField(
            f"{field.cell_line}, {field.labels}" if several and not field.is_counting else field.cell_line,
            field.grey,
            field.true_labels,
            {models[name]: field.predicted[name] for name in models if name in field.predicted},
            field.pixel_size_um,
        )
        for field in sorted(wanted, key=lambda field: order.index(field.cell_line))
    ]


def _marked_name(spec: Mapping[str, Any], row: Mapping[Any, Any]) -> str:
    return _marked(" / ".join(str(row[f"{WORD}{name}"]) for name in spec["by"]), row["weights"])


def _marked(name: str, missing_weights: str) -> str:
    """Mark what ran without the pretrained weights that it asks for."""
    return f"{name} {NO_WEIGHTS}" if missing_weights else name


def _x_title(table: Table) -> str:
    return "/".join(table.by[1:]) or table.by[0]


def _x(row: Row) -> str:
    return "/".join(row.words[1:]) or row.words[0]


def _dots(table: Table) -> dict[str, list[Dot]]:
    """Give the dots of each cell line, in the table's order of rows."""
    lines = list(dict.fromkeys(column.cell_line for column in table.columns))
    return {line: [dot for row in table.rows for dot in _dots_of(row, line)] for line in lines}


def _dots_of(row: Row, cell_line: str) -> Iterator[Dot]:
    """Of several thresholds, the first is drawn."""
    cell = next((cell for column, cell in row.cells.items() if column.cell_line == cell_line), None)
    for value in cell.values if cell else ():
        yield Dot(_x(row), row.words[0], value, bool(row.weights))


def _intervals(table: Table) -> dict[str, list[Interval]]:
    found: dict[str, list[Interval]] = {}
    for row in table.rows:
        for column, cell in row.cells.items():
            mean = Interval(_x(row), row.words[0], cell.value.f1, cell.value.low, cell.value.high)
            found.setdefault(column.cell_line, []).append(mean)
    return found


def _errors(name: str, spec: Mapping[str, Any], errors: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """Draw four figures of bars."""
    names = [_marked(row, lacking) for row, lacking in zip(errors["row"], errors["without_weights"], strict=True)]
    errors = errors.assign(row=names)
    for letter, (error, title) in ERROR_PANELS.items():
        of_kind = errors[errors["error"] == error]
        panels = {
            line: dict(zip(rows["row"], rows["percent"], strict=True))
            for line in cell_lines_in_order(list(of_kind["cell_line"]))
            for rows in [of_kind[of_kind["cell_line"] == line]]
        }
        yield f"{name}{letter}", bar_facets(panels, title, " / ".join(spec["by"]).capitalize())


def _agreement(agreement: pd.DataFrame) -> Figure:
    panels: dict[tuple[str, str], dict[str, dict[float, float]]] = {}
    for line in cell_lines_in_order(list(agreement["cell_line"])):
        for name, rows in agreement[agreement["cell_line"] == line].groupby("label_set", sort=False):
            curve = dict(zip(rows["iou_threshold"], rows["f1"], strict=True))
            shown = f"{name} {MARK}" if rows[SHARED].any() else str(name)
            panels.setdefault(("", line), {})[shown] = curve
    return curve_facets(panels, "Label Set")


def file_name(figure: str) -> str:
    """Give the name of a figure's or a table's file, without its extension: letters, digits, dot and hyphen."""
    words: Sequence[str] = figure.replace("/", " ").split()
    return "_".join("".join(letter for letter in word if letter.isalnum() or letter in ".-_") for word in words)
