"""Settings: the gate and what changed it, where things are, versions, and what the person who asks may do."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import APIRouter, Request
from fastapi.responses import Response

from nucleus_dags.errors import FormError
from nucleus_dags.forms.change_gate import change_gate_form
from nucleus_dags.launchers.task_operator import mlflow_run_url
from nucleus_dags.page import places
from nucleus_dags.page.access import Person, may_start, role_of, why_not
from nucleus_dags.page.airflow_runs import dags_of_the_project
from nucleus_dags.page.rendering import page
from nucleus_dags.page.start_form import form_sections
from nucleus_dags.page.starting import CHANGE_GATE
from nucleus_dags.planning import gate
from nucleus_dags.planning.gate import APPROVAL, DamagedChange, Gate, rule_schemas

router = APIRouter(prefix="/settings")

APPROVALS = {
    "automatic": "automatic: a challenger that passes becomes champion by itself",
    "by_person": "by a person: somebody must approve it under Required actions first",
}


@dataclass(frozen=True)
class Rule:
    """A rule of the gate in words."""

    title: str
    words: str
    value: str
    default: str


@router.get("")
def show_settings(request: Request, person: Person, session: SessionDep) -> Response:
    """Show all settings."""
    store = places.store()
    in_force, problem = _gate()
    dags = dags_of_the_project(session)
    return page(
        request,
        "settings",
        rules=_rules(in_force) if in_force else [],
        in_force=in_force,
        problem=problem,
        changes=[(isinstance(change, DamagedChange), change) for change in gate.changes(store)],
        lines_of=gate.value_changes,
        dag=dags.get(CHANGE_GATE),
        form=form_sections(change_gate_form(), {}, {}),
        estimate=None,
        why_not=why_not(CHANGE_GATE, person),
        action="Change the gate",
        where=_where(),
        mlflow=mlflow_run_url(None),
        versions=_versions(),
        name=person.get_name(),
        role=role_of(person),
        allowed=[(dag.description, may_start(dag_id, person)) for dag_id, dag in dags.items()],
    )


def _gate() -> tuple[Gate | None, str]:
    """Give the gate or, if it can't be read, why."""
    try:
        return gate.gate_in_force(places.store()), ""
    except FormError as error:
        return None, str(error)


def _rules(in_force: Gate) -> list[Rule]:
    default = gate.default_values()
    rules = [
        Rule(schema["title"], schema["description"], f"{in_force.values[name]:g}", f"{default[name]:g}")
        for name, schema in rule_schemas().items()
    ]
    approval = Rule(
        gate.value_title(APPROVAL),
        "How a challenger that passes becomes champion.",
        APPROVALS[in_force.approval],
        APPROVALS[default[APPROVAL]],
    )
    return [*rules, approval]


def _where() -> list[tuple[str, str]]:
    found = [
        ("Inbox, where plates arrive", str(places.inbox())),
        ("Store of all results", str(places.store())),
        ("Own matrices of experiments", os.environ.get("NUCLEUS_EXPERIMENTS", "")),
        ("Pretrained weights of others", os.environ.get("NUCLEUS_WEIGHTS", "")),
    ]
    return [(what, where) for what, where in found if where]


def _versions() -> list[tuple[str, str]]:
    return [
        ("Pipeline", os.environ.get("NUCLEUS_COMMIT", "unknown")),
        ("Airflow", version("apache-airflow")),
        ("Python", platform.python_version()),
    ]
