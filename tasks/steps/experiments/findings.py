"""What a matrix says on statements of the paper: a difference between two experiments, beside the paper's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from tasks.nuclei.scoring import OBJECT_LEVEL_IOU
from tasks.steps.experiments.data import OWN, TESTING, WORD, Data
from tasks.steps.experiments.tables import CONFIDENCE, Column, cell_lines_in_order, published_f1, with_f1

Expected = Literal["more", "less", "same", "not less"]
Verdict = Literal["agrees", "differs", "undecided"]
NOT_RUN = "not run"
NUMBERS = ("f1_of", "f1_against", "difference", "low", "high", "cpu_hours")
SAME = 0.03
"""A difference of F1 that is no larger than this is none to a biologist: one nucleus in thirty."""


BOUNDS = {"more": (0.0, np.inf), "less": (-np.inf, 0.0), "same": (-SAME, SAME), "not less": (-SAME, np.inf)}
"""Between which the difference of a statement lies."""


class Difference(NamedTuple):
    """Of mean F1 between two experiments over their replicates, with the 95 % interval; NaN for single runs."""

    value: float
    low: float
    high: float


def difference_of(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Give by how much the mean of `first` exceeds that of `second`, by Welch's t."""
    value = float(np.mean(first) - np.mean(second))
    if min(len(first), len(second)) < 2:
        return Difference(value, np.nan, np.nan)
    if np.ptp(first) == np.ptp(second) == 0:
        return Difference(value, value, value)
    interval = stats.ttest_ind(first, second, equal_var=False).confidence_interval(CONFIDENCE)
    return Difference(value, float(interval.low), float(interval.high))


def verdict_on(expected: Expected, found: Difference) -> Verdict:
    """Say whether the whole interval lies where the statement has it, or nowhere there; else it is undecided."""
    below, above = BOUNDS[expected]
    if below < found.low and found.high < above:
        return "agrees"
    return "differs" if found.high < below or found.low > above else "undecided"


def findings_of(
    findings: Sequence[Mapping[str, Any]],
    tables: Sequence[Mapping[str, Any]],
    data: Data,
    words: Sequence[str],
    published: str | None,
) -> pd.DataFrame:
    """Give one row for each finding and cell line, at an IoU of 0.7.

    `words` are the names of the matrix's columns. Experiments without the pretrained weights that they ask for say
    nothing on these and don't count. CPU hours are those of all runs that a finding rests on, `own_proposals` are the
    labels that their models proposed themselves.
    """
    at = np.isclose(data.scores["iou_threshold"], OBJECT_LEVEL_IOU)
    counting = data.scores["is_counting"].astype(bool) & (data.scores["role"] == TESTING)
    scores = with_f1(data.scores[at & counting & (data.scores["weights"] == "")])
    keys = list(zip(*(scores[f"{WORD}{name}"].astype(str) for name in words), strict=True))
    hours = data.costs.set_index("experiment")["cpu_hours"]
    rows = []
    for number, finding in enumerate(findings, start=1):
        pair = [scores[[key == tuple(finding[side]) for key in keys]] for side in ("of", "against")]
        known = _published_differences(finding, tables, words, published)
        for line in finding["cell_lines"] or cell_lines_in_order([*data.scores["cell_line"]]):
            told = {"finding": number, **_told(finding), "cell_line": line, "published": known.get(line)}
            of_line = [side[side["cell_line"] == line] for side in pair]
            rows.append(told | _of_line(finding["expected"], of_line, hours))
    return pd.DataFrame(rows)


def _told(finding: Mapping[str, Any]) -> dict[str, str]:
    """Give what is said of a finding, experiments by the words in which they differ."""
    pairs = [pair for pair in zip(finding["of"], finding["against"], strict=True) if pair[0] != pair[1]]
    of, against = (" / ".join(words) for words in zip(*pairs, strict=True))
    return {**{name: finding[name] for name in ("paper", "table", "expected")}, "of": of, "against": against}


def _of_line(expected: Expected, pair: Sequence[pd.DataFrame], hours: pd.Series) -> dict[str, Any]:
    """Give the numbers of a cell line; NaN where one of the two has no scores."""
    of, against = pair
    runs = {"runs_of": len(of), "runs_against": len(against)}
    if 0 in runs.values():
        return {**dict.fromkeys(NUMBERS, np.nan), **runs, OWN: 0, "verdict": NOT_RUN}
    found = difference_of(list(of["f1"]), list(against["f1"]))
    return {
        **{"f1_of": of["f1"].mean(), "f1_against": against["f1"].mean()},
        **{"difference": found.value, "low": found.low, "high": found.high},
        "cpu_hours": float(hours[[*of["experiment"], *against["experiment"]]].sum()),
        **runs,
        OWN: int(of[OWN].sum() + against[OWN].sum()),
        "verdict": verdict_on(expected, found),
    }


def _published_differences(
    finding: Mapping[str, Any], tables: Sequence[Mapping[str, Any]], words: Sequence[str], published: str | None
) -> dict[str, float]:
    """Give the paper's own differences by cell line, where its table has both rows."""
    table = next((table for table in tables if table["name"] == finding["table"]), None)
    known = published_f1(published, finding["table"]) if table else {}
    rows = [
        " / ".join(dict(zip(words, finding[side], strict=True))[name] for name in (table or {}).get("by", ()))
        for side in ("of", "against")
    ]
    differences = {}
    for line in {column.cell_line for _, _, column in known}:
        of, against = (known.get((row, "", Column(line, OBJECT_LEVEL_IOU))) for row in rows)
        if of is not None and against is not None:
            differences[line] = of - against
    return differences
