"""How well a model does on plates, and how unusual plates are: from results of `score` and `drift` in the store."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nucleus_dags.manifest import manifest
from nucleus_dags.page.remembered import remembered
from nucleus_dags.planning.segmentations import MODEL


class F1(NamedTuple):
    """F1 with the limits of its 95 % confidence interval."""

    value: float
    low: float
    high: float


class PlateScore(NamedTuple):
    """How well a model does on a plate."""

    f1: tuple[F1, ...]
    """At each of the IoU thresholds that are shown."""
    own_proposals: int
    """True labels that the model proposed itself: with any, F1 is too good."""


class Drift(NamedTuple):
    """How a plate compares with the training plates of its cell line."""

    plate: str
    segmented: bool
    """Whether its nuclei are those that a model found, not those labelled."""
    references: int
    warnings: tuple[str, ...]
    """A sentence for each measure in which it is an outlier."""
    page: str
    """Path in the store."""


class _Segmentation(NamedTuple):
    plate: str
    model: dict[str, Any]
    own_proposals: int


def scores_of(model: str, store: Path) -> dict[str, PlateScore]:
    """Give how well a model, named by its key under register_model/, does on the plates that it was scored on.

    They go by their paths in the store: each version of a plate is one of its own.
    """
    registered = store / "register_model" / model / "result.json"
    if not registered.exists():
        return {}
    wanted = _params_of(registered)
    found: dict[str, PlateScore] = {}
    for result in _results(store, "score"):
        segmentations = [_segmentation_of(path) for path in _scored_in(result) if path.exists()]
        if segmentations and _is_of(segmentations[0].model, wanted):
            f1 = _f1_of_plates(result.with_name("f1.csv"))
            found |= {one.plate: PlateScore(f1[_name(one.plate)], one.own_proposals) for one in segmentations}
    return found


def drifts(store: Path) -> dict[str, Drift]:
    """Give the latest comparison of each plate that was compared, by its path in the store."""
    latest = sorted(_results(store, "drift"), key=lambda path: path.stat().st_mtime)
    return {drift.plate: drift for drift in map(_drift_of, latest)}


def _results(store: Path, task: str) -> Iterator[Path]:
    return store.glob(f"{task}/[!.]*/result.json")


def _name(plate: str) -> str:
    return Path(plate).name.partition("@")[0]


def _is_of(used: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a plate was segmented with a model. Settings that came to a method later have the value that they had."""
    same = all(used.get(name) == wanted.get(name) for name in MODEL if name != "settings")
    return same and used.get("settings", {}).items() >= wanted.get("settings", {}).items()


@remembered
def _params_of(result: Path) -> dict[str, Any]:
    params: dict[str, Any] = json.loads(result.read_bytes())["params"]
    return params


@remembered
def _scored_in(result: Path) -> list[Path]:
    """Give the results of the segmentations that were scored."""
    store = result.parents[2]
    return [store / path / "result.json" for path in _params_of(result)["segmentations"]]


@remembered
def _segmentation_of(result: Path) -> _Segmentation:
    content = json.loads(result.read_bytes())
    params = content["params"]
    model = {name: params[name] for name in MODEL if name in params}
    return _Segmentation(params["plate"], model, content["counts"].get("own_proposals", 0))


@remembered
def _f1_of_plates(table: Path) -> dict[str, tuple[F1, ...]]:
    shown = manifest()["shown_iou_thresholds"]
    found: dict[str, dict[float, F1]] = {}
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["group"] == "plate" and (at := float(row["iou_threshold"])) in shown:
                found.setdefault(row["name"], {})[at] = F1(
                    *(float(row[name] or "nan") for name in ("f1", "f1_low", "f1_high"))
                )
    return {name: tuple(at[threshold] for threshold in shown) for name, at in found.items()}


@remembered
def _drift_of(result: Path) -> Drift:
    content = json.loads(result.read_bytes())
    params, outputs = content["params"], content["outputs"]
    warnings = (result.parents[2] / outputs["warnings"]).read_text().splitlines()
    segmented = params.get("segmentation") is not None
    return Drift(params["plate"], segmented, len(params["references"]), tuple(warnings), outputs["page"])
