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
from tasks.steps.experiments.data import ERRORS, NO_PLATE, OWN, TESTING, WORD, Data

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


class Published(NamedTuple):
    """F1 of the paper, of replicates with the 95 % confidence interval of the mean; NaN elsewhere."""

    f1: float
    low: float = np.nan
    high: float = np.nan


@dataclass(frozen=True)
class Cell:
    """F1 of a row for a cell line at an IoU threshold."""

    value: Mean
    is_best: bool = False
    published: Published | None = None
    is_on_paper_plates: bool = False
    """Whether it was trained and scored on the paper's plates."""
    values: tuple[float, ...] = ()
    """Of each replicate."""
    own_proposals: int = 0
    """Labels that these models proposed themselves."""

    @property
    def difference(self) -> float | None:
        """Ours less the published one, where the plates are the paper's."""
        if self.published is None or not self.is_on_paper_plates:
            return None
        return self.value.f1 - self.published.f1


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
    scale: float | None = None
    """Of ROIs and cycles, by the paper's."""

    @property
    def is_flattered(self) -> bool:
        """Whether models proposed some of the labels themselves, which makes their F1 too good."""
        return any(cell.own_proposals for row in self.rows for cell in row.cells.values())

    def frame(self) -> pd.DataFrame:
        """Give one row for each row and column of the table, for CSV."""
        has_intervals = self.kind == "replicates"
        return pd.DataFrame(
            {
                **dict(zip(self.by, row.words, strict=True)),
                **({"variant": row.variant} if row.variant else {}),
                "cell_line": column.cell_line,
                "iou_threshold": column.iou_threshold,
                "f1": cell.value.f1,
                **({"low": cell.value.low, "high": cell.value.high} if has_intervals else {}),
                "replicates": cell.value.n,
                "is_best": cell.is_best,
                **_published_columns(cell.published, has_intervals),
                "difference": cell.difference,
                "scale": self.scale,
                "without_weights": row.weights,
                OWN: cell.own_proposals,
            }
            for row in self.rows
            for column, cell in row.cells.items()
        )


def _published_columns(published: Published | None, has_interval: bool) -> dict[str, float | None]:
    f1, low, high = published or (None, None, None)
    return {"published": f1, **({"published_low": low, "published_high": high} if has_interval else {})}


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


def all_scores_of(spec: Mapping[str, Any], data: Data, words: Sequence[str]) -> pd.DataFrame:
    """Give all scores of the experiments that a table names, in its order; `words` are those of `rows_of`."""
    keys = [f"{WORD}{name}" for name in words]
    wanted = {tuple(row): number for number, row in enumerate(spec["rows"])}
    numbered = zip(*(data.scores[name].astype(str) for name in [*keys, "replicate"]), strict=True)
    ordered = data.scores.assign(order=[wanted.get(key, -1) for key in numbered])
    return with_f1(ordered[ordered["order"] >= 0].sort_values("order", kind="stable"))


def rows_of(spec: Mapping[str, Any], data: Data, words: Sequence[str]) -> pd.DataFrame:
    """Give the scores that a table shows, with a column `variant`; of replicates the first unless it shows all.

    `words` are the names of the matrix's columns.
    """
    kind, scores = spec.get("kind", "f1"), all_scores_of(spec, data, words)
    if kind != "replicates":
        scores = scores[scores["replicate"] == 1]
    if kind != "training":
        scores = scores[scores["role"] == TESTING]
    if kind != "annotations":
        scores = scores[scores["is_counting"]]
    variant = scores[BY_VARIANT[kind]] if kind in BY_VARIANT else pd.Series("", index=scores.index)
    return scores.assign(variant=variant)


def table_of(
    spec: Mapping[str, Any], data: Data, axes: Mapping[str, str], published: str | None, scale: float | None = None
) -> Table:
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
    return Table(spec["name"], spec.get("title", ""), titles, kind, columns, tuple(_with_best(rows, columns)), scale)


