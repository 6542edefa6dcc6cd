"""What the tasks show in MLflow. The only module that imports mlflow.

One MLflow run holds one trained model, from the plates it saw to its F1 curve. The task `open_run`
makes the run; every later task finds its id in `MLFLOW_RUN_ID` and adds its part. Without that
variable a task works just the same and logs nothing.

Everything here can be repeated: a retried or reused task adds only what the run lacks.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

# MLflow's own defaults keep a task waiting for minutes when the server is away.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

import mlflow
import mlflow.pyfunc
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Metric, Param, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.store.entities import PagedList
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from mlflow.utils.time import get_current_time_millis

from tasks.contract import ServiceError
from tasks.nuclei.errors import InputError
from tasks.store.registered_model import KEY, REGISTERED_MODEL

log = logging.getLogger("nucleus")

T = TypeVar("T")

DAG_RUN_TAG = "dag_run_id"
PLATES_EXPERIMENT = "plates"
PARENT_TAG = "mlflow.parentRunId"
# Without it the page takes the runs for evaluations of language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
DATASET_CONTEXTS = {"train": "training", "test": "testing", "screen": "segmented"}
SAMPLED_EVERY_S, SAMPLES_PER_POINT = 10, 6
"""MLflow's default logs every sample, which are millions of rows in a month; their mean over a minute tells as much."""
_POINTS_PER_CALL = 1000
_MAX_PARAM_LENGTH = 6000
_MAX_VERSION_TAG_LENGTH = 5000


class TrackingError(ServiceError):
    """MLflow can't be reached or refuses. Nothing is lost: the task may be run again to log its result."""


class Point(NamedTuple):
    """One value of a metric. `step` is the cycle, or 100 x IoU for curves over the IoU threshold."""

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class ModelVersion:
    """A registered version of the model."""

    version: int
    mlflow_run_id: str
    tags: dict[str, str]

    @property
    def path(self) -> str:
        """Output of `register_model` in the store. InputError for a tag that names none: others may set it."""
        # A version that a person registered by hand has no key.
        key = self.tags.get("key", "none")
        if key != "none" and re.fullmatch(KEY, key) is None:
            raise InputError(
                f"version {self.version} of {REGISTERED_MODEL} has the tag key {key!r:.100} in MLflow; allowed are the "
                "16 hex digits that `register_model` wrote there. Find out who changed it, or delete the version."
            )
        return f"register_model/{key}"


class SegmentedPlate(NamedTuple):
    plate: str
    digest: str
    model: str
    """Name, version and key, as in what it made."""
    dag_run_id: str
    version: int
    """Version of the registered model."""


def open_run(
    experiment: str,
    dag_run_id: str,
    run_name: str,
    parent_run_id: str | None = None,
    more_tags: Mapping[str, str] | None = None,
) -> str:
    """Give the id of a run of a DAG run, made when it doesn't exist yet: its own, or a child of that, by name."""
    tags = {DAG_RUN_TAG: dag_run_id, **(more_tags or {})} | ({PARENT_TAG: parent_run_id} if parent_run_id else {})
    with _failures_named():
        client = MlflowClient()
        experiment_id = _experiment(client, experiment)
        runs = _made_once(
            lambda: _runs_of(client, experiment_id, dag_run_id, run_name, parent_run_id),
            lambda: client.create_run(experiment_id, tags=tags, run_name=run_name),
        )
        run_id = str(runs[0].info.run_id)
        _remove_empty(client, runs[1:])
        client.update_run(run_id, status="RUNNING")
        return run_id


def _experiment(client: MlflowClient, name: str) -> str:
    """Give the id of an experiment, made when there is none of the name."""

    def find() -> list[Experiment]:
        found = client.get_experiment_by_name(name)
        return [found] if found else []

    experiment = _made_once(find, lambda: client.create_experiment(name, tags=EXPERIMENT_TAGS))[0]
    if experiment.lifecycle_stage != "active":
        raise InputError(
            f"The experiment {name!r} was deleted in MLflow; restore it with `mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}`, or give another name where one can be given."
        )
    return str(experiment.experiment_id)


def _made_once(find: Callable[[], list[T]], make: Callable[[], object]) -> list[T]:
    """Find something, or make it first. There may be two: MLflow's client asks again when an answer is late."""
    if found := find():
        return found
    try:
        make()
    except MlflowException:
        # The server may have done it all the same, or somebody else was a moment earlier.
        if not find():
            raise
    return find()


