"""Ask the store which results of a task are there already, and which are to be made.

One task in place of thousands that answer "reused": the params are `each` x `across`, as of a mapped task of a DAG.
Writes found.json: `stored`, the results, and `to_do`, the numbers of the items of `each` and `across` for the others. A
result that has lost files is to be made.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pydantic

from tasks.contract import Outcome, Result, Task, TaskParams, Workspace, parse_params, read_result
from tasks.file_hashes import lost_file
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside

ASKED_AT_ONCE = 16
"""Each waits for the file server."""
HANDED_ON = ("task", "key", "params", "outputs", "counts", "values")

log = logging.getLogger("nucleus")


class Params(TaskParams):
    dag_run_id: str = pydantic.Field(min_length=1)
    """DAG run that asks."""
    task: str = pydantic.Field(pattern=r"^[a-z_]+$")
    """Name of a step."""
    each: list[dict[str, Any]]
    """Params of the step; every item is asked for with every item of `across`."""
    across: list[dict[str, Any]]


def run(params: Params, workspace: Workspace) -> Outcome:
    task = _step_named(params.task)
    pairs = [(each, across) for each in range(len(params.each)) for across in range(len(params.across))]

    def stored(pair: tuple[int, int]) -> Result | None:
        given = params.across[pair[1]] | params.each[pair[0]]
        return _stored(task, parse_params(task.params_type, json.dumps(given)), workspace.store)

    with ThreadPoolExecutor(ASKED_AT_ONCE) as threads:
        answers = list(threads.map(stored, pairs))
    found = [answer.model_dump(mode="json", include=set(HANDED_ON)) for answer in answers if answer]
    to_do = [
        {"each": each, "across": across} for (each, across), answer in zip(pairs, answers, strict=True) if not answer
    ]
    (workspace.output_dir / "found.json").write_text(json.dumps({"stored": found, "to_do": to_do}))
    log.info("%d of %d results of %s are in the store", len(found), len(pairs), params.task)
    return Outcome({"found": "found.json"}, {}, {"stored": len(found), "to_do": len(to_do)})


def _step_named(name: str) -> Task[Any]:
    # By its name: steps don't know one another.
    module = importlib.util.find_spec(f"{__package__}.{name}")
    if module is None:
        raise InputError(f"task: there is no step {name!r}; give the name of a file in tasks/steps.")
    step: Task[Any] = importlib.import_module(module.name).TASK
    return step


def _stored(task: Task[Any], params: TaskParams, store: Path) -> Result | None:
    folder = inside(store, f"{task.name}/{task.output_key(params, store)}")
    if not folder.exists() or lost_file(folder) is not None:
        return None
    os.utime(folder)  # Tells a clean-up that looked before that it is in use again.
    result = read_result(folder)
    return result.model_copy(update={"params": params.model_dump(mode="json")})


TASK = Task(name="find_stored", version=1, params_type=Params, run=run)

if __name__ == "__main__":
    sys.exit(TASK.main())
