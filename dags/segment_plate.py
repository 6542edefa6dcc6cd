"""Segment a plate with the champion or another model, in parts, and put the parts together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context, task

from nucleus_dags.errors import FormError
from nucleus_dags.forms.segment_plate import segment_plate_form
from nucleus_dags.launchers import DEFAULT_ARGS, launch
from nucleus_dags.launchers.kinds import TRAIN
from nucleus_dags.launchers.task_operator import Result, mlflow_run_url
from nucleus_dags.notes import FAILURE, fail_with, failure_lines, show_lines
from nucleus_dags.planning import drift, segment_plate
from nucleus_dags.planning.remarks import left_out_in_short, remarks_on, remarks_on_segmentations
from nucleus_dags.planning.runs import run_to_open, runs_to_close
from nucleus_dags.planning.train_models import refuse_unknown_fields
from nucleus_dags.planning.types import FoundModel, Params, PlateToImport, ReadyModel, RunsToClose
from nucleus_dags.plates.named_results import name_result
from nucleus_dags.plates.stored import StoredPlate, read_plate
from nucleus_dags.run_note import NotedFailure

DOC = """
Finds the nuclei of a plate. It needs no labels; the fields of its `plate.json` are as always, with role `screen`.

**Model:** the champion, a version, or a model that needs no training: the base model as it came, a third-party tool
with its weights, or thresholds and a watershed without a network. So a plate gets preliminary labels before
anything was trained on its cell line.

**Start:** the button *Trigger*, with the plate's name. A plate of role `screen` that arrives in the inbox is segmented
by itself, if `ingest_plates` is unpaused.

**What happens:** the plate is cut into parts of 100 fields; what fails is tried again by parts. `assemble_plate` puts
label images and tables together. Then the nuclei found are compared with those on the training plates of the cell line.

**Result:** label images, tables and pictures in `results/<plate>/<model>/` of the data folder, such as
`results/plate-7/v3/`. The note of the run says where that is, how many fields were left out when the plate was imported
and why, which images are doubtful, and outliers. The model's name, version and digest are written into all of it.
"""


def _store() -> Path:
    return Path(os.environ["NUCLEUS_STORE"])


@task
def plan() -> list[PlateToImport]:
    """Find the plate; give it if it isn't in the store yet, and under their names what else there is to do."""
    context = get_current_context()
    dag_run, form, ti = context["dag_run"], context["params"], context["ti"]
    try:
        refuse_unknown_fields(dag_run.conf or {}, segment_plate_form())
        found = segment_plate.find_plate(form["plate"], Path(os.environ["NUCLEUS_INBOX"]), _store())
    except FormError as error:
        fail_with(str(error))
    ti.xcom_push("find_model", {"model": form["model"], "dag_run_id": dag_run.run_id})
    ti.xcom_push("open_run", run_to_open("plates", dag_run.run_id, f"{form['plate']}, "))
    ti.xcom_push("assemble_plate", {"ome_zarr": form["ome_zarr"]})
    ti.xcom_push("found", found)
    return [{"folder": found["folder"]}] if "folder" in found else []


@task(trigger_rule="none_failed_min_one_success")
def parts(plate: dict[str, str], ingested: Any, model: dict[str, FoundModel | ReadyModel]) -> list[Params]:
    """Cut the plate into parts."""
    path = plate.get("plate") or next(iter(ingested))["outputs"]["plate"]
    form = get_current_context()["params"]
    return segment_plate.parts(_store(), path, model["model"], form["fovs_per_part"], form["nuclear_diameter_px"])


@task
def comparison(all_parts: list[Params]) -> list[drift.Comparison]:
    """Give what the plate is compared with; nothing if its cell line has no other training plate."""
    return drift.comparisons(_store(), [all_parts[0]["plate"]])


