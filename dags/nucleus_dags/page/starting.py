"""Starting a run: the form of its DAG, what is wrong in it, and how long the run will take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.orm import Session

from nucleus_dags.errors import FormError
from nucleus_dags.forms import typed
from nucleus_dags.forms.errors_plugin import form_of
from nucleus_dags.manifest import manifest
from nucleus_dags.page import places
from nucleus_dags.page.access import Person, may_see, may_start
from nucleus_dags.page.dag_runs import Dag, dags_of_the_project
from nucleus_dags.page.measured import Estimate, estimate, measured_runs, work_of
from nucleus_dags.page.rendering import duration, page
from nucleus_dags.page.start_form import problems_by_field, sections
from nucleus_dags.planning.segment_plate import find_plate
from nucleus_dags.plates.stored import newest_plates

router = APIRouter(prefix="/runs/start")

STARTED_HERE = (
    "segment_plate",
    "train_models",
    "retrain_champion",
    "compare_models",
    "try_models",
    "promote_model",
    "send_to_annotation",
)
"""DAGs that people start, in the order in which a laboratory gets to know them."""
ROLES = ("train", "test", "screen")
NOT_MEASURED = "No measurement yet: no run of this kind has ended well here so far."


@router.get("/{dag_id}")
def show_form(request: Request, person: Person, session: SessionDep, dag_id: str) -> Response:
    """Show the form of a DAG; fields that the address names are filled in."""
    dag, store = _dag(session, person, dag_id), places.store()
    form = form_of(dag_id) or {}
    values = {name: value for name, value in request.query_params.items() if name in form}
    return page(
        request,
        "start",
        dag=dag,
        sections=sections(form, _offered(store, dag_id), values),
        estimate=_estimate_in_words(session, store, dag_id, form, values),
        may_start=may_start(dag_id, person),
    )


@router.post("/{dag_id}")
def check_form(person: Person, session: SessionDep, dag_id: str, filled: dict[str, Any]) -> JSONResponse:
    """Say what is wrong in a filled form, by field, and how long the run will take. Nothing is started."""
    _dag(session, person, dag_id)
    store, form = places.store(), form_of(dag_id) or {}
    given = {name: value for name, value in filled.items() if name in form}
    problems = problems_by_field(form, given, _checks(store, dag_id))
    estimated = _estimate_in_words(session, store, dag_id, form, typed.with_numbers(form, given))
    return JSONResponse({"problems": problems, "estimate": estimated})


def _dag(session: Session, person: Person, dag_id: str) -> Dag:
    dag = dags_of_the_project(session).get(dag_id) if dag_id in STARTED_HERE and may_see(dag_id, person) else None
    if dag is None:
        raise HTTPException(404, f"{dag_id} isn't started here; there are {', '.join(STARTED_HERE)}.")
    return dag


def _offered(store: Path, dag_id: str) -> dict[str, Sequence[str]]:
    """Give what there is to choose from, by field."""
    names = {role: [plate.name for plate in newest_plates(store, role)] for role in ROLES}
    every = sorted(name for of_role in names.values() for name in of_role)
    labelled = [*names["test"], *names["train"]]
    return {
        "plate": labelled if dag_id == "try_models" else every,
        "train_plates": names["train"],
        "test_plates": names["test"],
        "models": ["champion", "challenger", *manifest()["ready_models"]],
    }


def _checks(store: Path, dag_id: str) -> dict[str, Callable[[Any], str]]:
    """Give what is looked up of fields besides what their form allows."""
    return {"plate": lambda name: _problem_of_plate(store, name)} if "plate" in (form_of(dag_id) or {}) else {}


def _problem_of_plate(store: Path, name: str) -> str:
    try:
        find_plate(name, places.inbox(), store)
    except FormError as error:
        return str(error)
    return ""


def _estimate_in_words(session: Session, store: Path, dag_id: str, form: typed.Form, values: Mapping[str, Any]) -> str:
    found = estimate(measured_runs(session, store, dag_id, form), work_of(store, dag_id, form, values))
    return _in_words(found) if found else NOT_MEASURED


def _in_words(found: Estimate) -> str:
    earlier = "an earlier run" if found.runs == 1 else f"{found.runs} earlier runs"
    spread = f", {duration(found.least)} to {duration(found.most)}" if found.runs > 1 else ""
    return f"About {duration(found.seconds)}, by {earlier} on this installation{spread}."
