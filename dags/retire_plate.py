"""Retire a plate, so that no model is trained or judged on it any more, or bring it back, with a reason."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, get_current_context, task

from nucleus_dags.errors import FormError
from nucleus_dags.forms.retire_plate import retire_plate_form
from nucleus_dags.launchers import DEFAULT_ARGS
from nucleus_dags.notes import fail_with, show_lines
from nucleus_dags.planning import retire_plate
from nucleus_dags.planning.train_models import refuse_unknown_fields

DOC = """
Retires a plate: no model is trained on it any more, or, of a test plate, judged on it. It stays in the store and in the
inbox, with all results, and may still be segmented. The same DAG brings it back.

Every change is kept in the store, under `retired/`, with who made it, when and why. The note says what follows from it,
such as on which test plates the gate judges from then on.
"""


@task
def change() -> None:
    """Write the change down, and show what follows from it."""
    context = get_current_context()
    dag_run = context["dag_run"]
    try:
        refuse_unknown_fields(dag_run.conf or {}, retire_plate_form())
        lines = retire_plate.change(
            Path(os.environ["NUCLEUS_STORE"]),
            context["params"],
            dag_run.triggering_user_name or "somebody",
            datetime.now(UTC),
            dag_run.run_id,
        )
    except FormError as error:
        fail_with(str(error))
    show_lines(lines)


with DAG(
    dag_id="retire_plate",
    description="Retire a plate from training and testing, or bring it back, with a reason",
    doc_md=DOC,
    schedule=None,
    # Each is a change of the one before.
    max_active_runs=1,
    params=retire_plate_form(),
    default_args=DEFAULT_ARGS,
    tags=["nuclei"],
):
    change()
