"""Segment a plate with the champion or a chosen version, in parts, and put the parts together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from nucleus_dags import plate_drift, plate_segmentation
from nucleus_dags.form import segment_plate_form
from nucleus_dags.launchers import DEFAULT_ARGS, launch
from nucleus_dags.plan import FormError, refuse_unknown_fields, run_name
from nucleus_dags.summary import FAILURE, show_lines
from nucleus_dags.task_operator import mlflow_run_url

DOC = """
Finds the nuclei of a plate. It needs no labels; the fields of its `plate.json` are as always, with role `screen`.

**Start:** the button *Trigger*, with the plate's name. A plate of role `screen` that arrives in the inbox is segmented
by itself, if `ingest_plates` is switched on.

**What happens:** the plate is cut into parts of 100 fields; what fails is tried again by parts. `assemble_plate` puts
label images and tables together. Then the nuclei found are compared with those on the training plates of the cell line.

**Result:** in the store, under `assemble_plate/`; the note of the run says where, and what is far out. The model's
name, version and digest are written into all of it.
"""


def _store() -> Path:
    return Path(os.environ["NUCLEUS_STORE"])


@task
def check_form() -> dict[str, Any]:
    """Find the plate, and give each task its settings."""
    context = get_current_context()
    dag_run, form = context["dag_run"], context["params"]
    try:
        refuse_unknown_fields(dag_run.conf or {}, segment_plate_form())
        found = plate_segmentation.find_plate(form["plate"], Path(os.environ["NUCLEUS_INBOX"]), _store())
    except FormError as error:
        raise AirflowFailException(str(error)) from None
    return {
        "found": found,
        "find_model": {"model": form["model"], "dag_run_id": dag_run.run_id},
        "open_run": {
            "experiment": "plates",
            "dag_run_id": dag_run.run_id,
            "run_name": f"{form['plate']}, {run_name(dag_run.run_id)}",
        },
    }


@task
def to_ingest(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the plate if it isn't in the store yet."""
    return [settings["found"]] if "folder" in settings["found"] else []


@task(trigger_rule="none_failed_min_one_success")
def parts(settings: dict[str, Any], ingested: Any, model: dict[str, Any]) -> list[dict[str, Any]]:
    """Cut the plate into parts."""
    plate = settings["found"].get("plate") or next(iter(ingested))["outputs"]["plate"]
    form = get_current_context()["params"]
    return plate_segmentation.parts(_store(), plate, model, form["fovs_per_part"])


@task
def assembly(all_parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Give the settings of `assemble_plate`."""
    return {"model": all_parts[0]["model"], "ome_zarr": get_current_context()["params"]["ome_zarr"]}


@task
def comparison(all_parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give what the plate is compared with; nothing if its cell line has no other training plate."""
    return plate_drift.comparisons(_store(), [all_parts[0]["plate"]])


@task
def summary(mlflow_run_id: str, assembled: dict[str, Any] | None, planned: Any, drifted: Any) -> dict[str, Any]:
    """Say what was found and where it is; fails when a task before it did. Gives the settings of `close_run`."""
    compared = list(drifted or [])
    not_compared = len(planned or []) - len(compared)
    succeeded = None not in (assembled, planned) and not not_compared
    for_close_run = {"mlflow_run_ids": [mlflow_run_id], "succeeded": succeeded}
    show_lines(_lines(mlflow_run_id, assembled, compared, not_compared))
    if not succeeded:
        get_current_context()["ti"].xcom_push("return_value", for_close_run)
        raise AirflowFailException(FAILURE)
    return for_close_run


def _lines(
    mlflow_run_id: str, assembled: dict[str, Any] | None, compared: list[dict[str, Any]], not_compared: int
) -> list[str]:
    page = f"[MLflow run]({mlflow_run_url(mlflow_run_id)})"
    if assembled is None:
        return [FAILURE, "", page]
    counts, where = assembled["counts"], _store() / "assemble_plate" / assembled["key"]
    found = f"{counts['nuclei']} nuclei in {counts['fovs']} fields"
    lines = [found, "", f"Label images and tables: {where}", "", page, ""]
    return plate_drift.note(_store(), lines, compared, not_compared)


with DAG(
    dag_id="segment_plate",
    description="Find the nuclei of a plate",
    doc_md=DOC,
    schedule=None,
    params=segment_plate_form(),
    default_args=DEFAULT_ARGS,
    tags=["nuclei"],
):
    settings: Any = check_form()
    open_run = launch("open_run", settings=settings["open_run"])
    mlflow_run_id = open_run.output["mlflow_run_id"]
    model = launch("find_model", settings=settings["find_model"])
    ingest = launch("ingest", each=to_ingest(settings), mlflow_run_id=mlflow_run_id)
    all_parts: Any = parts(settings, ingest.output, model.output)
    segment = launch(
        "segment",
        each=all_parts,
        mlflow_run_id=mlflow_run_id,
        map_index_template="{{ task.each['fovs'][0] }} and {{ task.each['fovs'] | length - 1 }} more",
    )
    assemble_plate = launch(
        "assemble_plate",
        settings=assembly(all_parts),
        inputs={"segmentations": segment.output["segmentation"]},
        mlflow_run_id=mlflow_run_id,
    )

    compared_with: Any = comparison(all_parts)
    drift = launch(
        "drift",
        each=compared_with,
        inputs={"segmentation": assemble_plate.output["assembled"]},
        mlflow_run_id=mlflow_run_id,
    )

    # Teardowns run after a failure too; the summary counts for the state of the DAG run.
    ended: Any = summary(mlflow_run_id, assemble_plate.output, compared_with, drift.output)
    close_run = launch("close_run", settings=ended, mlflow_run_id=mlflow_run_id)
    ended.as_teardown(setups=open_run, on_failure_fail_dagrun=True)
    close_run.as_teardown(setups=open_run)
