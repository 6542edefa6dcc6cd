"""What tasks and methods say of themselves: `manifest.json`, which `python -m tasks.manifest` writes.

`NUCLEUS_MANIFEST` names another file, where methods are installed that aren't of this repository.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

HERE = Path(__file__).with_name("manifest.json")

Schema = dict[str, Any]
"""JSON schema."""


class Resources(TypedDict):
    """What a task needs of a machine; see `Resources` in `tasks/contract.py`."""

    kind: str
    container_image: str
    cpu: int
    memory_gib: float
    gpu: int


class TaskEntry(TypedDict):
    """One task."""

    module: str
    resources: Resources
    params: Schema


class Networks(TypedDict):
    """Which networks a model of a method has."""

    title: str
    trainings: list[dict[str, Any]]


class AsItIs(TypedDict):
    """How a model that comes with the pipeline is used without a training."""

    training: dict[str, Any]
    """Params of the training that only puts its network into the store."""
    settings: dict[str, Any]
    """What it segments with."""


class InitialWeights(TypedDict):
    """A kind of weights that a training may begin from."""

    title: str
    file: str | None
    is_whole: bool
    params: dict[str, Any]
    network: dict[str, Any]
    """Those of the params that say which network the weights are of."""
    as_it_is: AsItIs | None
    """Of weights that are a model which comes with the pipeline."""


class Preset(TypedDict):
    """Values of what isn't given in a form."""

    params: dict[str, Any]
    networks: str


class Candidates(TypedDict):
    """A param of the training of which a form takes several values, each for a candidate of its own."""

    param: str
    known: list[str]
    folder_variable: str
    file: str


class MethodEntry(TypedDict):
    """One method."""

    title: str
    task: str
    earlier_tasks: list[str]
    settings: Schema
    search: list[str]
    networks: dict[str, Networks]
    initial_weights: dict[str, InitialWeights]
    presets: dict[str, Preset]
    candidates: Candidates | None


class Baseline(TypedDict):
    """The method without a training that reports show beside the models."""

    name: str
    model: dict[str, Any]
    """Params of `segment`: method, networks and settings."""


class OwnProposals(TypedDict):
    """How F1 is marked that was measured against labels which the scored model proposed."""

    mark: str
    meaning: str


class Classes(TypedDict):
    """How people tell kinds of nuclei apart in an annotation tool."""

    what: str
    """What has the names: plural, with a capital."""
    names: dict[str, str]
    """By `nucleus`, `unsure` and `context`."""


class AnnotationTool(TypedDict):
    """A tool in which people correct labels."""

    title: str
    by_patches: bool
    """Whether it shows where a patch ends, and what is corrected in another one."""
    classes: Classes | None
    steps: str
    """How a person works with it, in Markdown."""


class Manifest(TypedDict):
    """Content of the file."""

    exit_statuses: dict[str, int]
    registered_model: str
    shown_iou_thresholds: list[float]
    most_missed: float
    """A model that misses a larger share of the nuclei isn't taken for one that finds nuclei."""
    doubtful_below: float
    """A nucleus with a lower confidence is shown as doubtful."""
    own_proposals: OwnProposals
    presets: dict[str, str]
    presets_of_augment: dict[str, dict[str, Any]]
    default_method: str
    annotation_tools: dict[str, AnnotationTool]
    """By name."""
    tasks: dict[str, TaskEntry]
    methods: dict[str, MethodEntry]
    """Those that are trained."""
    thresholds: dict[str, dict[str, dict[str, Any]]]
    """By method, also of one that isn't trained, the schemas of the settings that can be moved a little."""
    ready_models: dict[str, str]
    """Models that need no training here, by the names that people choose them by, with what each is."""
    baseline: Baseline


@cache
def manifest() -> Manifest:
    """Give the content of the manifest."""
    content: Manifest = json.loads(Path(os.environ.get("NUCLEUS_MANIFEST", HERE)).read_text())
    return content


def method_entry(name: str) -> MethodEntry:
    """Give a method; KeyError for one that isn't there."""
    return manifest()["methods"][name]


def task_entry(name: str) -> TaskEntry:
    """Give a task; KeyError for one that isn't there."""
    return manifest()["tasks"][name]


def tasks_of_networks(method: str) -> list[str]:
    """Give the tasks that networks of a method are outputs of."""
    return [method_entry(method)["task"], *method_entry(method)["earlier_tasks"]]


def short_title(method: str) -> str:
    """Give the name of a method as people write it."""
    return method_entry(method)["title"].partition(":")[0]


def training_params(method: str) -> Schema:
    """Give the schemas of the params of a method's training."""
    params: Schema = task_entry(method_entry(method)["task"])["params"]["properties"]
    return params


def settings_params(method: str) -> Schema:
    """Give the schemas of the settings of a method's segmentation."""
    params: Schema = method_entry(method)["settings"]["properties"]
    return params
