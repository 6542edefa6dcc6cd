"""The tables of a matrix in the paper's form: a row for each set of words, a column per cell line and threshold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from tasks.nuclei.scoring import f1_score
from tasks.nuclei.tables import read_csv
from tasks.steps.experiments.data import ERRORS, OWN, TESTING, WORD, Data

PUBLISHED = Path(__file__).with_name("published")
PAPER_PLATES = frozenset(("MCF10A_Biological", "HCT116_Biological", "U2OS_Technical", "Eosinophils_Technical"))
PAPER_TRAINING_PLATES = frozenset(f"{line}_Original" for line in ("MCF10A", "HCT116", "U2OS", "Eosinophils"))
"""Names of the plates that `tasks.recipes.paper_plates` makes: only with them a difference to the paper means much."""
PAPER_ORDER = ("MCF10A", "U2OS", "HCT116", "Eosinophils")
"""Of the cell lines, as in its figures; others come behind."""
CONFIDENCE = 0.95
BY_VARIANT = {"annotations": "labels", "training": "role"}
"""Column of the scores that tells apart what a kind of table compares besides its rows."""


class Mean(NamedTuple):
    """Of replicates, with the 95 % confidence interval of the mean; NaN for one alone."""

    f1: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Cell:
    """F1 of a row for a cell line at an IoU threshold."""

    value: Mean
    is_best: bool = False
    published: float | None = None
    is_on_paper_plates: bool = False
    values: tuple[float, ...] = ()
    """Of each replicate."""
    own_proposals: int = 0
    """Labels that these models proposed themselves."""

    @property
    def difference(self) -> float | None:
        """Ours less the published one, where the plates are the paper's."""
        if self.published is None or not self.is_on_paper_plates:
            return None
        return self.value.f1 - self.published


class Column(NamedTuple):
    """What a column of numbers is of."""

    cell_line: str
    iou_threshold: float

    def __str__(self) -> str:
        return f"{self.cell_line} / {self.iou_threshold:g}"


@dataclass(frozen=True)
class Row:
    """A set of words, perhaps with the labels or images that it was scored on."""

    words: tuple[str, ...]
    variant: str
    weights: str
    """Why it runs without its pretrained weights; empty if it doesn't."""
    cells: dict[Column, Cell]

    @property
    def name(self) -> str:
        return " / ".join(self.words)


@dataclass(frozen=True)
class Table:
    """A table of F1."""

    name: str
    title: str
    by: tuple[str, ...]
    """Titles of the words."""
    kind: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def is_flattered(self) -> bool:
        """Whether models proposed some of the labels themselves, which makes their F1 too good."""
        return any(cell.own_proposals for row in self.rows for cell in row.cells.values())

    def frame(self) -> pd.DataFrame:
        """Give one row for each row and column of the table, for CSV."""
        return pd.DataFrame(
            {
                **dict(zip(self.by, row.words, strict=True)),
                **({"variant": row.variant} if row.variant else {}),
                "cell_line": column.cell_line,
                "iou_threshold": column.iou_threshold,
                "f1": cell.value.f1,
                **({"low": cell.value.low, "high": cell.value.high} if self.kind == "replicates" else {}),
                "replicates": cell.value.n,
                "is_best": cell.is_best,
                "published": cell.published,
                "difference": cell.difference,
                "without_weights": row.weights,
                OWN: cell.own_proposals,
            }
            for row in self.rows
            for column, cell in row.cells.items()
        )


def cell_lines_in_order(cell_lines: Sequence[str]) -> list[str]:
    """Give each once, as the paper orders them, others behind by name."""
    known = [name for name in PAPER_ORDER if name in set(cell_lines)]
    return [*known, *sorted(set(cell_lines) - set(known))]


