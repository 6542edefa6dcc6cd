"""Make a registered version the champion: back to an earlier one, or on to one that a person prefers."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, get_current_context, task

from nucleus_dags.assets import REGISTERED_MODELS
from nucleus_dags.errors import FormError
from nucleus_dags.forms.promote_model import promote_model_form
from nucleus_dags.launchers import DEFAULT_ARGS, launch
from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.notes import fail_with, show_lines
from nucleus_dags.planning.train_models import refuse_unknown_fields
from nucleus_dags.planning.types import Params

DOC = """
Makes the version of `nucleus-segmenter` that you choose the champion: with it, plates are segmented from then on, and
challengers are judged against it. Nothing is lost, so this is also the way back to an earlier version.

The version keeps the reason, who promoted it, and what was champion before, as a tag in MLflow.
"""


@task
def check_form() -> Params:
    context = get_current_context()
    dag_run = context["dag_run"]
    try:
        refuse_unknown_fields(dag_run.conf or {}, promote_model_form())
    except FormError as error:
        fail_with(str(error))
    person = dag_run.triggering_user_name
    reason = context["params"]["reason"] + (f", promoted by {person}" if person else "")
    return {"version": context["params"]["version"], "reason": reason, "dag_run_id": dag_run.run_id}


@task(outlets=[REGISTERED_MODELS])
def summary(settings: Params, promoted: Result) -> None:
    before = promoted["counts"]["version_before"]
    text = f"in place of version {before}" if before else "the first one"
    said = f"Version {promoted['counts']['version']} is champion, {text}: {settings['reason']}"
    show_lines([" ".join(filter(None, [promoted["values"].get("warning"), said]))])


with DAG(
    dag_id="promote_model",
    description="Make a registered version the champion, with a reason",
    doc_md=DOC,
    schedule=None,
    params=promote_model_form(),
    default_args=DEFAULT_ARGS,
    tags=["nuclei"],
):
    settings: Any = check_form()
    promote = launch("promote_model", settings=settings)
    summary(settings, promote.output)
