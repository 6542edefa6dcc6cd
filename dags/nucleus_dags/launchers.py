"""Turn a task of the catalogue into an Airflow operator. A DAG doesn't know which kind it gets.

`NUCLEUS_LAUNCHER` chooses the kind in one place: `local`, a process of this machine, or `pod`.

The environment of the Airflow servers says where things are: `NUCLEUS_STORE` (folder of all
results) and `MLFLOW_TRACKING_URI`. What pods need besides is in k8s/base/kustomization.yaml.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from nucleus_dags.catalogue import CATALOGUE, gpus_of_a_pod

if TYPE_CHECKING:
    from airflow.sdk.definitions.xcom_arg import XComArg

    from nucleus_dags.task_operator import TaskOperator


DEFAULT_ARGS = {"retries": 2, "retry_delay": timedelta(seconds=10)}
"""Of the tasks of Airflow itself: a server that is killed may take one with it."""


def launch(
    task: str,
    *,
    settings: XComArg | dict[str, Any] | None = None,
    inputs: dict[str, Any] | None = None,
    each: XComArg | None = None,
    mlflow_run_id: XComArg | None = None,
    task_id: str | None = None,
    map_index_template: str | None = None,
    trigger_rule: str = "all_success",
    hand_on_refusals: bool = False,
) -> Any:
    """Give the operator that runs a task of the catalogue, a mapped one if `each` is given.

    `settings` is a dict with what a person chose, `inputs` a dict with outputs of earlier tasks,
    `each` a list of dicts: the task runs once for each of them, side by side. Together they are the
    task's params. An item of `each` may hold the `mlflow_run_id` of its part. Every output of the
    task is an XCom of its own: `operator.output["plate"]`. With `hand_on_refusals`, bad input isn't a
    failure: the task's words are handed on as `{"refused": "…"}`.
    """
    entry = CATALOGUE[task]
    arguments: dict[str, Any] = {
        "task_id": task_id or task,
        "task": task,
        "settings": settings or {},
        "inputs": inputs or {},
        "mlflow_run_id": mlflow_run_id,
        "pool": entry.pool,
        "pool_slots": gpus_of_a_pod(entry) or 1,
        "retries": entry.retries,
        "retry_delay": timedelta(seconds=10),
        "max_retry_delay": timedelta(minutes=10),
        "retry_exponential_backoff": 2.0,
        "map_index_template": map_index_template,
        "trigger_rule": trigger_rule,
        "hand_on_refusals": hand_on_refusals,
    }
    operator = _operator_type()
    if each is None:
        return operator(**arguments)
    return operator.partial(**arguments).expand(each=each)


def _operator_type() -> type[TaskOperator]:
    """Imports only the kind that is used: that of pods takes seconds."""
    launcher = os.environ.get("NUCLEUS_LAUNCHER", "local")
    if launcher == "local":
        from nucleus_dags.local_process import LocalProcessOperator

        return LocalProcessOperator
    if launcher == "pod":
        from nucleus_dags.pods import TaskPodOperator

        return TaskPodOperator
    raise ValueError(f"NUCLEUS_LAUNCHER is {launcher!r}; it may be 'local' or 'pod'.")
