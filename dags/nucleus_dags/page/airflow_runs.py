"""The runs of the project's DAGs, as Airflow's database has them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from typing import Any

from airflow.models.dag import DagModel, DagTag
from airflow.models.dagrun import DagRun
from airflow.models.hitl import HITLDetail
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session
from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.orm import Session

from nucleus_dags.page.task_words import in_words
from nucleus_dags.run_note import FAILURE_KEY
from nucleus_dags.run_page import without_link

TAG = "nuclei"
"""Of all DAGs of the project."""
PAGE_SIZE = 50
ACTIVE, ENDED = ("queued", "running"), ("success", "failed")
STATES = (*ACTIVE, *ENDED)
"""Of a run."""
DONE = ("success", "skipped", "failed", "upstream_failed", "removed")
"""States that a task instance doesn't leave by itself."""
BUSY = ("running", "deferred", "awaiting_input", "up_for_retry", "restarting")
"""States of a task instance that says what its run does now."""
MOST_BUSY_SHOWN = 3


@dataclass(frozen=True)
class Dag:
    """A DAG of the project."""

    dag_id: str
    description: str
    is_paused: bool


@dataclass(frozen=True)
class Run:
    """A run of a DAG."""

    dag_id: str
    run_id: str
    state: str
    begun: datetime
    """When it was started, though it may have waited since."""
    started: datetime | None
    ended: datetime | None
    person: str
    note: str
    conf: Mapping[str, Any]

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def first_line(self) -> str:
        """What the note says first."""
        return next((line for line in self.note.splitlines() if line.strip()), "")

    @property
    def plate(self) -> str:
        """Give the plate that it is about, if it is about one."""
        return str(self.conf.get("plate") or "")

    def seconds(self, now: datetime) -> float | None:
        """Give how long it took, or takes up to now; None if it waits."""
        return ((self.ended or now) - self.started).total_seconds() if self.started else None


@dataclass(frozen=True)
class Step:
    """A task of a run, with all its parts if it is mapped."""

    task_id: str
    states: Mapping[str, int]
    """How many parts are in which state; `none` for those that wait for others."""
    started: datetime | None
    ended: datetime | None
    """When the last part that has ended did."""
    tries: int = 0

    @property
    def words(self) -> str:
        return in_words(self.task_id)

    @property
    def parts(self) -> int:
        return sum(self.states.values())

    @property
    def done(self) -> int:
        return sum(self.states.get(state, 0) for state in DONE)

    @property
    def reached(self) -> int:
        """How many parts have ended, but for those that others kept from their start."""
        return self.done - self.states.get("upstream_failed", 0)

    @property
    def is_done(self) -> bool:
        return self.done == self.parts

    @property
    def state(self) -> str:
        """The state that tells most of all parts."""
        order = ("failed", "awaiting_input", "running", "up_for_retry", "upstream_failed", "queued", "scheduled")
        if found := next((state for state in order if self.states.get(state)), None):
            return found
        return "success" if self.states.get("success") and self.is_done else next(iter(self.states), "none")

    def seconds(self, now: datetime) -> float | None:
        """Give the time from its first part's start to its last part's end; None if nothing has started."""
        if self.started is None:
            return None
        return (self.ended if self.is_done and self.ended else now).timestamp() - self.started.timestamp()


@dataclass(frozen=True)
class BusyPart:
    """A task instance that says what its run does now, or of a task that failed."""

    task_id: str
    map_index: int
    name: str
    """Of a part of a mapped task."""
    state: str
    try_number: int
    started: datetime | None

    @property
    def words(self) -> str:
        return f"{in_words(self.task_id)}: {self.name}" if self.name else in_words(self.task_id)

    @property
    def path(self) -> str:
        """The end of its address in Airflow."""
        return f"tasks/{self.task_id}" + (f"/mapped/{self.map_index}" if self.map_index >= 0 else "")


