"""End the MLflow runs of a DAG run as finished or failed."""

import sys
from pathlib import Path

import pydantic

from tasks import tracking
from tasks.contract import Outcome, Resources, Result, Task, TaskParams, Workspace


class Params(TaskParams):
    mlflow_run_ids: list[str] = pydantic.Field(min_length=1)
    """Runs to end, as given by `open_run`."""
    succeeded: bool
    """Whether every task before this one did its work."""
    failed: list[str] = pydantic.Field(default_factory=list)
    """Those of the runs whose own part failed, or wasn't reached, while the others did their work."""


def run(params: Params, workspace: Workspace) -> Outcome:
    return Outcome(outputs={}, metrics={}, counts={})


def log_result(params: Params, result: Result, store: Path) -> None:
    """End them, also those that were ended before and went on since."""
    for run_id in params.mlflow_run_ids:
        tracking.close_run(run_id, params.succeeded and run_id not in params.failed)


TASK = Task(
    name="close_run",
    version=1,
    params_type=Params,
    run=run,
    log=log_result,
    resources=Resources(memory_gib=1),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
