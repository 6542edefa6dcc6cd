"""What the tasks of a run have made: the receipts that they left in the store."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from nucleus_dags.launchers.task_operator import Result


class Receipt(Result):
    """Content of a receipt."""

    seconds: float
    """Of the computation, also where the result was there already."""


def receipts_of(store: Path, dag_id: str, run_id: str) -> dict[str, list[Receipt]]:
    """Give the receipts of a run by task, those of a mapped one in order. Damaged ones are left out."""
    found: dict[str, list[Receipt]] = defaultdict(list)
    paths = (store / "dag_runs" / dag_id / run_id).glob("*/*.json")
    for path in sorted(paths, key=lambda path: (path.parent.name, _number(path))):
        # A task that runs again takes its receipt away.
        with suppress(FileNotFoundError):
            if receipt := _read(path, path.stat().st_mtime_ns):
                found[path.parent.name].append(receipt)
    return found


def mlflow_run_of(found: Mapping[str, list[Receipt]]) -> str | None:
    """Give the MLflow run of a run."""
    return next((receipt["mlflow_run_id"] for receipt in found.get("open_run", ())), None)


@lru_cache(maxsize=20_000)
def _read(path: Path, changed: int) -> Receipt | None:
    """Read a receipt; `changed` is the time of its last change, since a task that is run again writes it anew."""
    try:
        receipt: Receipt = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return receipt if isinstance(receipt, dict) and "seconds" in receipt else None


def _number(path: Path) -> list[int]:
    return [int(part) for part in path.stem.split("_") if part.lstrip("-").isdecimal()]