@task
def summary(
    mlflow_run_id: str,
    all_parts: list[Params] | None,
    segmented: Any,
    assembled: Result | None,
    planned: Any,
    drifted: Any,
) -> RunsToClose:
    """Say what was found and where it is; fails when a task before it did. Gives the params of `close_run`."""
    compared = list(drifted or [])
    not_compared = len(planned or []) - len(compared)
    succeeded = None not in (assembled, planned) and not not_compared
    for_close_run = runs_to_close(mlflow_run_id, None, succeeded)
    plate = read_plate(_store(), all_parts[0]["plate"]) if all_parts else None
    ti = get_current_context()["ti"]
    # Of a model that isn't registered there is none.
    warning = (ti.xcom_pull(task_ids="find_model", key="values") or {}).get("warning", "")
    remarks = remarks_on_segmentations(segmented or [])
    where = _named(plate, all_parts[0]["made_by"], assembled) if plate and all_parts and assembled else ""
    show_lines(_lines(mlflow_run_id, plate, assembled, where, compared, not_compared, remarks, warning))
    if not succeeded:
        ti.xcom_push("return_value", for_close_run)
        raise NotedFailure(FAILURE)
    return for_close_run


def _named(plate: StoredPlate, made_by: Params, assembled: Result) -> str:
    """Name what was put together, and say where it is. It is there all the same where it can't get a name."""
    result = f"assemble_plate/{assembled['key']}"
    try:
        return str(name_result(_store(), plate, made_by, result))
    except OSError as error:
        return f"{_store() / result} (in results/ there is no link to it: {error})"


def _lines(
    mlflow_run_id: str,
    plate: StoredPlate | None,
    assembled: Result | None,
    where: str,
    compared: list[Result],
    not_compared: int,
    remarks: Sequence[str] = (),
    warning: str = "",
) -> list[str]:
    page = f"[MLflow run]({mlflow_run_url(mlflow_run_id)})"
    if plate is None or assembled is None:
        return [*failure_lines(), "", page]
    counts = assembled["counts"]
    found = f"{warning} {counts['nuclei']} nuclei in {counts['fovs']} fields".strip()
    found += f"; {left_out_in_short(plate)}" if plate.left_out else ""
    found += "; look at the remarks below" if remarks else ""
    lines = [found, "", f"Label images, tables and pictures: {where}", "", page, "", *remarks, *remarks_on([plate])]
    return drift.note(_store(), lines, compared, not_compared)


with DAG(
    dag_id="segment_plate",
    description="Find the nuclei of a plate",
    doc_md=DOC,
    schedule=None,
    params=segment_plate_form(),
    default_args=DEFAULT_ARGS,
    tags=["nuclei"],
):
    to_import: Any = plan()
    open_run = launch("open_run", settings=to_import["open_run"])
    mlflow_run_id = open_run.output["mlflow_run_id"]
    model = launch("find_model", settings=to_import["find_model"], hand_on=segment_plate.networks_to_store)
    # Only of models that aren't registered, and nothing is learnt.
    store_networks = launch(TRAIN, task_id="store_networks", each=model.output)
    ingest = launch("ingest", each=to_import, mlflow_run_id=mlflow_run_id)
    all_parts: Any = parts(to_import["found"], ingest.output, model.output["values"])
    store_networks >> all_parts
    segment_parts = launch(
        "segment",
        each=all_parts,
        mlflow_run_id=mlflow_run_id,
        map_index_template="{{ task.each['fovs'][0] }} and {{ task.each['fovs'] | length - 1 }} more",
    )
    assemble_plate = launch(
        "assemble_plate",
        settings=to_import["assemble_plate"],
        inputs={"segmentations": segment_parts.output["segmentation"]},
        known={"parts": all_parts},
        prepare=segment_plate.assembly_of,
        mlflow_run_id=mlflow_run_id,
    )

    compared_with: Any = comparison(all_parts)
    compare = launch(
        "drift",
        each=compared_with,
        inputs={"segmentation": assemble_plate.output["assembled"]},
        mlflow_run_id=mlflow_run_id,
    )

    # Teardowns run after a failure too; the summary counts for the state of the DAG run.
    ended: Any = summary(
        mlflow_run_id, all_parts, segment_parts.output, assemble_plate.output, compared_with, compare.output
    )
    close_run = launch("close_run", settings=ended, mlflow_run_id=mlflow_run_id)
    ended.as_teardown(setups=open_run, on_failure_fail_dagrun=True)
    close_run.as_teardown(setups=open_run)
