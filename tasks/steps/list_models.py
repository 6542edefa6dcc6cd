"""List the registered versions, the oldest first: the number, the model in the store and the aliases of each.

It is asked once a DAG run, so that all tasks of one speak of the same versions. A version that can't be used,
because the store lacks its model or networks, stays in models.json without a model.
"""

import json
import logging
import sys

import pydantic

from tasks import tracking
from tasks.contract import Outcome, Task, TaskParams, Workspace

log = logging.getLogger("nucleus")


class Params(TaskParams):
    dag_run_id: str = pydantic.Field(min_length=1)
    """DAG run that asks."""


def run(params: Params, workspace: Workspace) -> Outcome:
    aliases = tracking.aliases()
    models = [
        {
            "version": found.version,
            "model": found.path if found.is_in(workspace.store) else None,
            "aliases": sorted(alias for alias, version in aliases.items() if version == found.version),
        }
        for found in tracking.all_models()
    ]
    lacking = [model["version"] for model in models if model["model"] is None]
    for version in lacking:
        log.info("version %d is left out: the store lacks its model or a network of it", version)
    (workspace.output_dir / "models.json").write_text(json.dumps(models, indent=1))
    return Outcome({"models": "models.json"}, {}, {"versions": len(models), "lacking": len(lacking)})


TASK = Task(name="list_models", version=1, params_type=Params, run=run)

if __name__ == "__main__":
    sys.exit(TASK.main())
