"""The part of a DAG that trains the networks of all candidates, whatever their methods."""

from __future__ import annotations

from typing import Any

from airflow.sdk import task

from nucleus_dags import candidates
from nucleus_dags.candidates import TRAINING_TASKS
from nucleus_dags.launchers import launch

NAME_OF_TRAINING = (
    "{{ task.each.get('target', 'one network') }}, from {{ task.each.get('initialisation', 'the preset') }}"
)


def train_networks(planned: Any, children: Any, rois: Any) -> Any:
    """Launch a mapped task for each kind of training; gives every candidate's networks and MLflow run.

    `children` are the MLflow runs of the candidates. A kind that nobody asks for is skipped.
    """
    results = {}
    for name in TRAINING_TASKS:
        each = trainings_of.override(task_id=f"settings_of_{name}")(planned, children, name)
        training = launch(name, inputs={"rois": rois}, each=each, map_index_template=NAME_OF_TRAINING)
        results[name] = training.output
    return networks_of(planned, children, results)


@task
def trainings_of(planned: dict[str, Any], children: Any, name: str) -> list[dict[str, Any]]:
    return candidates.trainings(planned, list(children), name)


# Kinds that nobody asks for are skipped, and so is all of it in a run that has nothing to do.
@task(trigger_rule="none_failed_min_one_success")
def networks_of(planned: dict[str, Any], children: Any, results: dict[str, Any]) -> list[dict[str, Any]]:
    return candidates.trained(planned, list(children), results)
