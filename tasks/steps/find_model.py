"""Find a model: which version an alias means now, what a version is, or one that needs no training here.

The answer is the version, and how it was trained and segments; both are None when there is no such model. It is asked
once per DAG run, so that all tasks of one run work with the same model. Of a model that isn't registered, the answer
also says what puts its networks into the store: trainings that learn nothing.
"""

import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pydantic

from tasks import tracking
from tasks.contract import Outcome, Resources, Task, TaskParams, Workspace, in_store
from tasks.nuclei.errors import InputError
from tasks.nuclei.usability import warning_in
from tasks.nuclei.view import View
from tasks.store.provenance import augmentation_of_rois, holds_model, model_at, trainings_of_networks
from tasks.store.ready_models import ready_model
from tasks.store.registered_model import REGISTERED_MODEL

REGISTERED = r"champion|challenger|[1-9][0-9]*|run/[0-9a-f]{32}"
READY = r"[A-Za-z]\w*(?::[A-Za-z0-9_-][A-Za-z0-9_.-]*)?"


class Params(TaskParams):
    model: str = pydantic.Field(pattern=rf"^({REGISTERED}|{READY})$")
    """An alias, "champion" or "challenger", the number of a version, run/<id of the MLflow run that made it>, or the
    name of a model that needs no training, see `ready_models`: a method, the model that comes with the pipeline, or a
    method and one of its tools with a colon between."""
    dag_run_id: str = pydantic.Field(min_length=1)
    """DAG run that asks."""
    may_lack: bool = False
    """Whether it is fine if there is no such model."""


def run(params: Params, workspace: Workspace) -> Outcome:
    if not re.fullmatch(REGISTERED, params.model):
        model = {"version": None, **ready_model(params.model).described(workspace.store)}
        return Outcome({}, {}, {}, values={"model": model | {"trainings": [], "augmentation": None}})
    found = tracking.find_model(params.model)
    if found is None:
        if params.may_lack:
            return Outcome({}, {}, {}, values={"model": None})
        raise InputError(
            f"model: there is no {params.model} of {REGISTERED_MODEL} in MLflow; "
            "train one, or give the number of a version that MLflow's page lists."
        )
    if not holds_model(found.path, workspace.store):
        raise InputError(
            f"model: version {found.version} was made from {found.path}, and the store {workspace.store} lacks it or "
            "a network of it; use the store that it was trained in."
        )
    # The path of another task's output: two levels up from this task's own.
    outputs = {"model": f"../../{found.path}"}
    values = {"model": description_of(found, workspace.store), "warning": warning_in(found.tags)}
    return Outcome(outputs, {}, {"version": found.version}, values=values)


def description_of(found: tracking.ModelVersion, store: Path) -> dict[str, Any]:
    """Give what a DAG needs to segment with a version, and to train another one like it."""
    model = model_at(found.path, store)
    trainings = trainings_of_networks(model.networks, store)
    return {
        "version": found.version,
        "key": found.path.rpartition("/")[2],
        "method": model.method.name,
        "networks": model.networks,
        "settings": model.settings.model_dump(mode="json"),
        "trainings": trainings,
        "augmentation": _augmentation(model.networks[0], trainings[0]["rois"], store) if trainings else None,
    }


def _augmentation(network: str, rois: str | None, store: Path) -> dict[str, Any] | None:
    """Give the params of the ROIs of a network; None if the store lacks them: nothing but another training needs them.

    Of a network that came with the pipeline, give how it sees fields.
    """
    if rois is None:
        built = json.loads((in_store(store, network) / "network.json").read_text())
        return {part.name: built.get(part.name, part.default) for part in fields(View)}
    try:
        return augmentation_of_rois(rois, store)
    except InputError:
        return None


TASK = Task(
    name="find_model",
    version=4,
    params_type=Params,
    run=run,
    resources=Resources(memory_gib=1),
)


if __name__ == "__main__":
    sys.exit(TASK.main())
