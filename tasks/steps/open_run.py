"""Open the MLflow run that the later tasks of a DAG run add to, and one below it for each part of the DAG run.

DAG runs of one matrix of experiments share them: what one has done, the next doesn't do again.
"""

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
    name_of_children: str | None = pydantic.Field(default=None, min_length=1, max_length=200)
    """How the names of these go on, in place of that of the run."""
    tags_of_children: list[dict[str, str]] = pydantic.Field(default_factory=list)
    """Tags of these runs, if they have some."""
    belongs_to: str | None = pydantic.Field(default=None, min_length=1)
    """What the runs belong to in place of the DAG run, where several DAG runs add to them."""

    @pydantic.model_validator(mode="after")
    def _tag_each_child(self) -> "Params":
        if self.tags_of_children and len(self.tags_of_children) != len(self.children):
            raise ValueError(
                f"tags_of_children has {len(self.tags_of_children)} entries for {len(self.children)} children; "
                "give one for each"
            )
        return self


def run(params: Params, workspace: Workspace) -> Outcome:
    owner = params.belongs_to or params.dag_run_id
    run_id = tracking.open_run(params.experiment, owner, params.run_name)
    tags = params.tags_of_children or [{} for _ in params.children]
    rest = f" {params.name_of_children}" if params.name_of_children else f", {params.run_name}"
    # With the name of the run, because runs of several DAG runs are compared by their names.
    children = [
        tracking.open_run(params.experiment, owner, f"{name}{rest}", run_id, of_child)
        for name, of_child in zip(params.children, tags, strict=True)
    ]
    return Outcome({}, {}, {}, mlflow_run_id=run_id, values={"children": children})


TASK = Task(name="open_run", version=3, params_type=Params, run=run, resources=Resources(memory_gib=1))

if __name__ == "__main__":
    sys.exit(TASK.main())