def _row(
    words: tuple[str, ...],
    variant: str,
    scores: pd.DataFrame,
    columns: Sequence[Column],
    known: Mapping[tuple[str, str, Column], Published],
) -> Row:
    cells = {}
    for column in columns:
        # The thresholds are the floats nearest to the decimals, here and there.
        at = scores[(scores["cell_line"] == column.cell_line) & (scores["iou_threshold"] == column.iou_threshold)]
        if len(at):
            values = tuple(at["f1"].astype(float))
            published = known.get((" / ".join(words), variant, column))
            own = int(at[OWN].sum())
            cells[column] = Cell(mean_of(values), False, published, is_on_paper_plates(at), values, own)
    return Row(words, variant, "; ".join(sorted(set(scores["weights"]) - {""})), cells)


def is_on_paper_plates(scores: pd.DataFrame) -> bool:
    """Whether all of these were scored on the paper's test plates, or on its training plates, and trained on these."""
    scored, trained = (set(" ".join(scores[name]).split(" ")) for name in ("plates", "trained_on"))
    is_scored = scored <= PAPER_PLATES or scored <= PAPER_TRAINING_PLATES
    return is_scored and trained <= {*PAPER_TRAINING_PLATES, NO_PLATE}


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

    Percent are of the true nuclei, as in the paper's Fig. S3, whose own ones stand beside, with the difference in
    percentage points where the plates are the paper's.
    """
    keys = ["experiment", "role", "cell_line"]
    shown = rows_of(spec, data, words)[[*keys, "order", "plates", "trained_on"]].drop_duplicates()
    errors = shown.merge(data.errors, on=keys).sort_values("order", kind="stable")
    rows = errors[[f"{WORD}{name}" for name in spec["by"]]].astype(str).agg(" / ".join, axis=1)
    on_paper = [is_on_paper_plates(errors[number : number + 1]) for number in range(len(errors))]
    named = errors.assign(row=rows, on_paper=on_paper, without_weights=errors["weights"])
    kept = ["row", "without_weights", "cell_line", "true_nuclei", "on_paper"]
    long = named.melt(kept, list(ERRORS), var_name="error", value_name="count")
    known = _published_errors(published)
    beside = [known.get(key, np.nan) for key in zip(long["row"], long["cell_line"], long["error"], strict=True)]
    percent, of_paper = 100 * long["count"] / long["true_nuclei"].clip(lower=1), np.array(beside, float)
    difference = (percent - of_paper).where(long["on_paper"])
    compared = long.assign(percent=percent, published_percent=of_paper, difference=difference)
    return compared.drop(columns="on_paper")


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


def published_f1(source: str | None, table: str) -> dict[tuple[str, str, Column], Published]:
    """Give published F1 by row, variant and column."""
    if source is None:
        return {}
    rows = read_csv(PUBLISHED / f"{source}.csv", dtype=dict.fromkeys(("row", "variant", "cell_line"), str))
    of_table = rows[rows["table"] == table].to_dict("records")
    # An empty variant is text.
    return {
        (row["row"], row["variant"], Column(row["cell_line"], row["iou_threshold"])): Published(
            float(row["f1"]), float(row["low"]), float(row["high"])
        )
        for row in of_table
    }


def images_of(plates: pd.DataFrame, published: str | None) -> pd.DataFrame:
    """Give Table S1 in order: the rows of `Data.plates`, with what the paper says of its images of the same kind.

    These are in columns such as `published_nuclei`. Differences of nuclei and areas are of plates of the paper's names.
    """
    ordered = plates.sort_values(["cell_line", "role", "plate", "annotation"], ignore_index=True)
    if published is None:
        return ordered
    kind = ["cell_line", "role", "annotation"]
    known = read_csv(PUBLISHED / f"{published}_images.csv", dtype=dict.fromkeys(("plate", "size", *kind), str))
    beside = known.rename(columns={name: f"published_{name}" for name in known if name not in kind})
    compared = ordered.merge(beside, how="left", on=kind)
    is_the_papers = compared["plate"] == compared["published_plate"]
    differences = {
        f"{name}_difference": (compared[name] - compared[f"published_{name}"]).where(is_the_papers)
        for name in ("nuclei", "area_mean_px", "area_sd_px")
    }
    return compared.assign(**differences)
