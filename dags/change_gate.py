"""Change the rules that a challenger must pass, with a reason."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, get_current_context, task

from nucleus_dags.errors import FormError
from nucleus_dags.forms.change_gate import change_gate_form
from nucleus_dags.launchers import DEFAULT_ARGS
from nucleus_dags.notes import fail_with, show_lines
from nucleus_dags.planning import gate
from nucleus_dags.planning.train_models import refuse_unknown_fields

DOC = """
Changes the gate, the rules that a challenger must pass to become champion. `retrain_champion` judges by it from its
next run on, and says in its note by which gate it judged.

The gate that comes with the pipeline is in `dags/nucleus_dags/gate.yaml`. Every change is kept in the store, under
`gates/`, with who changed it, when and why; none is ever removed. All are shown on the page *Nuclei*, under *Settings*.
"""


@task
def change() -> None:
    """Write the change down, and show it in the note."""
    context = get_current_context()
    dag_run, form = context["dag_run"], dict(context["params"])
    try:
        refuse_unknown_fields(dag_run.conf or {}, change_gate_form())
        changed = gate.change_gate(
            Path(os.environ["NUCLEUS_STORE"]),
            form,
            form.pop("reason"),
            dag_run.triggering_user_name or "somebody",
            datetime.now(UTC),
            dag_run.run_id,
        )
    except FormError as error:
        fail_with(str(error))
    values = [f"- {line}" for line in gate.value_changes(changed)]
    show_lines([f"{changed.changed_by} changed the gate: {changed.reason}", "", *values])


with DAG(
    dag_id="change_gate",
    description="Change the rules that a challenger must pass",
    doc_md=DOC,
    schedule=None,
    # Each is a change of the one before.
    max_active_runs=1,
    params=change_gate_form(),
    default_args=DEFAULT_ARGS,
    tags=["nuclei"],
):
    change()