def mean_of(values: Sequence[float]) -> Mean:
    """Give the mean with its interval by Student's t, as the paper's Table 7."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Mean(mean, np.nan, np.nan, n)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Mean(mean, mean - half, mean + half, n)


def with_f1(scores: pd.DataFrame) -> pd.DataFrame:
    """Add F1 to counts."""
    return scores.assign(f1=f1_score(scores["tp"].to_numpy(), scores["fp"].to_numpy(), scores["fn"].to_numpy()))


def rows_of(spec: Mapping[str, Any], data: Data, words: Sequence[str]) -> pd.DataFrame:
    """Give the scores that a table shows, with a column `variant`; of replicates the first unless it shows all.

    `words` are the names of the matrix's columns.
    """
    kind, keys = spec.get("kind", "f1"), [f"{WORD}{name}" for name in words]
    wanted = {tuple(row): number for number, row in enumerate(spec["rows"])}
    numbered = zip(*(data.scores[name].astype(str) for name in [*keys, "replicate"]), strict=True)
    ordered = data.scores.assign(order=[wanted.get(key, -1) for key in numbered])
    scores = with_f1(ordered[ordered["order"] >= 0].sort_values("order", kind="stable"))
    if kind != "replicates":
        scores = scores[scores["replicate"] == 1]
    if kind != "training":
        scores = scores[scores["role"] == TESTING]
    if kind != "annotations":
        scores = scores[scores["is_counting"]]
    variant = scores[BY_VARIANT[kind]] if kind in BY_VARIANT else pd.Series("", index=scores.index)
    return scores.assign(variant=variant)


def table_of(spec: Mapping[str, Any], data: Data, axes: Mapping[str, str], published: str | None) -> Table:
    """Give a table by what the matrix says of it; `axes` are titles of the matrix's columns by their names."""
    scores = rows_of(spec, data, list(axes))
    columns = tuple(
        Column(line, at) for line in cell_lines_in_order(list(scores["cell_line"])) for at in spec.get("at", [0.7])
    )
    by = [f"{WORD}{name}" for name in spec["by"]]
    known = published_f1(published, spec["name"])
    rows = [
        _row(tuple(str(word) for word in key[:-1]), str(key[-1]), of_row, columns, known)
        for key, of_row in scores.groupby([*by, "variant"], sort=False)
    ]
    titles = tuple(axes[name] for name in spec["by"])
    kind = spec.get("kind", "f1")
    return Table(spec["name"], spec.get("title", ""), titles, kind, columns, tuple(_with_best(rows, columns)))


def _row(
    words: tuple[str, ...],
    variant: str,
    scores: pd.DataFrame,
    columns: Sequence[Column],
    known: Mapping[tuple[str, str, Column], float],
) -> Row:
    cells = {}
    for column in columns:
        # The thresholds are the floats nearest to the decimals, here and there.
        at = scores[(scores["cell_line"] == column.cell_line) & (scores["iou_threshold"] == column.iou_threshold)]
        if len(at):
            plates = set(" ".join(at["plates"]).split(" "))
            values = tuple(at["f1"].astype(float))
            published = known.get((" / ".join(words), variant, column))
            on_paper = plates <= PAPER_PLATES or plates <= PAPER_TRAINING_PLATES
            cells[column] = Cell(mean_of(values), False, published, on_paper, values, int(at[OWN].sum()))
    return Row(words, variant, "; ".join(sorted(set(scores["weights"]) - {""})), cells)


def _with_best(rows: Sequence[Row], columns: Sequence[Column]) -> Iterator[Row]:
    """Mark the best of each column; several if they are equal to three digits, as they are shown."""
    best = {
        column: round(max((row.cells[column].value.f1 for row in rows if column in row.cells), default=0), 3)
        for column in columns
    }
    for row in rows:
        cells = {
            column: replace(cell, is_best=len(rows) > 1 and round(cell.value.f1, 3) == best[column])
            for column, cell in row.cells.items()
        }
        yield replace(row, cells=cells)


def errors_of(spec: Mapping[str, Any], data: Data, words: Sequence[str], published: str | None) -> pd.DataFrame:
    """Give one row for each row of a table, cell line and kind of error: counts at an IoU of 0.7, and percent.

    Percent are of the true nuclei, as in the paper's Fig. S3, whose own ones stand beside.
    """
    keys = ["experiment", "role", "cell_line"]
    shown = rows_of(spec, data, words)[[*keys, "order"]].drop_duplicates()
    errors = shown.merge(data.errors, on=keys).sort_values("order", kind="stable")
    rows = errors[[f"{WORD}{name}" for name in spec["by"]]].astype(str).agg(" / ".join, axis=1)
    long = errors.assign(row=rows).melt(
        ["row", "cell_line", "true_nuclei"], list(ERRORS), var_name="error", value_name="count"
    )
    known = _published_errors(published)
    beside = [known.get(key, np.nan) for key in zip(long["row"], long["cell_line"], long["error"], strict=True)]
    return long.assign(
        percent=100 * long["count"] / long["true_nuclei"].clip(lower=1), published_percent=np.array(beside, float)
    )


def _published_errors(source: str | None) -> dict[tuple[str, str, str], float]:
    """Give published errors in percent by model, cell line and kind."""
    if source is None:
        return {}
    rows = read_csv(PUBLISHED / f"{source}_errors.csv", dtype=dict.fromkeys(("model", "cell_line"), str))
    names = {"FP": "false_positives", "FN": "false_negatives", "merges": "merges", "splits": "splits"}
    return {
        (row["model"], row["cell_line"], error): 100 * row[name] / row["total"]
        for row in rows.to_dict("records")
        for name, error in names.items()
    }


def published_f1(source: str | None, table: str) -> dict[tuple[str, str, Column], float]:
    """Give published F1 by row, variant and column."""
    if source is None:
        return {}
    rows = read_csv(PUBLISHED / f"{source}.csv", dtype=dict.fromkeys(("row", "variant", "cell_line"), str))
    of_table = rows[rows["table"] == table].to_dict("records")
    # An empty variant is text.
    return {
        (row["row"], row["variant"], Column(row["cell_line"], row["iou_threshold"])): float(row["f1"])
        for row in of_table
    }
