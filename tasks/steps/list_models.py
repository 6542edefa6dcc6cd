"""List the registered versions, the oldest first: number, aliases and how each segments.

It is asked once per DAG run, so that all tasks of one run speak of the same versions. A version that can't be used,
because the store lacks its model or networks or because its method isn't installed, is listed without a model.
"""

import logging
import sys
from pathlib import Path
from typing import Any

import pydantic

from tasks import tracking
from tasks.contract import Outcome, Resources, Task, TaskParams, Workspace
from tasks.nuclei.errors import InputError
from tasks.store.provenance import holds_model, model_at

log = logging.getLogger("nucleus")


class Params(TaskParams):
    dag_run_id: str = pydantic.Field(min_length=1)
    """DAG run that asks."""


def run(params: Params, workspace: Workspace) -> Outcome:
    aliases = tracking.aliases()
    versions = [
        {
            "version": found.version,
            "aliases": sorted(alias for alias, version in aliases.items() if version == found.version),
            "model": _segments_by(found, workspace.store),
        }
        for found in tracking.all_models()
    ]
    lacking = sum(version["model"] is None for version in versions)
    return Outcome({}, {}, {"versions": len(versions), "lacking": lacking}, values={"versions": versions})


def _segments_by(found: tracking.ModelVersion, store: Path) -> dict[str, Any] | None:
    """Give the settings of `segment` for a version; None if it can't be used."""
    try:
        if not holds_model(found.path, store):
            log.info("version %d is left out: the store lacks its model or a network of it", found.version)
            return None
        model = model_at(found.path, store)
    except InputError as error:
        log.info("version %d is left out: %s", found.version, error)
        return None
    settings = model.settings.model_dump(mode="json")
    return {"method": model.method.name, "networks": model.networks, "settings": settings}


TASK = Task(
    name="list_models",
    version=2,
    params_type=Params,
    run=run,
    resources=Resources(memory_gib=1),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
