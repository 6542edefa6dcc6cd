"""Keep with a version of the registered model why it was rejected; it is the challenger no longer.

The version keeps a tag `rejection/<time in UTC>` with the reason and who gave it.
"""

import logging
import sys
from datetime import UTC, datetime

import pydantic

from tasks import tracking
from tasks.contract import Outcome, Resources, Task, TaskParams, Workspace
from tasks.nuclei.errors import InputError
from tasks.store.registered_model import REGISTERED_MODEL

log = logging.getLogger("nucleus")


class Params(TaskParams):
    version: int = pydantic.Field(ge=1)
    """Version of the registered model."""
    reason: str = pydantic.Field(min_length=5, max_length=2000)
    """Who rejected it, and why; it stays with the version."""
    dag_run_id: str = pydantic.Field(min_length=1)
    """DAG run that asked; one rejection each."""


def run(params: Params, workspace: Workspace) -> Outcome:
    if tracking.find_model(str(params.version)) is None:
        raise InputError(
            f"version: {REGISTERED_MODEL} has no version {params.version}; take one that MLflow's page lists."
        )
    text = f"{params.reason} (DAG run {params.dag_run_id})"
    # No other retraining makes another version the challenger meanwhile: they run one at a time.
    tracking.drop_alias("challenger", params.version, {f"rejection/{datetime.now(UTC):%Y-%m-%d %H:%M:%S}": text})
    log.info("version %d: %s", params.version, text)
    return Outcome({}, {}, {"version": params.version})


TASK = Task(name="reject_model", version=1, params_type=Params, run=run, resources=Resources(memory_gib=1))

if __name__ == "__main__":
    sys.exit(TASK.main())
