"""Runs: what goes on, how far it is, what came of it, and why something failed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from nucleus_dags.forms.errors_plugin import form_of
from nucleus_dags.launchers.task_operator import mlflow_run_url
from nucleus_dags.page import places
from nucleus_dags.page.access import Person, may_see, why_not
from nucleus_dags.page.airflow_runs import (
    PAGE_SIZE,
    STATES,
    BusyPart,
    Dag,
    Key,
    Run,
    Step,
    busy_parts,
    dags_of_the_project,
    failures_of,
    find_run,
    instance_of,
    questions,
    runs_of,
    steps_of,
)
from nucleus_dags.page.loss_curve import LossCurve, loss_curve
from nucleus_dags.page.measured import expected_seconds, measured_runs, progress, seconds_left, work_of
from nucleus_dags.page.receipts import Receipt, mlflow_run_of, receipts_of
from nucleus_dags.page.rendering import page
from nucleus_dags.page.starting import STARTED_HERE
from nucleus_dags.page.trainings import Training, finished_training, log_lines, since, training_in_log

router = APIRouter(prefix="/runs")

TRAIN_STEP = "train"
IMPORTS = ("ingest", "ingest_train", "ingest_test")
MOST_CURVES = 12


@dataclass(frozen=True)
class Row:
    """A run in the list."""

    run: Run
    dag: Dag
    share: float
    """Done, 0 to 1."""
    now: str
    """What it does now."""
    seconds: float | None


@dataclass(frozen=True)
class Made:
    """What a run has made, and the section of the page that shows it."""

    words: str
    path: str


@router.get("")
def show_runs(
    request: Request, person: Person, session: SessionDep, dag: str = "", state: str = "", number: int = 1
) -> Response:
    """List the runs of all DAGs, or of one; `number` is that of the page."""
    return page(request, "runs", **_list(session, person, dag, state, number))


@router.get("/list")
def show_list(
    request: Request, person: Person, session: SessionDep, dag: str = "", state: str = "", number: int = 1
) -> Response:
    """Give the list alone, which the page asks for while something runs."""
    return page(request, "runs_list", **_list(session, person, dag, state, number))


@router.get("/{dag_id}/{run_id}")
def show_run(request: Request, person: Person, session: SessionDep, dag_id: str, run_id: str) -> Response:
    """Show a run."""
    return page(request, "run", **_run(session, person, dag_id, run_id))


@router.get("/{dag_id}/{run_id}/state")
def show_state(request: Request, person: Person, session: SessionDep, dag_id: str, run_id: str) -> Response:
    """Give how far a run is alone, which its page asks for while it goes on."""
    return page(request, "run_state", **_run(session, person, dag_id, run_id))


def _list(session: Session, person: BaseUser, dag_id: str, state: str, number: int) -> dict[str, Any]:
    dags = _visible(session, person)
    chosen: Collection[str] = [dag_id] if dag_id in dags else list(dags)
    runs, total = runs_of(session, chosen, [state] if state in STATES else STATES, max(1, number))
    return {
        "rows": _rows(session, dags, runs),
        "total": total,
        "number": max(1, number),
        "pages": max(1, -(-total // PAGE_SIZE)),
        "dags": dags,
        "dag_id": dag_id if dag_id in dags else "",
        "state": state if state in STATES else "",
        "states": STATES,
        "questions": questions(session, dags),
        "started_here": [dags[name] for name in STARTED_HERE if name in dags],
    }


def _visible(session: Session, person: BaseUser) -> dict[str, Dag]:
    return {name: dag for name, dag in dags_of_the_project(session).items() if may_see(name, person)}


def _rows(session: Session, dags: Mapping[str, Dag], runs: Iterable[Run]) -> list[Row]:
    runs = list(runs)
    active = [run for run in runs if run.is_active]
    steps, busy, now = steps_of(session, active), busy_parts(session, active), datetime.now(UTC)
    expected = {dag_id: _expected_of(session, dag_id, {}) for dag_id in {run.dag_id for run in active}}
    return [
        Row(
            run,
            dags[run.dag_id],
            progress(steps.get(_key(run), []), expected.get(run.dag_id, {}), {}),
            _doing(run, dags[run.dag_id], busy.get(_key(run), [])),
            run.seconds(now),
        )
        for run in runs
    ]


def _run(session: Session, person: BaseUser, dag_id: str, run_id: str) -> dict[str, Any]:
    dags = _visible(session, person)
    run = find_run(session, dag_id, run_id) if dag_id in dags else None
    if run is None:
        raise HTTPException(404, f"There is no run {run_id} of {dag_id}; it may have been removed.")
    store, now = places.store(), datetime.now(UTC)
    steps = steps_of(session, [run]).get(_key(run), [])
    busy = busy_parts(session, [run]).get(_key(run), [])
    receipts = receipts_of(store, dag_id, run_id)
    running = {part: _training(session, run, part) for part in busy if part.task_id == TRAIN_STEP}
    expected = _expected_of(session, dag_id, run.conf) if run.is_active else {}
    return {
        "run": run,
        "dag": dags[dag_id],
        "now": now,
        "doing": _doing(run, dags[dag_id], busy),
        "busy": busy,
        "running": running,
        "steps": steps,
        "share": progress(steps, expected, {TRAIN_STEP: sum(found.share for found in running.values())}),
        "left": _left(steps, expected, running, now) if run.is_active else None,
        "is_measured": bool(expected),
        "failures": failures_of(session, run),
        "questions": [asked for asked in questions(session, [dag_id]) if asked.run_id == run_id],
        "curves": _curves(store, running, receipts),
        "made": _made(run.plate.partition("@")[0], receipts),
        "mlflow": mlflow_run_url(found) if (found := mlflow_run_of(receipts)) else None,
        "filled": _filled(run),
        "why_not": why_not(dag_id, person),
        "seconds": run.seconds(now),
    }


def _key(run: Run) -> Key:
    return run.dag_id, run.run_id


def _expected_of(session: Session, dag_id: str, conf: Mapping[str, Any]) -> dict[str, float]:
    store, form = places.store(), form_of(dag_id) or {}
    return expected_seconds(measured_runs(session, store, dag_id, form), work_of(store, dag_id, form, conf))


def _doing(run: Run, dag: Dag, busy: Iterable[BusyPart]) -> str:
    """Say what a run does now; empty for one that has ended."""
    if not run.is_active:
        return ""
    if dag.is_paused and run.state == "queued":
        return f"waits: {run.dag_id} is paused"
    if parts := "; ".join(part.words for part in busy):
        return parts
    return "waits to start" if run.state == "queued" else "waits for its next step"


def _training(session: Session, run: Run, part: BusyPart) -> Training:
    instance = instance_of(session, run, part)
    return training_in_log(part.name, log_lines(instance) if instance else [])


def _left(
    steps: Iterable[Step], expected: Mapping[str, float], running: Mapping[BusyPart, Training], now: datetime
) -> float | None:
    of_trainings = [training.seconds_left(since(part.started, now)) for part, training in running.items()]
    known = [seconds for seconds in of_trainings if seconds is not None]
    return seconds_left(list(steps), expected, {TRAIN_STEP: max(known)} if known else {}, now)


def _curves(
    store: Path, running: Mapping[BusyPart, Training], receipts: Mapping[str, list[Receipt]]
) -> list[LossCurve]:
    """Draw the trainings that go on, and those that are done."""
    done = [finished_training(store, _name(receipt), receipt) for receipt in receipts.get(TRAIN_STEP, ())]
    drawn = [loss_curve(training) for training in [*running.values(), *filter(None, done)]]
    return [curve for curve in drawn if curve][:MOST_CURVES]


def _name(receipt: Receipt) -> str:
    params = receipt["params"]
    return ", ".join(str(part) for part in (receipt["task"], params.get("target"), params.get("tool")) if part)


def _made(plate: str, receipts: Mapping[str, list[Receipt]]) -> list[Made]:
    """Say what came of a run about a plate, or about none, and where it is shown."""
    imported = [receipt for task in IMPORTS for receipt in receipts.get(task, ())]
    names = [name for name in dict.fromkeys(map(_plate_of, imported)) if name]
    made = [Made(f"Plate {name}", f"plates/{quote(name)}") for name in names]
    if receipts.get("assemble_plate"):
        made.append(Made("Label images and tables", f"results?plate={quote(plate)}"))
    if models := receipts.get("register_model"):
        made.append(Made("1 model" if len(models) == 1 else f"{len(models)} models", "models"))
    if receipts.get("send_to_annotation"):
        made.append(Made("Files for the annotation tool", "annotate"))
    return made


def _plate_of(receipt: Receipt) -> str:
    return Path(receipt["outputs"].get("plate", "")).name.rpartition("@")[0]


def _filled(run: Run) -> list[tuple[str, str]]:
    """Give what was filled into the form, by the titles of its fields."""
    form = form_of(run.dag_id) or {}
    return [
        (str(form[name].schema.get("title", name)) if name in form else name, _shown(value))
        for name, value in run.conf.items()
        if value not in (None, "", [])
    ]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
