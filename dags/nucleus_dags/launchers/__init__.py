"""Turn a task of the manifest into an Airflow operator. A DAG doesn't know which kind of operator it gets.

`NUCLEUS_LAUNCHER` chooses the kind in one place: `local`, a process of this machine, or `pod`.

The environment of the Airflow servers says where things are: `NUCLEUS_STORE` (folder of all
results) and `MLFLOW_TRACKING_URI`. What pods need besides is in k8s/base/kustomization.yaml.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from nucleus_dags.launchers.kinds import KINDS, gpus_of_a_pod, pool_of, resources_of

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import XComArg

    from nucleus_dags.launchers.task_operator import HandOn, Prepare, TaskOperator


def note_failure(context: Context) -> None:
    """Put a task that failed on top of the note of its DAG run."""
    # Not at import: programs that a person starts take from this package what doesn't need Airflow.
    from nucleus_dags import run_note

    run_note.note_failure(context)


DEFAULT_ARGS = {"retries": 2, "retry_delay": timedelta(seconds=10), "on_failure_callback": note_failure}
"""For all tasks: a server that is killed may take one of Airflow itself with it, and none fails without a word."""


def launch(
    task: str,
    *,
    task_id: str | None = None,
    settings: XComArg | dict[str, Any] | None = None,
    inputs: dict[str, Any] | None = None,
    each: XComArg | None = None,
    known: dict[str, Any] | None = None,
    prepare: Prepare | None = None,
    hand_on: HandOn | None = None,
    **arguments: Any,
) -> Any:
    """Give the operator that runs a task of the manifest, a mapped one if `each` is given.

    `settings` is a dict with what a person chose, `inputs` a dict with outputs of earlier tasks, `each` a list of
    dicts: the task runs once for each of them, side by side. Together they are the params, unless `prepare` makes
    these of them and of what is `known` besides. An item may hold `task` and `mlflow_run_id`, of its part. The operator
    gives the small result, or what `hand_on` makes of the result and of what is known. Every output of the task is an
    XCom of its own: `operator.output["plate"]`.
    """
    given = {"settings": settings or {}, "inputs": inputs or {}, "known": known or {}}
    hooks = {"prepare": prepare, "hand_on": hand_on}
    options = {"task_id": task_id or task, "task": task} | given | hooks | _scheduling(task) | arguments
    operator = _operator_type()
    if each is None:
        return operator(**options)
    return operator.partial(**options).expand(each=each)


def _scheduling(task: str) -> dict[str, Any]:
    kind = KINDS[resources_of(task)["kind"]]
    return {
        "pool": pool_of(task),
        "pool_slots": gpus_of_a_pod(task) or 1,
        "retries": kind.retries,
        "retry_delay": timedelta(seconds=10),
        "max_retry_delay": timedelta(minutes=10),
        "retry_exponential_backoff": 2.0,
    }


def _operator_type() -> type[TaskOperator]:
    """Imports only the kind that is used: that of pods takes seconds."""
    launcher = os.environ.get("NUCLEUS_LAUNCHER", "local")
    if launcher == "local":
        from nucleus_dags.launchers.local_process import LocalProcessOperator

        return LocalProcessOperator
    if launcher == "pod":
        from nucleus_dags.launchers.pods import TaskPodOperator

        return TaskPodOperator
    raise ValueError(f"NUCLEUS_LAUNCHER is {launcher!r}; it may be 'local' or 'pod'.")
