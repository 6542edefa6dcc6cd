"""Models that are used without a training here, by the names that people choose them by.

They are methods without networks, models that come with the pipeline, and third-party tools whose weights lie in
NUCLEUS_WEIGHTS. What a network of these needs, "trainings" that only put it into the store say.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.contract import Task, TaskParams
from tasks.methods.method import Method
from tasks.methods.registry import found_methods
from tasks.methods.segmentation_params import SegmentationParams, depends_on
from tasks.nuclei.errors import InputError

OF_A_TOOL = ":"
"""Stands between a method and its tool."""


@dataclass(frozen=True)
class ReadyModel:
    """A model that needs no training here."""

    name: str
    title: str
    method: Method
    trainings: tuple[dict[str, Any], ...] = ()
    """Params of the trainings that put its networks into the store as they are, without learning."""
    settings: dict[str, Any] | None = None
    """What it segments with; the method's defaults if not given."""

    def described(self, store: Path) -> dict[str, Any]:
        """Give what a DAG needs to segment with it. Raises InputError for weights that aren't there."""
        params = SegmentationParams.model_validate(
            {
                "method": self.method.name,
                "networks": [_network_of(self.method, training, store) for training in self.trainings],
                "settings": self.settings or {},
            }
        )
        known = [params.model_dump(mode="json"), *map(str, depends_on(params, store))]
        return {
            "name": self.name,
            "key": hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16],
            **params.model_dump(mode="json"),
            "to_store": [{"task": self.method.task, **training} for training in self.trainings],
        }


def ready_model(name: str) -> ReadyModel:
    """Give the model of a name; the error says which there are."""
    method, _, tool = name.partition(OF_A_TOOL)
    found = {model.name: model for model in ready_models()}
    if tool and (of_tools := found_methods().get(method)) is not None and of_tools.candidates is not None:
        return _of_tool(of_tools, tool)
    if name not in found:
        raise InputError(f"model: there is no {name} that needs no training; there are {', '.join(found)}.")
    return found[name]


def ready_models() -> Iterator[ReadyModel]:
    """Give all of them; of third-party tools, those that everybody has."""
    for method in found_methods().values():
        if not method.has_networks:
            yield ReadyModel(method.name, method.title, method)
        for weights in method.initial_weights:
            if (model := weights.as_it_is) is not None:
                title = f"{weights.title.partition(',')[0]}, as it came with the pipeline"
                yield ReadyModel(weights.name, title, method, (model.training,), model.settings)
        for tool in method.candidates.known if method.candidates else ():
            yield _of_tool(method, tool)


def _of_tool(method: Method, tool: str) -> ReadyModel:
    assert method.candidates is not None
    weights = next(weights for weights in method.initial_weights if weights.is_whole)
    training = {"rois": None, method.candidates.param: tool, "initialisation": weights.name}
    title = f"the third-party tool {tool}, {weights.title}"
    return ReadyModel(f"{method.name}{OF_A_TOOL}{tool}", title, method, (training,))


def _network_of(method: Method, training: dict[str, Any], store: Path) -> str:
    """Give the path of the network that a training puts into the store."""
    task: Task[TaskParams] = importlib.import_module(method.training).TASK
    params = task.params_type.model_validate(training)
    return f"{task.name}/{task.output_key(params, store)}"
