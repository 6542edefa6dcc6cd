"""Whether models do better on their training plates than on test plates by more than chance explains: Table S4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from tasks.steps.experiments.data import TESTING, TRAINING, WORD, Data
from tasks.steps.experiments.differences import SAME, Difference, difference_of
from tasks.steps.experiments.tables import Column, all_scores_of, cell_lines_in_order, published_f1

Verdict = Literal[
    "overfitted", "not overfitted", "better on test plates", "no difference can be told", "F1 is too low to tell"
]
COLUMNS = (
    *("row", "cell_line", "iou_threshold", "training", "testing", "difference", "low", "high", "over", "published"),
    *("verdict", "without_weights"),
)
TOO_LOW = 0.5
"""F1 on training and test plates below which the paper concludes nothing on overfitting."""


def overfitting_of(spec: Mapping[str, Any], data: Data, words: Sequence[str], published: str | None) -> pd.DataFrame:
    """Give one row for each row of a table, cell line and IoU threshold that have scores of training and test plates.

    It has F1 on both, the difference with its 95 % interval, what the interval is `over`, the paper's difference and a
    verdict. `words` are the names of the matrix's columns.
    """
    scores = all_scores_of(spec, data, words)
    scores = scores[scores["is_counting"].astype(bool)]
    known = published_f1(published, spec["name"])
    rows = [
        row
        for key, of_row in scores.groupby([f"{WORD}{name}" for name in spec["by"]], sort=False)
        for row in _of_row(" / ".join(map(str, key)), of_row, spec["at"], known)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def verdicts(overfitting: pd.DataFrame) -> dict[str, str]:
    """Say of each model what was found, with the columns of which it was."""
    told = {}
    for row, of_row in overfitting.groupby("row", sort=False):
        of_verdicts: dict[str, list[str]] = {}
        for one in of_row.to_dict("records"):
            of_verdicts.setdefault(one["verdict"], []).append(str(Column(one["cell_line"], one["iou_threshold"])))
        told[str(row)] = "; ".join(f"{verdict} ({', '.join(columns)})" for verdict, columns in of_verdicts.items())
    return told


def verdict_on_overfitting(training: float, testing: float, found: Difference) -> Verdict:
    """Say what the interval of a difference of F1 allows, training less testing."""
    if max(training, testing) < TOO_LOW:
        return "F1 is too low to tell"
    if found.low > -SAME and found.high < SAME:
        return "not overfitted"
    if found.low > 0:
        return "overfitted"
    return "better on test plates" if found.high < 0 else "no difference can be told"


def difference_of_plates(training: pd.DataFrame, testing: pd.DataFrame) -> tuple[Difference, str]:
    """Give the difference of mean F1 and what its interval is over: replicates, or the fields of single runs."""
    if min(len(training), len(testing)) > 1:
        return difference_of(list(training["f1"]), list(testing["f1"])), "replicates"
    (first,), (second,) = (side.head(1).to_dict("records") for side in (training, testing))
    # Of two independent scores, from the interval of each (Newcombe, Statistics in Medicine 17, 1998, method 10).
    value = first["f1"] - second["f1"]
    down = np.hypot(first["f1"] - first["f1_low"], second["f1_high"] - second["f1"])
    up = np.hypot(first["f1_high"] - first["f1"], second["f1"] - second["f1_low"])
    return Difference(value, value - float(down), value + float(up)), "fields"


def _of_row(
    name: str, scores: pd.DataFrame, thresholds: Sequence[float], known: Mapping[tuple[str, str, Column], Any]
) -> Iterator[dict[str, Any]]:
    for line in cell_lines_in_order(list(scores["cell_line"])):
        for at in thresholds:
            of_column = scores[(scores["cell_line"] == line) & (scores["iou_threshold"] == at)]
            training, testing = (of_column[of_column["role"] == role] for role in (TRAINING, TESTING))
            if training.empty or testing.empty:
                continue
            found, over = difference_of_plates(training, testing)
            paper = [known.get((name, role, Column(line, at))) for role in (TRAINING, TESTING)]
            means = float(training["f1"].mean()), float(testing["f1"].mean())
            yield {
                **{"row": name, "cell_line": line, "iou_threshold": at, "training": means[0], "testing": means[1]},
                **{"difference": found.value, "low": found.low, "high": found.high, "over": over},
                "published": paper[0].f1 - paper[1].f1 if paper[0] and paper[1] else np.nan,
                "verdict": verdict_on_overfitting(*means, found),
                "without_weights": "; ".join(sorted(set(of_column["weights"]) - {""})),
            }
