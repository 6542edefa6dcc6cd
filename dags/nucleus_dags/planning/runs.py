"""DAG runs and their MLflow runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from nucleus_dags.planning.types import RunsToClose, RunToOpen


def run_to_open(experiment: str, dag_run_id: str, prefix: str = "", children: Iterable[str] = ()) -> RunToOpen:
    """Give the params of `open_run` for a DAG run."""
    return {
        "experiment": experiment,
        "dag_run_id": dag_run_id,
        "run_name": f"{prefix}{run_name(dag_run_id)}",
        "children": list(children),
    }


def run_name(dag_run_id: str) -> str:
    """Date and time to the second from `manual__2026-11-23T04:18:05.123456+00:00`, or the whole id."""
    begun = re.search(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)", dag_run_id)
    return " ".join(begun.groups()) if begun else dag_run_id


def runs_to_close(mlflow_run_id: str, parts: Iterable[Mapping[str, Any]] | None, succeeded: bool) -> RunsToClose:
    """Give the params of `close_run` for the MLflow run of a DAG run and those of its parts."""
    run_ids = [mlflow_run_id, *(part["mlflow_run_id"] for part in parts or [])]
    return {"mlflow_run_ids": list(dict.fromkeys(run_ids)), "succeeded": succeeded}
