"""Look at a plate that is being uploaded: what it holds, and what would be refused if it were imported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context

from nucleus_dags.errors import FormError
from nucleus_dags.forms.inspect_plate import inspect_plate_form
from nucleus_dags.launchers import DEFAULT_ARGS, launch
from nucleus_dags.notes import fail_with
from nucleus_dags.planning import inspect_plate
from nucleus_dags.planning.train_models import refuse_unknown_fields
from nucleus_dags.planning.types import Params

DOC = """
Looks at the files of a plate that is being added on the page *Nuclei*, without importing it. The page starts it; there
is no need to start it by hand.

**Result:** `inspection.json` and pictures of some fields, in the store under `inspect_plate/`. It says in which layout
the files lie, which wells, sites, channels, planes and time points their names give, what the images state of pixel
size, objective and binning, and what `ingest_plates` would refuse or doubt with the values given so far. What isn't
compared is said: of a large plate, some fields are opened, and none is compared with other plates.
"""


def given(_given: dict[str, Any], _known: dict[str, Any]) -> Params:
    """Give the params of the task, from the form."""
    context = get_current_context()
    try:
        refuse_unknown_fields(context["dag_run"].conf or {}, inspect_plate_form())
        return inspect_plate.inspection_of(context["params"], Path(os.environ["NUCLEUS_INBOX"]))
    except FormError as error:
        fail_with(str(error))


with DAG(
    dag_id="inspect_plate",
    description="Look at a plate before it is imported",
    doc_md=DOC,
    schedule=None,
    params=inspect_plate_form(),
    default_args=DEFAULT_ARGS,
    tags=["nuclei"],
):
    launch("inspect_plate", prepare=given)
