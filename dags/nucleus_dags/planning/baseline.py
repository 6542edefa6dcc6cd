"""The method that every report shows beside the models: one that needs no training and no network.

It is segmented and scored like a model of the DAG run, without an MLflow run, by which its scores are told from others.
"""

from __future__ import annotations

from collections.abc import Iterable

from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.manifest import manifest
from nucleus_dags.planning.types import Model


def baseline_model() -> Model:
    """Give what plates are segmented with; its method has settings that need no choice."""
    model: Model = {**manifest()["baseline"]["model"], "mlflow_run_id": None}  # type: ignore[typeddict-item]
    return model


def scores_of_baseline(scored: Iterable[Result]) -> dict[str, str]:
    """Give the scores of the baseline by its name, for `report`; none if it wasn't scored."""
    return {manifest()["baseline"]["name"]: result["outputs"]["scores"] for result in _of_baseline(scored)}


def metrics_of_baseline(scored: Iterable[Result]) -> dict[str, dict[str, float]]:
    """Give the metrics of its scores by its name, for the note of the DAG run."""
    return {manifest()["baseline"]["name"]: result["metrics"] for result in _of_baseline(scored)}


def of_models(segmented: Iterable[Result]) -> list[Result]:
    """Leave out what the baseline segmented: doubts about it are none about the models."""
    own = baseline_model()["method"]
    return [result for result in segmented if result["params"]["method"] != own]


def _of_baseline(scored: Iterable[Result]) -> list[Result]:
    return [result for result in scored if not result["mlflow_run_id"]]
