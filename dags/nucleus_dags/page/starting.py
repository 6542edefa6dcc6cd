"""Starting a run: the form of its DAG, what is wrong in it, and how long the run will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from nucleus_dags.page.access import Person, may_see, why_not
from nucleus_dags.page.airflow_runs import Dag, dags_of_the_project
from nucleus_dags.page.known_plates import known_plates, retired_in_words
from nucleus_dags.page.measured import Estimate, estimate, measured_runs, work_of
from nucleus_dags.page.registered import registry
from nucleus_dags.page.rendering import duration, page
from nucleus_dags.page.start_form import form_sections, problems_by_field
from nucleus_dags.planning.gate import gate_in_force
from nucleus_dags.planning.segment_plate import find_plate
from nucleus_dags.plates.plate_json import plates_in

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
CHANGE_GATE = "change_gate"
"""Started from the settings."""
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
        form=form_sections(form, _offered(store, dag_id), values),
        estimate=_estimate_in_words(session, store, dag_id, form, values),
        why_not=why_not(dag_id, person),
        action="Start",
    )


@router.post("/{dag_id}")
def check_form(person: Person, session: SessionDep, dag_id: str, filled: dict[str, Any]) -> JSONResponse:
    """Say what is wrong in a filled form, by field, and how long the run will take. Nothing is started."""
    _dag(session, person, dag_id)
    store, form = places.store(), form_of(dag_id) or {}
    given = typed.with_numbers(form, {name: value for name, value in filled.items() if name in form})
    problems = problems_by_field(form, given)
    if not problems:
        problems = _looked_up(store, dag_id, given)
    estimated = _estimate_in_words(session, store, dag_id, form, given)
    return JSONResponse({"problems": problems, "estimate": estimated})


def _dag(session: Session, person: Person, dag_id: str) -> Dag:
    dag = (
        dags_of_the_project(session).get(dag_id)
        if dag_id in (*STARTED_HERE, CHANGE_GATE) and may_see(dag_id, person)
        else None
    )
    if dag is None:
        raise HTTPException(404, f"{dag_id} isn't started here; there are {', '.join(STARTED_HERE)}.")
    return dag


def _offered(store: Path, dag_id: str) -> dict[str, Sequence[str]]:
    """Give what there is to choose from, by field."""
    roles = {plate.name: plate.role for plate in plates_in(places.inbox()).plates}
    roles |= {name: plate.newest.role for name, plate in known_plates(store).items()}
    versions = [str(version.number) for version in registry().versions]
    models = ["champion", "challenger", *manifest()["ready_models"], *versions]
    retired = retired_in_words(store)
    in_use = {name: role for name, role in roles.items() if name not in retired}
    labelled = [name for name, role in roles.items() if role != "screen"]
    return {
        "plate": labelled if dag_id == "try_models" else list(roles),
        "train_plates": [name for name, role in in_use.items() if role == "train"],
        "test_plates": [name for name, role in in_use.items() if role == "test"],
        "model": models,
        "proposals": models,
        "models": models,
        "version": versions,
        "before": versions,
        "after": versions,
    }


def _looked_up(store: Path, dag_id: str, given: Mapping[str, Any]) -> dict[str, list[str]]:
    """Give what is wrong with values that a form allows, as far as this installation says so."""
    if "plate" in given:
        try:
            find_plate(given["plate"], places.inbox(), store)
        except FormError as error:
            return {"plate": [str(error)]}
    if dag_id == CHANGE_GATE and _changes_nothing(store, given):
        return {"reason": ["All values of the gate are as they are; change one."]}
    return {}


def _changes_nothing(store: Path, given: Mapping[str, Any]) -> bool:
    try:
        values = gate_in_force(store).values
    except FormError:
        # Where the last change is damaged, any is one.
        return False
    return all(given.get(name) in (None, value) for name, value in values.items())


def _estimate_in_words(session: Session, store: Path, dag_id: str, form: typed.Form, values: Mapping[str, Any]) -> str:
    found = estimate(measured_runs(session, store, dag_id, form), work_of(store, dag_id, form, values))
    return _in_words(found) if found else NOT_MEASURED


def _in_words(found: Estimate) -> str:
    earlier = "an earlier run" if found.runs == 1 else f"{found.runs} earlier runs"
    spread = f", {duration(found.least)} to {duration(found.most)}" if found.runs > 1 else ""
    return f"About {duration(found.seconds)}, by {earlier} on this installation{spread}."
