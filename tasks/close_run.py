"""End the MLflow run of a DAG run as finished or failed."""

import sys

import pydantic

from tasks import tracking
from tasks.contract import Outcome, Task, TaskParams, Workspace


class Params(TaskParams):
    mlflow_run_id: str = pydantic.Field(min_length=1)
    """Run to end, as given by `open_run`."""
    succeeded: bool
    """Whether every task before this one did its work."""
    attempt: str = ""
    """Tells a repeated ending of the same run from the first, so that it is done again."""


def run(params: Params, workspace: Workspace) -> Outcome:
    tracking.close_run(params.mlflow_run_id, params.succeeded)
    return Outcome(outputs={}, metrics={}, counts={})


TASK = Task(name="close_run", version=1, params_type=Params, run=run)

if __name__ == "__main__":
    sys.exit(TASK.main())
