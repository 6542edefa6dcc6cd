"""What a matrix says on statements of the paper: a difference between two experiments, beside the paper's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from tasks.nuclei.scoring import OBJECT_LEVEL_IOU
from tasks.steps.experiments.data import LABELS, OWN, TESTING, TRAINING, WORD, Data
from tasks.steps.experiments.differences import SAME, Difference, Spread, difference_of, pooled_spread
from tasks.steps.experiments.overfitting import difference_of_plates
from tasks.steps.experiments.tables import Column, cell_lines_in_order, published_f1, with_f1

Expected = Literal["more", "less", "same", "not less"]
Verdict = Literal["agrees", "differs", "undecided"]
NOT_RUN = "not run"
NUMBERS = ("f1_of", "f1_against", "difference", "low", "high", "cpu_hours")
BOUNDS = {"more": (0.0, np.inf), "less": (-np.inf, 0.0), "same": (-SAME, SAME), "not less": (-SAME, np.inf)}
"""Between which the difference of a statement lies."""
VARIANTS = {"training": (TRAINING, TESTING), "annotations": (LABELS["manual"], LABELS["semi-automatic"])}
"""What a statement of one experiment alone compares, by the kind of its table: the first less the second."""


class Sides(NamedTuple):
    """What a statement compares: names, scores at 0.7, and how the paper's table calls both besides their words."""

    of: str
    against: str
    scores: tuple[pd.DataFrame, pd.DataFrame]
    variants: tuple[str, str]


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
    nothing on these and don't count. Intervals rest on the spread between replicates of all experiments of a model on
    a cell line. CPU hours are those of all runs that a finding rests on, `own_proposals` are the labels that their
    models proposed themselves. A finding that names one experiment twice compares as its table does: training with test
    plates, or manual with semi-automatic labels.
    """
    at = np.isclose(data.scores["iou_threshold"], OBJECT_LEVEL_IOU)
    scores = with_f1(data.scores[at & (data.scores["weights"] == "")])
    hours = data.costs.set_index("experiment")["cpu_hours"]
    models: Sequence[str] = next((table["by"][:1] for table in tables if table.get("by")), ())
    alike = [*(f"{WORD}{name}" for name in models), "cell_line", "role", "labels"]
    spreads = _Spreads(scores, alike, [f"{WORD}{name}" for name in words])
    rows = []
    for number, finding in enumerate(findings, start=1):
        table = next((table for table in tables if table["name"] == finding["table"]), {})
        shown = table.get("by") or models
        sides = _sides(finding, scores, words, table.get("kind", ""))
        told = {"finding": number, **{name: finding[name] for name in ("paper", "table", "expected")}}
        told |= {"both": _shared(finding, words, shown), "of": sides.of, "against": sides.against}
        known = _published_differences(finding, table, words, published, sides.variants)
        for line in finding["cell_lines"] or cell_lines_in_order([*data.scores["cell_line"]]):
            of_line = [side[side["cell_line"] == line] for side in sides.scores]
            row = _of_line(finding["expected"], of_line, spreads, hours)
            rows.append({**told, "cell_line": line, "published": known.get(line), **row})
    return pd.DataFrame(rows)


class _Spreads:
    """Of the replicates of all experiments that have the same in the columns `alike` of scores."""

    def __init__(self, scores: pd.DataFrame, alike: Sequence[str], words: Sequence[str]) -> None:
        self.alike = list(alike)
        self.known = {
            key: pooled_spread(list(of_one["f1"]) for _, of_one in group.groupby(list(words)))
            for key, group in scores.groupby(self.alike)
        }

    def of(self, scores: pd.DataFrame) -> Spread:
        return self.known[tuple(scores[self.alike].iloc[0])]


def _sides(finding: Mapping[str, Any], scores: pd.DataFrame, words: Sequence[str], kind: str) -> Sides:
    """Give both sides, experiments named by the words in which they differ."""
    keys = list(zip(*(scores[f"{WORD}{name}"].astype(str) for name in words), strict=True))
    of, against = (scores[[key == tuple(finding[side]) for key in keys]] for side in ("of", "against"))
    if finding["of"] != finding["against"] or kind not in VARIANTS:
        pairs = [pair for pair in zip(finding["of"], finding["against"], strict=True) if pair[0] != pair[1]]
        names = [" / ".join(side) for side in zip(*pairs, strict=True)] or ["", ""]
        return Sides(names[0], names[1], (_counting(_tested(of)), _counting(_tested(against))), ("", ""))
    first, second = VARIANTS[kind]
    if kind == "training":
        pair = [_counting(of[of["role"] == role]) for role in (first, second)]
    else:
        pair = [_tested(of[of["labels"] == labels]) for labels in (first, second)]
    return Sides(first, second, (pair[0], pair[1]), (first, second))


def _counting(scores: pd.DataFrame) -> pd.DataFrame:
    return scores[scores["is_counting"].astype(bool)]


def _tested(scores: pd.DataFrame) -> pd.DataFrame:
    return scores[scores["role"] == TESTING]


def _shared(finding: Mapping[str, Any], words: Sequence[str], shown: Sequence[str]) -> str:
    """Give those words that both sides have, of the columns that tell the rows of the finding's table apart."""
    of, against = (dict(zip(words, finding[side], strict=True)) for side in ("of", "against"))
    return " / ".join(of[name] for name in shown if of[name] == against[name])


def _of_line(expected: Expected, pair: Sequence[pd.DataFrame], spreads: _Spreads, hours: pd.Series) -> dict[str, Any]:
    """Give the numbers of a cell line; NaN where one of the two has no scores."""
    of, against = pair
    runs = {"runs_of": len(of), "runs_against": len(against)}
    if 0 in runs.values():
        return {**dict.fromkeys(NUMBERS, np.nan), **runs, OWN: 0, "verdict": NOT_RUN}
    if set(of["role"]) != set(against["role"]):
        found, _ = difference_of_plates(of, against)
    else:
        found = difference_of(list(of["f1"]), list(against["f1"]), (spreads.of(of), spreads.of(against)))
    return {
        **{"f1_of": of["f1"].mean(), "f1_against": against["f1"].mean()},
        **{"difference": found.value, "low": found.low, "high": found.high},
        "cpu_hours": float(hours[[*dict.fromkeys([*of["experiment"], *against["experiment"]])]].sum()),
        **runs,
        OWN: int(of[OWN].sum() + against[OWN].sum()),
        "verdict": verdict_on(expected, found),
    }


def _published_differences(
    finding: Mapping[str, Any],
    table: Mapping[str, Any],
    words: Sequence[str],
    published: str | None,
    variants: tuple[str, str],
) -> dict[str, float]:
    """Give the paper's own differences by cell line, where its table has both rows."""
    known = published_f1(published, finding["table"]) if table else {}
    rows = [
        " / ".join(dict(zip(words, finding[side], strict=True))[name] for name in table.get("by", ()))
        for side in ("of", "against")
    ]
    differences = {}
    for line in {column.cell_line for _, _, column in known}:
        column = Column(line, OBJECT_LEVEL_IOU)
        of, against = (known.get((row, variant, column)) for row, variant in zip(rows, variants, strict=True))
        if of is not None and against is not None:
            differences[line] = of.f1 - against.f1
    return differences
