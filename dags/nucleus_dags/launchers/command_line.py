"""How a task is started. Imported by programs that don't load Airflow too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nucleus_dags.files import write_whole
from nucleus_dags.manifest import task_entry

MOST_ARGUMENT_BYTES = 64 * 1024
"""Linux starts no program with an argument of 128 KiB or more, such as the names of 3,456 fields."""


def arguments_of(task: str, params: dict[str, Any], store: Path, receipt: Path) -> list[str]:
    """Give the arguments after `python`, the same for a process and for a pod.

    The task writes its result to `receipt` too. Params that are too long for an argument are written beside that.
    """
    module = task_entry(task)["module"]
    text = json.dumps(params)
    if len(text.encode()) > MOST_ARGUMENT_BYTES:
        beside = params_file_of(receipt)
        write_whole(beside, params)
        text = f"@{beside}"
    return ["-m", module, "--params", text, "--store", str(store), "--result", str(receipt)]


def params_file_of(receipt: Path) -> Path:
    """Give the file for params that are too long for an argument; it is of no use when the task is done."""
    return receipt.with_suffix(".params")