@dataclass(frozen=True)
class Failure(BusyPart):
    """A task instance that failed."""

    why: str = ""


@dataclass(frozen=True)
class Question:
    """An approval that a run waits for."""

    dag_id: str
    run_id: str
    subject: str
    asked: datetime


Key = tuple[str, str]
"""dag_id and run_id."""


def dags_of_the_project(session: Session) -> dict[str, Dag]:
    """Give the DAGs by id."""
    rows = session.scalars(
        select(DagModel)
        .join(DagTag, DagTag.dag_id == DagModel.dag_id)
        .where(DagTag.name == TAG, DagModel.is_stale.is_(False))
        .order_by(DagModel.dag_id)
    )
    return {row.dag_id: Dag(row.dag_id, row.description or row.dag_id, bool(row.is_paused)) for row in rows}


def is_paused(dag_id: str) -> bool:
    """Say whether runs of a DAG wait until a person unpauses it."""
    with create_session() as session:
        return bool(session.scalar(select(DagModel.is_paused).where(DagModel.dag_id == dag_id)))


def dags_of_runs(run_ids: Iterable[str]) -> dict[str, str]:
    """Give the DAG of each run, by the id of the run; runs that Airflow doesn't know any more are left out."""
    wanted = select(DagRun.run_id, DagRun.dag_id).where(DagRun.run_id.in_(sorted(set(run_ids))))
    with create_session() as session:
        return {run.run_id: run.dag_id for run in session.execute(wanted)}


def runs_of(
    session: Session, dag_ids: Collection[str], states: Collection[str] = STATES, page: int = 1
) -> tuple[list[Run], int]:
    """Give a page of runs, the newest first, and how many there are in all."""
    chosen = select(DagRun).where(DagRun.dag_id.in_(dag_ids), DagRun.state.in_(states))
    total = session.scalar(select(func.count()).select_from(chosen.subquery())) or 0
    newest = chosen.order_by(DagRun.run_after.desc(), DagRun.id.desc())
    return _runs(session, newest.limit(PAGE_SIZE).offset((page - 1) * PAGE_SIZE)), total


def find_run(session: Session, dag_id: str, run_id: str) -> Run | None:
    return next(iter(_runs(session, select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))), None)


def latest_successes(session: Session, dag_id: str, count: int) -> list[Run]:
    """Give the newest runs of a DAG that ended well."""
    succeeded = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.state == "success")
    return _runs(session, succeeded.order_by(DagRun.run_after.desc()).limit(count))


