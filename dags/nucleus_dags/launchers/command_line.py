"""How a task is started. Imported by programs that don't load Airflow too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nucleus_dags.manifest import task_entry


def arguments_of(task: str, params: dict[str, Any], store: Path, receipt: Path) -> list[str]:
    """Give the arguments after `python`, the same for a process and for a pod.

    The task writes its result to `receipt` too.
    """
    module = task_entry(task)["module"]
    return ["-m", module, "--params", json.dumps(params), "--store", str(store), "--result", str(receipt)]
