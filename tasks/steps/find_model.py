"""Find a registered model: which version an alias means now, or what a version is.

The answer is the version (count `version`) and the model in the store (output `model`); both lack when there is
no such model. It is asked once a DAG run, so that all tasks of one work with the same model.
"""

import sys

import pydantic

from tasks import tracking
from tasks.contract import Outcome, Task, TaskParams, Workspace
from tasks.nuclei.errors import InputError


class Params(TaskParams):
    model: str = pydantic.Field(pattern=r"^(champion|challenger|[1-9][0-9]*|run/[0-9a-f]{32})$")
    """An alias, "champion" or "challenger", the number of a version, or run/<id of the MLflow run that made it>."""
    dag_run_id: str = pydantic.Field(min_length=1)
    """DAG run that asks."""
    may_lack: bool = False
    """Whether it is fine if there is no such model."""


def run(params: Params, workspace: Workspace) -> Outcome:
    found = tracking.find_model(params.model)
    if found is None:
        if params.may_lack:
            return Outcome({}, {}, {})
        raise InputError(
            f"model: there is no {params.model} of {tracking.REGISTERED_MODEL} in MLflow; "
            "train one, or give the number of a version that MLflow's page lists."
        )
    if not (workspace.store / found.path / "result.json").exists():
        raise InputError(
            f"model: version {found.version} was made from {found.path}, which the store {workspace.store} lacks; "
            "use the store that it was trained in."
        )
    # The path of another task's output: two levels up from this task's own.
    return Outcome({"model": f"../../{found.path}"}, {}, {"version": found.version})


TASK = Task(name="find_model", version=1, params_type=Params, run=run)


if __name__ == "__main__":
    sys.exit(TASK.main())
