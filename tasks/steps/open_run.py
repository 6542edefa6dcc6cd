"""Open the MLflow run that the later tasks of a DAG run add to, and one below it for each part of the DAG run."""

import sys

import pydantic

from tasks import tracking
from tasks.contract import Outcome, Resources, Task, TaskParams, Workspace


class Params(TaskParams):
    experiment: str = pydantic.Field(min_length=1, max_length=200)
    """MLflow experiment; made when it doesn't exist."""
    dag_run_id: str = pydantic.Field(min_length=1)
    """DAG run that the MLflow run belongs to: one each, and those below it."""
    run_name: str = pydantic.Field(min_length=1, max_length=200)
    """Name in MLflow's list of runs."""
    children: list[str] = pydantic.Field(default_factory=list)
    """Names of runs below it, one for each part of the DAG run. Each is called by its name and that of the run."""


def run(params: Params, workspace: Workspace) -> Outcome:
    run_id = tracking.open_run(params.experiment, params.dag_run_id, params.run_name)
    # With the name of the run, because runs of several DAG runs are compared by their names.
    children = [
        tracking.open_run(params.experiment, params.dag_run_id, f"{name}, {params.run_name}", run_id)
        for name in params.children
    ]
    return Outcome({}, {}, {}, mlflow_run_id=run_id, values={"children": children})


TASK = Task(name="open_run", version=2, params_type=Params, run=run, resources=Resources(memory_gib=1))

if __name__ == "__main__":
    sys.exit(TASK.main())
