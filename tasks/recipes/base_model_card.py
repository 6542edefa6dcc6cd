"""The card of the model that comes with the pipeline: what it was made of, what it does well, and what it doesn't."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tasks.contract import Result
from tasks.files import sha256_of
from tasks.methods.method import Method
from tasks.methods.registry import load_segmenter
from tasks.methods.shared.weights_file import read_weights
from tasks.nuclei.scoring import REPORTED_IOU_THRESHOLDS
from tasks.nuclei.synthesis import KINDS, synthesize_fov
from tasks.nuclei.tables import read_csv
from tasks.recipes import markdown
from tasks.store.imported_plates import report_of
from tasks.store.provenance import plate_at

TEMPLATE = "base_model_card.md.jinja"
COST_SIDE_PX, COST_FIELDS = 1024, 3
MEGAPIXEL = 1_000_000


class F1(NamedTuple):
    """F1 at one IoU threshold with its 95 % CI."""

    f1: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.f1:.3f} ({self.low:.3f}-{self.high:.3f})"


@dataclass(frozen=True)
class ScoredGroup:
    """A cell line, or all of what was judged together."""

    name: str
    fovs: int
    true_nuclei: int
    f1: tuple[F1, ...]
    """At `REPORTED_IOU_THRESHOLDS`."""


@dataclass(frozen=True)
class Judged:
    """How well the model does on plates of one kind."""

    what: str
    groups: list[ScoredGroup]
    """Cell lines, then all."""


@dataclass(frozen=True)
class TrainingPlate:
    name: str
    cell_line: str
    fovs: int
    nuclei: int


@dataclass(frozen=True)
class DescribedModel:
    """What is in the folder."""

    method: str
    network: Mapping[str, Any]
    """Content of network.json."""
    settings: str
    for_cell_lines: str
    """Those that differ for plates of a cell line."""
    weights: int
    """Their number."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Making:
    """How the model was made."""

    rois: Result
    trainings: list[tuple[Result, Result]]
    """Each with what `calibrate` says of its network."""
    plates: list[TrainingPlate]
    commit: str


@dataclass(frozen=True)
class Card:
    """All figures and texts of the card."""

    model: DescribedModel
    made: Making
    judged: list[Judged]
    most_by_rounding: float
    """Largest difference of F1 that the 16 bits make, on the first of what was judged on."""
    cpu_seconds_a_megapixel: float
    licence_of_mnfinder: str
    """Empty for a model that saw none of its images."""
    held_out: Collection[str]


def described_model(folder: Path, method: Method, settings: Mapping[str, Any]) -> DescribedModel:
    weights = folder / "weights.h5"
    for_all = {name: value for name, value in settings.items() if name != "for_cell_lines"}
    return DescribedModel(
        method.title,
        json.loads((folder / "network.json").read_text()),
        _in_words(for_all),
        "; ".join(f"{name}: {_in_words(own)}" for name, own in settings["for_cell_lines"].items()),
        sum(values.size for values in read_weights(weights).values()),
        weights.stat().st_size,
        sha256_of(weights),
    )


def _in_words(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def described_plates(paths: Sequence[str], store: Path) -> list[TrainingPlate]:
    """Give the imported plates of these paths."""
    plates = []
    for path in paths:
        plate = plate_at(path, store)
        info, counts = plate.info, report_of(plate.folder)["counts"]
        plates.append(TrainingPlate(info.name, info.cell_line, counts["fovs"], counts["nuclei"]))
    return plates


def judged(what: str, scores: Path) -> Judged:
    """Read the output folder of `score`."""
    f1, errors = (read_csv(scores / f"{name}.csv", {"name": str}) for name in ("f1", "errors"))
    groups = [
        ScoredGroup(
            row["name"],
            row["fovs"],
            row["true_nuclei"],
            tuple(_f1_at(t, f1[(f1["group"] == row["group"]) & (f1["name"] == row["name"])]) for t in _thresholds()),
        )
        for row in errors.to_dict("records")
        if row["group"] != "plate"
    ]
    return Judged(what, groups)


def _f1_at(iou_threshold: float, rows: pd.DataFrame) -> F1:
    row = rows[rows["iou_threshold"] == iou_threshold].iloc[0]
    return F1(row["f1"], row["f1_low"], row["f1_high"])


def _thresholds() -> tuple[float, ...]:
    return REPORTED_IOU_THRESHOLDS


def largest_difference(one: Judged, other: Judged) -> float:
    """Give how much F1 of all groups differs at most."""
    pairs = zip(one.groups, other.groups, strict=True)
    return max(abs(a.f1 - b.f1) for group, again in pairs for a, b in zip(group.f1, again.f1, strict=True))


def cpu_seconds_a_megapixel(folder: Path, method: Method, settings: Mapping[str, Any]) -> float:
    """Measure what segmenting costs when the network is loaded: CPU seconds of all cores for a million pixels."""
    segmenter = load_segmenter(method, [folder], method.settings(**settings))
    shape = (COST_SIDE_PX, COST_SIDE_PX)
    kind = next(iter(KINDS.values()))
    fields = [synthesize_fov(kind, shape, np.random.default_rng(seed)).image for seed in range(COST_FIELDS + 1)]
    segmenter.segment(fields[0])
    started = time.process_time()
    for field in fields[1:]:
        segmenter.segment(field)
    return (time.process_time() - started) * MEGAPIXEL / (COST_FIELDS * COST_SIDE_PX**2)


def render(card: Card) -> str:
    """Give the text of the card, in Markdown."""
    return markdown.render(TEMPLATE, card=card, iou_thresholds=_thresholds())


def as_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1)
