"""Open the MLflow run that the later tasks of a DAG run add to, or one below it for a part of the DAG run."""

import sys

import pydantic

from tasks import tracking
from tasks.contract import Outcome, Task, TaskParams, Workspace


class Params(TaskParams):
    experiment: str = pydantic.Field(min_length=1, max_length=200)
    """MLflow experiment; made when it doesn't exist."""
    dag_run_id: str = pydantic.Field(min_length=1)
    """DAG run that the MLflow run belongs to: one each, and those below it."""
    run_name: str = pydantic.Field(min_length=1, max_length=200)
    """Name in MLflow's list of runs."""
    parent_run_id: str | None = None
    """The MLflow run of the DAG run, for one below it; those have a name each."""


def run(params: Params, workspace: Workspace) -> Outcome:
    run_id = tracking.open_run(params.experiment, params.dag_run_id, params.run_name, params.parent_run_id)
    return Outcome(outputs={}, metrics={}, counts={}, mlflow_run_id=run_id)


TASK = Task(name="open_run", version=1, params_type=Params, run=run)

if __name__ == "__main__":
    sys.exit(TASK.main())
