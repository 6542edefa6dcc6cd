"""Let an alias of the registered model mean another version: promote a challenger, or roll back to an earlier champion.

The version keeps a tag `promotion/<time in UTC>` with the reason and the version that it took the place of.
"""

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pydantic

from tasks import locks, tracking
from tasks.contract import NothingToDo, Outcome, Resources, Task, TaskParams, Workspace
from tasks.nuclei.errors import InputError
from tasks.nuclei.usability import warning_in
from tasks.store.provenance import holds_model
from tasks.store.registered_model import REGISTERED_MODEL

log = logging.getLogger("nucleus")


class Params(TaskParams):
    version: int | None = pydantic.Field(default=None, ge=1)
    """Version of the registered model."""
    mlflow_run: str | None = pydantic.Field(default=None, pattern=r"^[0-9a-f]{32}$")
    """In place of a version: the MLflow run that it was registered from."""
    alias: Literal["champion", "challenger"] = "champion"
    """Champion is the model in force, challenger one that passed the gate and waits for its approval."""
    reason: str = pydantic.Field(min_length=5, max_length=2000)
    """Why; it stays with the version."""
    dag_run_id: str = pydantic.Field(min_length=1)
    """DAG run that promotes; one promotion each and alias."""
    judged_against: int | None = None
    """Version that the champion must still be, 0 for none; not given, any."""
    only_first: bool = False
    """Whether there is nothing to do where the alias means a version already."""

    @pydantic.model_validator(mode="after")
    def _name_one_version(self) -> "Params":
        if (self.version is None) == (self.mlflow_run is None):
            raise ValueError("give either version or mlflow_run")
        return self


def run(params: Params, workspace: Workspace) -> Outcome:
    # What is promoted at the same time must not come between the look at the alias and its change.
    with locks.held(workspace.store / "promote_model" / ".alias.lock"):
        return _promote(params, workspace.store)


def _promote(params: Params, store: Path) -> Outcome:
    before = tracking.find_model(params.alias)
    if before and params.only_first:
        raise NothingToDo(f"Version {before.version} is {params.alias} already.")
    found = tracking.find_model(f"run/{params.mlflow_run}" if params.mlflow_run else str(params.version))
    if found is None:
        named = f"version {params.version}" if params.version else f"version of the MLflow run {params.mlflow_run}"
        raise InputError(f"version: {REGISTERED_MODEL} has no {named}; take one that MLflow's page lists.")
    if not holds_model(found.path, store):
        raise InputError(
            f"version: the store {store} lacks the model of version {found.version}, so nothing could be segmented "
            "with it; take a version that was trained here."
        )
    number_before = before.version if before else 0
    if params.judged_against not in (None, number_before) and number_before != found.version:
        raise InputError(
            f"judged_against: version {found.version} was judged against {_named(params.judged_against or 0)}, but "
            f"meanwhile {_named(number_before)} is {params.alias}; start the retraining again."
        )
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    text = f"{params.alias} in place of {_named(number_before)}: {params.reason} (DAG run {params.dag_run_id})"
    tracking.set_alias(params.alias, found.version, {f"promotion/{now}": text})
    log.info("version %d is %s", found.version, text)
    numbers = {"version": found.version, "version_before": number_before}
    return Outcome({}, {}, numbers, values={"warning": warning_in(found.tags)})


def _named(version: int) -> str:
    return f"version {version}" if version else "none"


TASK = Task(
    name="promote_model",
    version=1,
    params_type=Params,
    run=run,
    resources=Resources(memory_gib=1),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
