"""Which models segment which plates: only the pairs of which the store has no result yet.

The hooks know `models` (method, networks and settings of each, and its MLflow run if it has one of its own), `plates`,
and the `mlflow_run_id` that the others are logged to; None if nothing is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleus_dags.in_store import in_store
from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.planning.types import Params

MODEL = ("method", "networks", "settings")
"""Params of `segment` that tell models apart."""


def question_of(given: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `find_stored`: which models have segmented which plates."""
    models = [{name: model[name] for name in MODEL} for model in known["models"]]
    return {**given, "task": "segment", "each": models, "across": known["plates"]}


def read_found(store: Path, found: str) -> dict[str, list[Any]]:
    """Read what `find_stored` found; nothing if it hasn't run."""
    empty: dict[str, list[Any]] = {"stored": [], "to_do": []}
    return json.loads(in_store(store, found).read_text()) if found else empty


def left_to_segment(to_do: Sequence[Mapping[str, int]], known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the pairs that are left, by the numbers of model and plate.

    A model that is logged segments one plate at least, which the store answers at once: so its MLflow run says what it
    segmented with, and nothing that waits for it is skipped.
    """
    models, left = known["models"], [dict(pair) for pair in to_do]
    if known["mlflow_run_id"]:
        with_some = {pair["each"] for pair in left}
        left += [{"each": number, "across": 0} for number in range(len(models)) if number not in with_some]
    # The page of a part leads to its MLflow run.
    own_run = [{name: model[name] for name in ("mlflow_run_id",) if name in model} for model in models]
    return [pair | own_run[pair["each"]] for pair in left]


def segmentation_of(pair: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `segment` for a model and a plate, by their numbers: thousands of them are handed on."""
    return {**known["plates"][pair["across"]], **known["models"][pair["each"]]}


def scoring_of(model: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `score` for a model, from all results of `segment`, in the order of the plates.

    Raises ValueError if one of a plate is lacking: scores on some of the plates would look like those on all.
    """
    of_plates = _segmentations_by(model, known["segmented"])
    plates = [plate["plate"] for plate in known["plates"]]
    if lacking := [plate for plate in plates if plate not in of_plates]:
        raise ValueError(
            f"{', '.join(model['networks'])} segmented {len(plates) - len(lacking)} of {len(plates)} plates; "
            f"{', '.join(lacking)} is lacking. Clear find_stored and what comes after it."
        )
    params = {"segmentations": [of_plates[plate] for plate in dict.fromkeys(plates)]}
    if "mlflow_run_id" in model:  # One that says that it has none isn't logged.
        return params | {"mlflow_run_id": model["mlflow_run_id"]}
    return params | ({"mlflow_run_id": known["mlflow_run_id"]} if known["mlflow_run_id"] else {})


def _segmentations_by(model: Mapping[str, Any], segmented: Iterable[Result]) -> dict[str, str]:
    return {
        result["params"]["plate"]: result["outputs"]["segmentation"]
        for result in segmented
        if all(result["params"][name] == model[name] for name in MODEL)
    }
