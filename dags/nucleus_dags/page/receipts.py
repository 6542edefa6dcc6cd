"""What the tasks of a run have made: the receipts that they left in the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import cast

from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.page.damaged import left_out_if_damaged
from nucleus_dags.page.store_results import json_at


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
        with left_out_if_damaged(path), suppress(FileNotFoundError):
            # Those of early versions lack it.
            if "seconds" in (receipt := json_at(path)):
                found[path.parent.name].append(cast("Receipt", receipt))
    return found


def mlflow_run_of(found: Mapping[str, list[Receipt]]) -> str | None:
    """Give the MLflow run of a run."""
    return next((receipt["mlflow_run_id"] for receipt in found.get("open_run", ())), None)


def _number(path: Path) -> list[int]:
    return [int(part) for part in path.stem.split("_") if part.lstrip("-").isdecimal()]
