"""The runs of MLflow: opened once for all that adds to them, found again, closed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Experiment
from mlflow.entities import Run as MlflowRun

from tasks.nuclei.errors import InputError
from tasks.store.registered_model import REGISTERED_MODEL
from tasks.tracking.client import DAG_RUN_TAG, NOTE_TAG, all_pages, failures_named, made_once, run_page_link

PLATES_EXPERIMENT = "plates"
PARENT_TAG = "mlflow.parentRunId"
# Without it the page takes the runs for evaluations of language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}


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
    if link := run_page_link():
        tags[NOTE_TAG] = link
    with failures_named():
        client = MlflowClient()
        experiment_id = _experiment(client, experiment)
        runs = made_once(
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

    experiment = made_once(find, lambda: client.create_experiment(name, tags=EXPERIMENT_TAGS))[0]
    if experiment.lifecycle_stage != "active":
        raise InputError(
            f"The experiment {name!r} was deleted in MLflow; restore it with `mlflow experiments restore "
            f"--experiment-id {experiment.experiment_id}`, or give another name where one can be given."
        )
    return str(experiment.experiment_id)


def _runs_of(
    client: MlflowClient, experiment_id: str, dag_run_id: str, run_name: str, parent_run_id: str | None
) -> list[MlflowRun]:
    """Give the runs that stand for the same: the one in use first, then those that were made by mistake."""
    search = partial(client.search_runs, [experiment_id], f"tags.{DAG_RUN_TAG} = '{dag_run_id}'")
    runs = [run for run in all_pages(search) if run.data.tags.get(PARENT_TAG) == parent_run_id]
    if parent_run_id:
        runs = [run for run in runs if run.info.run_name == run_name]
    return sorted(runs, key=lambda run: (_is_empty(run), run.info.start_time, run.info.run_id))


def finished_children(dag_run_id: str) -> set[str]:
    """Give the names of the finished runs below that of a DAG run, without the parent's name behind them."""
    with failures_named():
        client = MlflowClient()
        experiments = [experiment.experiment_id for experiment in all_pages(client.search_experiments)]
        search = partial(client.search_runs, experiments, f"tags.{DAG_RUN_TAG} = '{dag_run_id}'")
        runs = [run for run in all_pages(search) if run.info.status == "FINISHED"]
    return {(run.info.run_name or "").rpartition(", ")[0] for run in runs if PARENT_TAG in run.data.tags}


def _is_empty(run: MlflowRun) -> bool:
    return not run.data.params and not run.data.metrics


def _remove_empty(client: MlflowClient, runs: Iterable[MlflowRun]) -> None:
    for run in runs:
        if _is_empty(run):
            client.set_terminated(run.info.run_id, "KILLED")
            client.delete_run(run.info.run_id)


def segmented_plates() -> list[SegmentedPlate]:
    """Give every plate that a registered version segmented, the oldest first."""
    with failures_named():
        client = MlflowClient()
        experiment = client.get_experiment_by_name(PLATES_EXPERIMENT)
        if experiment is None:
            return []
        runs = list(all_pages(partial(client.search_runs, [experiment.experiment_id], "tags.model LIKE '%'")))
    return [_segmented_plate(run.data.tags) for run in reversed(runs)]


def _segmented_plate(tags: Mapping[str, str]) -> SegmentedPlate:
    return SegmentedPlate(tags["plate"], tags["plate_digest"], tags["model"], tags[DAG_RUN_TAG], _version_in(tags))


def _version_in(tags: Mapping[str, str]) -> int:
    """Give the version of the model that a run segmented with."""
    # Runs of before have it in the text alone.
    return int(
        tags.get("model_version") or tags["model"].removeprefix(f"{REGISTERED_MODEL} version ").partition(",")[0]
    )


def close_run(run_id: str, succeeded: bool) -> None:
    """End the MLflow run as FINISHED or FAILED, and remove those that the server made too late to be found before."""
    with failures_named():
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
    with failures_named():
        return Path(MlflowClient().download_artifacts(run_id, path, str(folder)))