def steps_of(session: Session, runs: Iterable[Run]) -> dict[Key, list[Step]]:
    """Give the steps of runs, in the order of their DAGs. What has thousands of parts is counted by the database."""
    keys = [(run.dag_id, run.run_id) for run in runs]
    rows = session.execute(
        select(
            TaskInstance.dag_id,
            TaskInstance.run_id,
            TaskInstance.task_id,
            TaskInstance.state,
            func.count(),
            func.min(TaskInstance.start_date),
            func.max(TaskInstance.end_date),
            func.max(TaskInstance.try_number),
        )
        .where(tuple_(TaskInstance.dag_id, TaskInstance.run_id).in_(keys))
        .group_by(TaskInstance.dag_id, TaskInstance.run_id, TaskInstance.task_id, TaskInstance.state)
    )
    grouped: dict[Key, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for dag_id, run_id, task_id, *of_state in rows:
        grouped[dag_id, run_id][task_id].append(of_state)
    order = {dag_id: _order(session, dag_id) for dag_id in {key[0] for key in grouped}}
    return {
        key: sorted((_step(task_id, found) for task_id, found in tasks.items()), key=_by_order(order[key[0]]))
        for key, tasks in grouped.items()
    }


def busy_parts(session: Session, runs: Iterable[Run]) -> dict[Key, list[BusyPart]]:
    """Give the parts of runs that something is done for now, at most some of each run."""
    found: dict[Key, list[BusyPart]] = defaultdict(list)
    for row in _instances(session, runs, BUSY):
        parts = found[row.dag_id, row.run_id]
        if len(parts) < MOST_BUSY_SHOWN:
            parts.append(BusyPart(*_of_instance(row)))
    return found


def failures_of(session: Session, run: Run) -> list[Failure]:
    """Give the parts of a run that failed, each with its reason as far as it left one."""
    asked = select(XComModel).where(
        XComModel.dag_id == run.dag_id, XComModel.run_id == run.run_id, XComModel.key == FAILURE_KEY
    )
    reasons = {
        (row.task_id, row.map_index): str(XComModel.deserialize_value(row) or "") for row in session.scalars(asked)
    }
    return [
        Failure(*_of_instance(row), why=reasons.get((row.task_id, row.map_index), ""))
        for row in _instances(session, [run], ("failed",))
    ]


def instance_of(session: Session, run: Run, part: BusyPart) -> TaskInstance | None:
    """Give Airflow's own record of a part."""
    return session.scalar(
        select(TaskInstance).where(
            TaskInstance.dag_id == run.dag_id,
            TaskInstance.run_id == run.run_id,
            TaskInstance.task_id == part.task_id,
            TaskInstance.map_index == part.map_index,
        )
    )


def questions(session: Session, dag_ids: Collection[str]) -> list[Question]:
    """Give the approvals that runs wait for, the oldest first."""
    rows = session.execute(
        select(TaskInstance.dag_id, TaskInstance.run_id, HITLDetail.subject, HITLDetail.created_at)
        .join(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
        .where(
            TaskInstance.dag_id.in_(dag_ids),
            HITLDetail.responded_at.is_(None),
            TaskInstance.state.in_(("awaiting_input", "deferred")),
        )
        .order_by(HITLDetail.created_at)
    )
    return [Question(*row) for row in rows]


def _runs(session: Session, chosen: Select[Any]) -> list[Run]:
    return [
        Run(
            dag_id=row.dag_id,
            run_id=row.run_id,
            state=str(row.state),
            begun=row.run_after.astimezone(UTC),
            started=row.start_date,
            ended=row.end_date,
            person=row.triggering_user_name or "",
            note=without_link(row.note or ""),
            conf=row.conf or {},
        )
        for row in session.scalars(chosen)
    ]


def _instances(session: Session, runs: Iterable[Run], states: Sequence[str]) -> Iterable[TaskInstance]:
    keys = [(run.dag_id, run.run_id) for run in runs]
    return session.scalars(
        select(TaskInstance)
        .where(tuple_(TaskInstance.dag_id, TaskInstance.run_id).in_(keys), TaskInstance.state.in_(states))
        .order_by(TaskInstance.start_date, TaskInstance.map_index)
        .limit(1000)
    )


def _of_instance(row: TaskInstance) -> tuple[str, int, str, str, int, datetime | None]:
    name = row.rendered_map_index or ""
    return row.task_id, row.map_index, name, str(row.state), row.try_number, row.start_date


def _step(task_id: str, of_states: Iterable[Sequence[Any]]) -> Step:
    rows = list(of_states)
    started = [row[2] for row in rows if row[2]]
    ended = [row[3] for row in rows if row[3]]
    states = {str(row[0] or "none"): int(row[1]) for row in rows}
    return Step(
        task_id,
        states,
        min(started, default=None),
        max(ended, default=None),
        max((row[4] or 0 for row in rows), default=0),
    )


def _order(session: Session, dag_id: str) -> list[str]:
    dag = SerializedDagModel.get_dag(dag_id, session=session)
    if dag is None:
        return []
    return list(TopologicalSorter({task.task_id: task.upstream_task_ids for task in dag.tasks}).static_order())


def _by_order(order: Sequence[str]) -> Any:
    places = {task_id: place for place, task_id in enumerate(order)}
    return lambda step: (places.get(step.task_id, len(places)), step.task_id)
