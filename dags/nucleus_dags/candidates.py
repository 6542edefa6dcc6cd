"""What a DAG run trains and compares: candidates, from their trainings to their scores.

A candidate is a `name` and its `trainings`, one for each of its networks: a `task` and the settings of it. Each has an
MLflow run of its own; `children` are their results of `open_run`. Lists go from task to task in the order of the
candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nucleus_dags.plan import METHODS, segmentation_settings

TRAINING_TASKS = tuple(METHODS.values())


def child_runs(planned: Mapping[str, Any], parent_run_id: str) -> list[dict[str, Any]]:
    """Give the settings of `open_run` for each candidate."""
    below = planned["open_run"] | {"parent_run_id": parent_run_id}
    begun = planned["open_run"]["run_name"]
    # With the time, because runs of several DAG runs are compared by their names.
    return [below | {"run_name": f"{candidate['name']}, {begun}"} for candidate in planned["candidates"]]


def trainings(planned: Mapping[str, Any], children: Sequence[Mapping[str, Any]], task: str) -> list[dict[str, Any]]:
    """Give the settings of this task for each network that it trains, one candidate after the other."""
    return [
        _without_task(training) | _in_run(child)
        for candidate, child in zip(planned["candidates"], children, strict=True)
        for training in candidate["trainings"]
        if training["task"] == task
    ]


def trained(
    planned: Mapping[str, Any], children: Sequence[Mapping[str, Any]], results: Mapping[str, Sequence[Any] | None]
) -> list[dict[str, Any]]:
    """Give the networks of each candidate, from the results of each task in `trainings`."""
    waiting = {task: iter(of_task or ()) for task, of_task in results.items()}
    return [
        {"networks": [next(waiting[training["task"]])["outputs"]["network"] for training in candidate["trainings"]]}
        | _in_run(child)
        for candidate, child in zip(planned["candidates"], children, strict=True)
    ]


def models(
    planned: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]], calibrated: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Give each candidate's networks with what they segment by: the settings of `register_model`."""
    return [
        {**candidate, **segmentation_settings(planned["segmentation"], result["metrics"])}
        for candidate, result in zip(candidates, calibrated, strict=True)
    ]


def segmentations(models: Sequence[Mapping[str, Any]], plates: Sequence[str]) -> list[dict[str, Any]]:
    """Give the settings of `segment` for every model and plate, model after model."""
    return [{**model, "plate": plate} for model in models for plate in plates]


def scorings(settings: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the settings of `score` for each model, in the order of `segmentations`."""
    of_run: dict[str, list[str]] = {}
    for setting, result in zip(settings, results, strict=True):
        of_run.setdefault(setting["mlflow_run_id"], []).append(result["outputs"]["segmentation"])
    return [{"segmentations": paths, "mlflow_run_id": run} for run, paths in of_run.items()]


def scores_by_name(planned: Mapping[str, Any], scored: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Give the scores of every candidate by its name."""
    names = [candidate["name"] for candidate in planned["candidates"]]
    return {name: result["outputs"]["scores"] for name, result in zip(names, scored, strict=True)}


def metrics_by_name(planned: Mapping[str, Any], scored: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Give the metrics of the scores, of those candidates that got so far."""
    names = [candidate["name"] for candidate in planned["candidates"]]
    return {name: result["metrics"] for name, result in zip(names, scored, strict=False)}


def _without_task(training: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in training.items() if name != "task"}


def _in_run(child: Mapping[str, Any]) -> dict[str, str]:
    return {"mlflow_run_id": child["mlflow_run_id"]}
