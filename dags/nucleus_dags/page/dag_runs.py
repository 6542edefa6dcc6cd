"""What Airflow's database says of DAGs and their runs."""

from __future__ import annotations

from collections.abc import Iterable

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select


def dags_of_runs(run_ids: Iterable[str]) -> dict[str, str]:
    """Give the DAG of each run, by the id of the run; runs that Airflow doesn't know any more are left out."""
    wanted = select(DagRun.run_id, DagRun.dag_id).where(DagRun.run_id.in_(sorted(set(run_ids))))
    with create_session() as session:
        return {run.run_id: run.dag_id for run in session.execute(wanted)}


def is_paused(dag_id: str) -> bool:
    """Say whether runs of a DAG wait until a person unpauses it."""
    with create_session() as session:
        return bool(session.scalar(select(DagModel.is_paused).where(DagModel.dag_id == dag_id)))