def _runs_of(
    client: MlflowClient, experiment_id: str, dag_run_id: str, run_name: str, parent_run_id: str | None
) -> list[MlflowRun]:
    """Give the runs that stand for the same: the one in use first, then those that were made by mistake."""
    search = partial(client.search_runs, [experiment_id], f"tags.{DAG_RUN_TAG} = '{dag_run_id}'")
    runs = [run for run in _all_pages(search) if run.data.tags.get(PARENT_TAG) == parent_run_id]
    if parent_run_id:
        runs = [run for run in runs if run.info.run_name == run_name]
    return sorted(runs, key=lambda run: (_is_empty(run), run.info.start_time, run.info.run_id))


def finished_children(dag_run_id: str) -> set[str]:
    """Give the names of the finished runs below that of a DAG run, without the parent's name behind them."""
    with _failures_named():
        client = MlflowClient()
        experiments = [experiment.experiment_id for experiment in _all_pages(client.search_experiments)]
        search = partial(client.search_runs, experiments, f"tags.{DAG_RUN_TAG} = '{dag_run_id}'")
        runs = [run for run in _all_pages(search) if run.info.status == "FINISHED"]
    return {(run.info.run_name or "").rpartition(", ")[0] for run in runs if PARENT_TAG in run.data.tags}


def _is_empty(run: MlflowRun) -> bool:
    return not run.data.params and not run.data.metrics


def _remove_empty(client: MlflowClient, runs: Iterable[MlflowRun]) -> None:
    for run in runs:
        if _is_empty(run):
            client.set_terminated(run.info.run_id, "KILLED")
            client.delete_run(run.info.run_id)


def find_model(name: str) -> ModelVersion | None:
    """Give the version that is meant; None without such a one.

    `name` is an alias ("champion", "challenger"), a number, or "run/" and the id of the run that made the model.
    """
    with _failures_named():
        try:
            found = _find_version(MlflowClient(), name)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
    assert found.run_id is not None
    return ModelVersion(int(found.version), found.run_id, dict(found.tags))


def _find_version(client: MlflowClient, name: str) -> Any:
    if name.startswith("run/"):
        run_id = name.removeprefix("run/")
        found = client.search_model_versions(f"name = '{REGISTERED_MODEL}' and run_id = '{run_id}'")
        if not found:
            raise MlflowException(f"no version of run {run_id}", RESOURCE_DOES_NOT_EXIST)
        return max(found, key=lambda version: int(version.version))
    if name.isdecimal():
        return client.get_model_version(REGISTERED_MODEL, name)
    return client.get_model_version_by_alias(REGISTERED_MODEL, name)


def all_models() -> list[ModelVersion]:
    """Give all registered versions, the oldest first."""
    with _failures_named():
        search = partial(MlflowClient().search_model_versions, f"name = '{REGISTERED_MODEL}'")
        versions = [ModelVersion(int(v.version), v.run_id or "", dict(v.tags)) for v in _all_pages(search)]
    return sorted(versions, key=lambda version: version.version)


def is_registered(key: str) -> bool:
    """Whether some version is of this output of `register_model`; without an MLflow run nobody asks, and it is none."""
    if "MLFLOW_RUN_ID" not in os.environ:
        return False
    return any(version.tags.get("key") == key for version in all_models())


def aliases() -> dict[str, int]:
    """Give the version that each alias means."""
    with _failures_named():
        found = MlflowClient().search_registered_models(f"name = '{REGISTERED_MODEL}'")
    return {alias: int(version) for model in found for alias, version in model.aliases.items()}


def segmented_plates() -> list[SegmentedPlate]:
    """Give every plate that a registered version segmented, the oldest first."""
    with _failures_named():
        client = MlflowClient()
        experiment = client.get_experiment_by_name(PLATES_EXPERIMENT)
        if experiment is None:
            return []
        runs = list(_all_pages(partial(client.search_runs, [experiment.experiment_id], "tags.model LIKE '%'")))
    return [_segmented_plate(run.data.tags) for run in reversed(runs)]


def _segmented_plate(tags: Mapping[str, str]) -> SegmentedPlate:
    return SegmentedPlate(tags["plate"], tags["plate_digest"], tags["model"], tags[DAG_RUN_TAG], _version_in(tags))


