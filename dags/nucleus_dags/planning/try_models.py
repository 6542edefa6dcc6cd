"""What `try_models` does, task by task: which plate, which models, and what came out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nucleus_dags.errors import FormError
from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.manifest import manifest
from nucleus_dags.planning.methods import names_in
from nucleus_dags.planning.segment_plate import find_plate
from nucleus_dags.planning.segmentations import MODEL
from nucleus_dags.planning.types import ListedVersion, Model, Params
from nucleus_dags.plates.plate_json import read_plate_folder
from nucleus_dags.plates.stored import read_plate

NEWEST_VERSIONS = 3
"""So many are tried unless a person names others, besides those with an alias."""
LEVELS = ("least_f1_of_objects", "least_f1_of_outlines")


class Tried(NamedTuple):
    """What is tried."""

    names: list[str]
    models: list[Model]
    left_out: list[str]
    """Lines of Markdown on what isn't tried and why."""


def find_labelled_plate(name: str, inbox: Path, store: Path) -> dict[str, str]:
    """Give the `folder` of a plate in the inbox or the imported `plate`, as `find_plate`; it must have labels."""
    found = find_plate(name, inbox, store)
    role = (
        read_plate_folder(Path(found["folder"])).role if "folder" in found else read_plate(store, found["plate"]).role
    )
    if role == "screen":
        raise FormError(
            f"{name} has the role screen, and no labels to be scored against; choose a plate with labels, or have some "
            "of its fields annotated with send_to_annotation."
        )
    return found


def models_to_find(form: Mapping[str, Any], dag_run_id: str) -> list[Params]:
    """Give the params of `find_model` for each model that a person names, or for all that need no training."""
    names = names_in(form["models"]) or list(manifest()["ready_models"])
    return [{"model": name, "dag_run_id": dag_run_id} for name in names]


def networks_to_store(found: Iterable[Mapping[str, Any]]) -> list[Params]:
    """Give the parts of the mapped task that trains, which put networks of models into the store as they are."""
    return [part for result in found if "values" in result for part in result["values"]["model"].get("to_store", [])]


def tried_models(
    form: Mapping[str, Any],
    found: Sequence[Mapping[str, Any]],
    stored: Sequence[Any],
    versions: Sequence[ListedVersion],
) -> Tried:
    """Give what is tried, each model once. Raises FormError for a model that a person named and that isn't there.

    `stored` is what became of `networks_to_store`: a model whose networks couldn't be stored isn't tried.
    """
    refused = [result["refused"] for result in found if "refused" in result]
    named = bool(names_in(form["models"]))
    if refused and named:
        raise FormError("\n".join(refused))
    models = []
    for model in (result["values"]["model"] for result in found if "values" in result):
        reasons = _reasons_not_stored(model, stored)
        refused += [f"{_name_of(model)}: {reason}" for reason in reasons]
        models += [] if reasons else [model]
    known = [(_name_of(model), _without_run(model)) for model in models]
    if not named:
        known += [
            (_title(version), _without_run(version["model"])) for version in _newest(versions) if version["model"]
        ]
    if not known:
        none = "There is no model to try: none is registered, and none that needs no training can be used."
        raise FormError("\n".join([none, *refused]))
    each_once = [model for number, (_, model) in enumerate(known) if model not in [m for _, m in known[:number]]]
    names = [_joined([name for name, other in known if other == model]) for model in each_once]
    return Tried(names, each_once, [f"- Not tried: {reason}" for reason in refused])


def report_of(given: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `report` on all models that have scores. Raises FormError if none has."""
    scored = dict(zip(known["names"], known["scored"], strict=True))
    scores = {name: result["outputs"]["scores"] for name, result in scored.items() if "refused" not in result}
    if not scores:
        raise FormError("\n".join(["No model could be scored.", *broken_lines(known["names"], known["scored"])]))
    return {"scores": scores}


def reason_without_segmentation(model: Mapping[str, Any], segmented: Iterable[Mapping[str, Any]]) -> str | None:
    """Say why a model couldn't segment a plate; None if it could."""
    refused = [result for result in segmented if "refused" in result]
    return next((each["refused"] for each in refused if all(each["params"][n] == model[n] for n in MODEL)), None)


def broken_lines(names: Sequence[str], scored: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give a line of Markdown for each model that has no scores, with the reason."""
    return [
        f"- **{name}** failed, and isn't among the answers: {result['refused']}"
        for name, result in zip(names, scored, strict=True)
        if "refused" in result
    ]


def levels_of(form: Mapping[str, Any]) -> Params:
    """Give what a person calls good enough, where it isn't the default."""
    return {name: form[name] for name in LEVELS if form[name] is not None}


def lines_of(
    answered: Result, page: str, broken: Sequence[str], left_out: Sequence[str], remarks: Sequence[str]
) -> list[str]:
    """Give the lines of the note: the answer first, then what broke, the table and what it rests on."""
    values = answered["values"]
    return [values["in_short"], "", *broken, "", *values["lines"], "", page, "", *left_out, *remarks]


def _reasons_not_stored(model: Mapping[str, Any], stored: Iterable[Any]) -> list[str]:
    parts = [{name: value for name, value in part.items() if name != "task"} for part in model.get("to_store", [])]
    return [part["refused"] for part in stored if part and "refused" in part and part["params"] in parts]


def _newest(versions: Sequence[ListedVersion]) -> list[ListedVersion]:
    usable = [version for version in versions if version["model"]]
    return [version for version in usable if version["aliases"] or version in usable[-NEWEST_VERSIONS:]]


def _joined(names: Sequence[str]) -> str:
    """Give one name to a model that has several, such as the base model, which may be a version too."""
    first, *others = dict.fromkeys(names)
    return f"{first} ({', '.join(others)})" if others else first


def _without_run(model: Mapping[str, Any]) -> Model:
    """Give what a plate is segmented with; nothing is logged, since many models share the MLflow run."""
    return {
        "method": model["method"],
        "networks": model["networks"],
        "settings": model["settings"],
        "mlflow_run_id": None,
    }


def _name_of(model: Mapping[str, Any]) -> str:
    """Give a name for pages and folders: those of tools have a colon."""
    return str(model.get("name") or f"version {model['version']}").replace(":", " ")


def _title(version: ListedVersion) -> str:
    aliases = ", ".join(version["aliases"])
    return f"version {version['version']}" + (f", {aliases}" if aliases else "")
