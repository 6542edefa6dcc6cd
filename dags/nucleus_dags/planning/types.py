"""What the tasks of DAGs hand on to one another; JSON underneath."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

Params = dict[str, Any]
"""Params of a task; the manifest has their schema."""


class PlateToImport(TypedDict):
    """Params of `ingest`."""

    folder: str
    role: NotRequired[str]


class StoredPlatePath(TypedDict):
    """A plate that `ingest` stored: part of the params of `segment`."""

    plate: str


class RunToOpen(TypedDict):
    """Params of `open_run`."""

    experiment: str
    dag_run_id: str
    run_name: str
    children: list[str]
    name_of_children: NotRequired[str]


class RunsToClose(TypedDict):
    """Params of `close_run`."""

    mlflow_run_ids: list[str]
    succeeded: bool
    failed: NotRequired[list[str]]


class Candidate(TypedDict):
    """What a DAG run trains and compares with others: a method, or one tool, set of weights or replicate of it."""

    name: str
    method: str
    trainings: list[Params]
    """One for each of its networks: the params of the method's training, but for the ROIs."""
    settings: NotRequired[Params]
    """What a candidate segments with that isn't calibrated: a model as it came with the pipeline."""


class OpenedCandidate(Candidate):
    """A candidate with its MLflow run."""

    mlflow_run_id: str


class Training(TypedDict):
    """A part of the mapped task that trains; further keys are params."""

    task: str
    mlflow_run_id: str
    rois: str | None


class Model(TypedDict):
    """What a plate is segmented with: params of `register_model`."""

    method: str
    networks: list[str]
    settings: Params
    mlflow_run_id: NotRequired[str | None]
    """None of what isn't logged."""


class FoundModel(TypedDict):
    """What `find_model` says of a registered version."""

    version: int
    key: str
    method: str
    networks: list[str]
    settings: Params
    trainings: list[Params]
    augmentation: Params | None
    """Params of `augment` that made its ROIs; None where the store has them no more. Of a model that came with the
    pipeline, those alone that say how it sees fields."""


class ReadyModel(TypedDict):
    """What `find_model` says of a model that isn't registered and needs no training."""

    version: None
    name: str
    """What a person chooses it by."""
    key: str
    method: str
    networks: list[str]
    settings: Params
    trainings: list[Params]
    augmentation: None
    to_store: list[Params]
    """Parts of the mapped task that trains, which put its networks into the store as they are."""


class ListedVersion(TypedDict):
    """What `list_models` says of a registered version."""

    version: int
    aliases: list[str]
    model: Model | None


class TrainModelsPlan(TypedDict):
    """What `train_models` does."""

    train_plates: list[PlateToImport]
    test_plates: list[PlateToImport]
    open_run: RunToOpen
    augment: Params
    candidates: list[Candidate]
    settings: dict[str, Params]
    """What a person chose for the segmentation, by method."""
    left_out: list[str]
    """Sentences on what lies in the inbox and isn't a plate, or is one that can't be read."""


class RetrainingPlan(TypedDict):
    """What `retrain_champion` does."""

    open_run: RunToOpen
    augment: Params
    candidates: list[Candidate]
    settings: dict[str, Params]
    test_plates: list[StoredPlatePath]
    champion_version: int
    """0 without a champion."""
    gate: Params
    gate_in_words: str
    approval: str
    digest: str
    """Stands for all that decides what comes out."""
    remarks: list[str]
    """Lines of Markdown: what a person should know before the training."""


class Challenger(TypedDict):
    """The version that may become champion: params of `promote_model`."""

    version: int
    reason: str
    judged_against: int


class Decision(TypedDict):
    """What `retrain_champion` decided."""

    challenger_run: str | None
    verdict: str
    """A sentence."""
    lines: list[str]
    """Markdown."""
    table: list[str]
    """Markdown: every rule of the gate, for each candidate."""


class Variant(TypedDict):
    """What an experiment runs, with the pretrained weights that it asks for or without them."""

    words: dict[str, str]
    augment: Params
    """Params of `augment`, but for the plates."""
    trainings: list[Params]
    """One for each network: `task`, and its params but for the ROIs."""
    model: Params
    """Params of `calibrate`, but for the networks."""


class Experiment(TypedDict):
    """A row of a matrix of experiments."""

    name: str
    words: dict[str, str]
    """Of every column."""
    replicate: int
    variants: list[Variant]
    """The first, or where its weights aren't there the second."""
    train_on: dict[str, list[str]]
    """Names of plates, or cell lines; all training plates where it is empty."""


class FoundExperiment(TypedDict):
    """What `find_experiments` says of an experiment."""

    name: str
    is_chosen: bool
    """Whether it is run; of others the scores that are there are shown."""
    key: str
    """Changes with whatever would change its scores."""
    variant: int
    missing: str
    """Why the first variant isn't run; empty if it is."""
    rois: str
    """Key of its ROI set."""
    trainings: list[Params]
    """Of each network: `task` and its params."""
    training_keys: list[str]
    cycles: list[int]
    rates: list[Params | None]
    """Of each training, from stored ones: seconds and cpu_seconds per ROI and cycle, bytes of the network, and whether
    it was measured on_gpu and is_of_another network; None where nothing was measured."""
    trained: list[bool]
    model: Params
    plates: dict[str, list[str]]
    """To segment, by what they are for: test or training."""
    is_calibrated: bool
    segmented: int
    scores: str | None
    training_scores: str | None
    is_logged: bool


class OpenedExperiment(FoundExperiment):
    """An experiment that is run, with its MLflow run."""

    mlflow_run_id: str


class ExperimentsPlan(TypedDict):
    """What `run_experiments` does."""

    find: Params
    """Params of `find_experiments`."""
    open_run: Params
    """Params of `open_run`, but for the children."""
    tabulate: Params
    """Params of `tabulate`, but for the scores."""
    train_sets: dict[str, str]
    """What the training plates of each experiment are called, by its name; empty where the matrix chooses none."""
    tags: dict[str, dict[str, str]]
    """Of the MLflow run of each experiment, by its name."""
    prices: Params
    stop_after_plan: bool
    remarks: list[str]