def _version_in(tags: Mapping[str, str]) -> int:
    """Give the version of the model that a run segmented with."""
    # Runs of before have it in the text alone.
    return int(
        tags.get("model_version") or tags["model"].removeprefix(f"{REGISTERED_MODEL} version ").partition(",")[0]
    )


def _all_pages(search: Callable[..., PagedList[Any]]) -> Iterator[Any]:
    """Give the finds of all pages of a search."""
    page = search()
    yield from page
    while page.token:
        page = search(page_token=page.token)
        yield from page


def set_alias(alias: str, version: int, tags: Mapping[str, str]) -> None:
    """Let an alias mean this version from now on, and write on the version why."""
    with _failures_named():
        _tag_version(version, tags)
        MlflowClient().set_registered_model_alias(REGISTERED_MODEL, alias, str(version))


def drop_alias(alias: str, version: int, tags: Mapping[str, str]) -> None:
    """Let an alias mean no version any more if it means this one, and write on the version why."""
    with _failures_named():
        _tag_version(version, tags)
        if aliases().get(alias) == version:
            MlflowClient().delete_registered_model_alias(REGISTERED_MODEL, alias)


def _tag_version(version: int, tags: Mapping[str, str]) -> None:
    for name, value in tags.items():
        MlflowClient().set_model_version_tag(REGISTERED_MODEL, str(version), name, value[:_MAX_VERSION_TAG_LENGTH])


def close_run(run_id: str, succeeded: bool) -> None:
    """End the MLflow run as FINISHED or FAILED, and remove those that the server made too late to be found before."""
    with _failures_named():
        client = MlflowClient()
        client.set_terminated(run_id, "FINISHED" if succeeded else "FAILED")
        run = client.get_run(run_id)
        tags = run.data.tags
        if DAG_RUN_TAG in tags:
            where = run.info.experiment_id, tags[DAG_RUN_TAG], run.info.run_name or "", tags.get(PARENT_TAG)
            alike = _runs_of(client, *where)
            _remove_empty(client, [other for other in alike if other.info.run_id != run_id])


def downloaded(run_id: str, path: str, folder: Path) -> Path:
    """Copy an artefact of a run, a file or a folder, into a folder; gives its path there."""
    with _failures_named():
        return Path(MlflowClient().download_artifacts(run_id, path, str(folder)))


