"""The DAG runs that were about a plate: that imported it, and that segmented it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from sqlalchemy import select

MOST_SHOWN = 10
LOOKED_THROUGH = 500
"""The latest runs of `segment_plate`."""


class PlateRun(NamedTuple):
    """A run of a DAG of Airflow."""

    dag_id: str
    run_id: str
    state: str
    at: datetime


def runs_on(names: Collection[str]) -> list[PlateRun]:
    """Give the latest runs that were about a plate, by its name and its keys in the store, the latest first."""
    columns = (DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.run_after)
    # Airflow declares it as a property of an instance.
    part: Any = TaskInstance.rendered_map_index
    imported = (
        select(*columns)
        .join(TaskInstance, (TaskInstance.dag_id == DagRun.dag_id) & (TaskInstance.run_id == DagRun.run_id))
        .where(DagRun.dag_id == "ingest_plates", part.in_(names))
        .distinct()
        .order_by(DagRun.run_after.desc())
        .limit(MOST_SHOWN)
    )
    segmented = (
        select(*columns, DagRun.conf)
        .where(DagRun.dag_id == "segment_plate")
        .order_by(DagRun.run_after.desc())
        .limit(LOOKED_THROUGH)
    )
    with create_session() as session:
        found = [PlateRun(*row) for row in session.execute(imported)]
        found += [PlateRun(*row) for *row, conf in session.execute(segmented) if (conf or {}).get("plate") in names]
    return sorted(found, key=lambda run: run.at, reverse=True)[:MOST_SHOWN]
