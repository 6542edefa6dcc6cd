"""What a report shows of F1, and of fields that several people labelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from tasks.nuclei import figures, own_proposals, shared_proposals
from tasks.nuclei.scoring import OBJECT_LEVEL_IOU, PIXEL_LEVEL_IOU
from tasks.steps import pages

OWN, SHARED = "own_proposals", "shared_proposals"


class F1(NamedTuple):
    """F1 at one IoU threshold with its 95 % CI."""

    f1: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.f1:.3f} ({self.low:.3f} to {self.high:.3f})"


class Compared(NamedTuple):
    """A row of the table of a label set."""

    what: str
    object_level: F1
    pixel_level: F1


class LabelSet(NamedTuple):
    """F1 on fields of a plate by a further label set, by the one that counts, and of both with each other."""

    plate: str
    name: str
    fovs: int
    rows: list[Compared]
    is_flattered: bool
    """Whether the model proposed some of these labels itself."""
    shares_proposals: bool
    """Whether labels of both sets come from the same proposals, or those of one from the other."""
    figure: str


def label_sets_shown(table: pd.DataFrame, folder: Path) -> Iterator[LabelSet]:
    """Give each label set of label_sets.csv, which `score` writes, and draw its figure into a folder."""
    for (plate, name), rows in table.groupby(["plate", "label_set"], sort=True):
        of_model = rows[rows["kind"] == "model"]
        counting, other = of_model["labels"].unique()
        curves = [
            _curve_of_model(of_model[of_model["labels"] == counting], f"model with {counting}, which counts"),
            _curve_of_model(of_model[of_model["labels"] == other], f"model with {other}"),
        ]
        between = rows[rows["kind"] == "agreement"]
        shares_proposals = _any(between, SHARED)
        agreement = f1_curve(between, _marked(f"{counting} with {other}", shared_proposals.MARK, shares_proposals))
        path = folder / f"label_set_{plate}_{name}.png"
        figures.f1_figure(curves, ceiling=agreement).savefig(path)
        compared = [
            Compared(curve.name, f1_of(curve, OBJECT_LEVEL_IOU), f1_of(curve, PIXEL_LEVEL_IOU))
            for curve in (*curves, agreement)
        ]
        fovs, is_flattered = int(rows["fovs"].iloc[0]), _any(of_model, OWN)
        picture = pages.embedded(path.read_bytes())
        yield LabelSet(str(plate), str(name), fovs, compared, is_flattered, shares_proposals, picture)


def _curve_of_model(rows: pd.DataFrame, name: str) -> figures.F1Curve:
    """Give the curve against a label set, with the mark behind its name if the model proposed some of the labels."""
    return f1_curve(rows, _marked(name, own_proposals.MARK, _any(rows, OWN)))


def _marked(name: str, mark: str, is_so: bool) -> str:
    return f"{name} {mark}" if is_so else name


def _any(rows: pd.DataFrame, counted: str) -> bool:
    # Scores that were made before these were counted don't have them.
    return counted in rows and bool(rows[counted].any())


def f1_curve(rows: pd.DataFrame, name: str) -> figures.F1Curve:
    """Give the curve in the columns iou_threshold, f1, f1_low and f1_high."""
    return figures.F1Curve(name, *(rows[column].to_list() for column in ("iou_threshold", "f1", "f1_low", "f1_high")))


def f1_of(curve: figures.F1Curve, iou_threshold: float) -> F1:
    """Give one point of a curve."""
    at = curve.iou_thresholds.index(iou_threshold)
    return F1(curve.f1[at], curve.low[at], curve.high[at])