class Run:
    """The MLflow run that this task adds to, or none: then every call does nothing."""

    def __init__(self) -> None:
        self.id = os.environ.get("MLFLOW_RUN_ID")
        self._client = MlflowClient() if self.id else None

    def log_params(self, params: Mapping[str, object], prefix: str) -> None:
        """Log params as `prefix.name`; a value that the run already has stays."""
        if self._client and self.id:
            with _failures_named():
                known = self._client.get_run(self.id).data.params
                new = [
                    Param(f"{prefix}.{name}", str(value)[:_MAX_PARAM_LENGTH])
                    for name, value in params.items()
                    if f"{prefix}.{name}" not in known
                ]
                self._client.log_batch(self.id, params=new)

    def log_points(self, points: Iterable[Point]) -> None:
        """Log metric values; steps that the run already has are left out."""
        if self._client and self.id:
            points = list(points)
            with _failures_named():
                known = {
                    (name, metric.step)
                    for name in {point.name for point in points}
                    for metric in self._client.get_metric_history(self.id, name)
                }
                now = get_current_time_millis()
                new = [Metric(p.name, float(p.value), now, p.step) for p in points if (p.name, p.step) not in known]
                for start in range(0, len(new), _POINTS_PER_CALL):
                    self._client.log_batch(self.id, metrics=new[start : start + _POINTS_PER_CALL])

    def log_artifact(self, path: Path, folder: str) -> None:
        """Copy a file into the artefacts of the run, under `folder`."""
        if self._client and self.id:
            with _failures_named():
                self._client.log_artifact(self.id, str(path), folder)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        if self._client and self.id:
            with _failures_named():
                self._client.log_batch(self.id, tags=[RunTag(name, value) for name, value in tags.items()])

    def set_note(self, markdown: str) -> None:
        """Set the description at the top of the run's page."""
        self.set_tags({"mlflow.note.content": markdown})

    def log_plate(self, name: str, digest: str, source: str, role: str, profile: str) -> None:
        """Log a plate as a dataset input of the run."""
        if self._client and self.id:
            dataset = Dataset(name=name, digest=digest[:36], source_type="local", source=source, profile=profile)
            tags = [InputTag("mlflow.data.context", DATASET_CONTEXTS[role])]
            with _failures_named():
                self._client.log_inputs(self.id, [DatasetInput(dataset, tags)])

    def register_model(self, folder: Path, key: str, tags: Mapping[str, str], description: str) -> None:
        """Register a folder that `save_model` wrote as a version of `nucleus-segmenter`, once per run and key."""
        if self._client and self.id:
            with _failures_named():
                if not self._versions(key):
                    self._register(self._client, self.id, folder, {"key": key, **tags}, description)
                for twin in self._versions(key)[1:]:
                    if int(twin.version) not in aliases().values():
                        self._client.delete_model_version(REGISTERED_MODEL, twin.version)

    def _versions(self, key: str) -> list[Any]:
        """Give the versions of this run and key: the one in use first, then those that were made by mistake."""
        assert self._client
        found = self._client.search_model_versions(f"name = '{REGISTERED_MODEL}' and run_id = '{self.id}'")
        versions = [version for version in found if version.tags.get("key") == key]
        in_force = aliases().values() if len(versions) > 1 else ()
        return sorted(versions, key=lambda version: (int(version.version) not in in_force, int(version.version)))

    def _register(
        self, client: MlflowClient, run_id: str, folder: Path, tags: Mapping[str, str], description: str
    ) -> None:
        _made_once(
            lambda: list(client.search_registered_models(f"name = '{REGISTERED_MODEL}'")),
            lambda: client.create_registered_model(REGISTERED_MODEL),
        )
        client.log_artifacts(run_id, str(folder), "model")
        all_tags = {DAG_RUN_TAG: client.get_run(run_id).data.tags.get(DAG_RUN_TAG, ""), **tags}
        source = f"runs:/{run_id}/model"
        _made_once(
            lambda: self._versions(tags["key"]),
            lambda: client.create_model_version(REGISTERED_MODEL, source, run_id, all_tags, description=description),
        )

    def tag_model_versions(self, tags: Mapping[str, str]) -> None:
        """Write tags on the versions that were registered from this run."""
        if self._client and self.id:
            with _failures_named():
                for found in self._client.search_model_versions(
                    f"name = '{REGISTERED_MODEL}' and run_id = '{self.id}'"
                ):
                    for name, value in tags.items():
                        shown = value[:_MAX_VERSION_TAG_LENGTH]
                        self._client.set_model_version_tag(REGISTERED_MODEL, found.version, name, shown)

    def mark_model_versions(self, mark: str) -> None:
        """Let the description of the versions that were registered from this run begin with this sentence."""
        if self._client and self.id:
            with _failures_named():
                for found in self._client.search_model_versions(
                    f"name = '{REGISTERED_MODEL}' and run_id = '{self.id}'"
                ):
                    if not (found.description or "").startswith(mark):
                        text = f"{mark}\n\n{found.description or ''}".strip()
                        self._client.update_model_version(REGISTERED_MODEL, found.version, text)

    @contextmanager
    def system_metrics(self, node: str) -> Iterator[None]:
        """Sample CPU, memory and GPU use of this machine as `system/<node>/…` while the block runs."""
        if not self.id:
            yield
            return
        monitor = SystemMetricsMonitor(self.id, SAMPLED_EVERY_S, SAMPLES_PER_POINT, node_id=node, resume_logging=True)
        monitor.start()
        try:
            yield
        finally:
            monitor.finish()


def save_model(folder: Path, data: Path, code: Sequence[Path], loader_module: str, libraries: Iterable[str]) -> None:
    """Write a pyfunc model: data, the code that loads it, and the libraries' installed versions."""
    requirements = [f"{name}=={importlib.metadata.version(name)}" for name in libraries]
    with redirect_stderr(StringIO()):  # MLflow warns that the signature is missing: fields are of any size.
        mlflow.pyfunc.save_model(
            folder, loader_module=loader_module, data_path=data, code_paths=list(code), pip_requirements=requirements
        )


@contextmanager
def _failures_named() -> Iterator[None]:
    try:
        yield
    except (MlflowException, OSError) as error:
        where = mlflow.get_tracking_uri()
        raise TrackingError(
            f"MLflow at {where} doesn't answer or refuses ({str(error).splitlines()[0]:.200}); "
            "start it or correct MLFLOW_TRACKING_URI and run the task again: finished results are in the store."
        ) from error
