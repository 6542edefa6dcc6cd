"""Train a nucleus segmentation model on annotated plates and score it on others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, TaskGroup, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from nucleus_dags import candidates
from nucleus_dags.assets import REGISTERED_MODELS
from nucleus_dags.form import PRESETS, train_models_form
from nucleus_dags.launchers import DEFAULT_ARGS, launch
from nucleus_dags.plan import FormError, names_in, refuse_unknown_fields, settings_of_tasks
from nucleus_dags.programs import chosen_programs
from nucleus_dags.summary import FAILURE, show_summary
from nucleus_dags.training import train_networks

DOC = """
Trains a model that finds nuclei in microscope images, and says how well it does.

**Before:** copy plates into the inbox. A plate is a folder with `plate.json`, `images/` and `labels/`; its role
(train or test) is in `plate.json`.

**Start:** the button *Trigger*, above right. Every field of the form may stay as it is.

**What happens:** `ingest` checks and freezes the plates. `augment` cuts training crops and changes them.
Each method that you choose is trained on them: `train_fpn`, `train_mask_rcnn`, `train_jacobkie`, `train_external`.
`calibrate` chooses the thresholds on fields kept back from training. `segment` finds the nuclei of the test plates.
`score` compares them with the labels, `register_model` puts the models into MLflow, `report` draws the curves and the
errors of all methods.

**Result:** the F1 scores are in the note of the run and in the log of `summary`. Everything else is in MLflow:
*MLflow run* under *Details* of a task leads there. F1 at IoU 0.7 says how many nuclei were found, at 0.9 how exact
their outlines are.

**Again:** what didn't change isn't computed again. With another marker threshold only segmentation and scores are.
"""


@task
def check_form() -> dict[str, Any]:
    """Choose the plates and give each task its settings."""
    context = get_current_context()
    dag_run = context["dag_run"]
    try:
        refuse_unknown_fields(dag_run.conf or {}, train_models_form())
        form, inbox = context["params"], Path(os.environ["NUCLEUS_INBOX"])
        programs = chosen_programs(names_in(form["programs"]), Path(os.environ.get("NUCLEUS_PROGRAMS", "programs")))
        return settings_of_tasks(form, PRESETS, inbox, dag_run.run_id, programs)
    except FormError as error:
        raise AirflowFailException(str(error)) from None


@task
def items(chosen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Hand on a list: Airflow maps only over what a task returns as a whole."""
    return chosen


@task
def open_runs_of(settings: dict[str, Any], mlflow_run_id: str) -> list[dict[str, Any]]:
    """Give each method a run below that of the DAG run; a single one has that itself."""
    if len(settings["candidates"]) == 1:
        return [settings["open_run"]]
    return candidates.child_runs(settings, mlflow_run_id)


@task
def models_of(settings: dict[str, Any], networks: Any, calibrated: Any) -> list[dict[str, Any]]:
    return candidates.models(settings, list(networks), list(calibrated))


@task
def segmentations_of(models: Any, test_plates: Any) -> list[dict[str, Any]]:
    return candidates.segmentations(models, [ingested["outputs"]["plate"] for ingested in test_plates])


@task
def scorings_of(segmentations: Any, segmented: Any) -> list[dict[str, Any]]:
    return candidates.scorings(segmentations, list(segmented))


@task
def scores_by_method(settings: dict[str, Any], scored: Any) -> dict[str, str]:
    return candidates.scores_by_name(settings, list(scored))


@task(outlets=[REGISTERED_MODELS])
def summary(
    settings: dict[str, Any], mlflow_run_id: str, children: Any, scored: Any, last_results: list[Any]
) -> dict[str, Any]:
    """Show the F1 scores; fails when a task before it did. Gives the settings of `close_run`."""
    succeeded = None not in last_results
    scores = candidates.metrics_by_name(settings, list(scored or []))
    show_summary(mlflow_run_id, scores, succeeded)
    run_ids = {mlflow_run_id, *(child["mlflow_run_id"] for child in children or [])}
    for_close_run = {"mlflow_run_ids": sorted(run_ids), "succeeded": succeeded}
    if not succeeded:
        get_current_context()["ti"].xcom_push("return_value", for_close_run)
        raise AirflowFailException(FAILURE)
    return for_close_run


with DAG(
    dag_id="train_models",
    description="Train a nucleus segmentation model and score it",
    doc_md=DOC,
    schedule=None,
    params=train_models_form(),
    default_args=DEFAULT_ARGS,
    tags=["nuclei"],
):
    settings: Any = check_form()
    open_run = launch("open_run", settings=settings["open_run"])
    mlflow_run_id = open_run.output["mlflow_run_id"]

    with TaskGroup("ingest", prefix_group_id=False):
        folder_name = "{{ task.each['folder'].rsplit('/', 1)[-1] }}"
        train_plates = launch(
            "ingest",
            task_id="ingest_train",
            each=items.override(task_id="train_plates")(settings["train_plates"]),
            mlflow_run_id=mlflow_run_id,
            map_index_template=folder_name,
        )
        test_plates = launch(
            "ingest",
            task_id="ingest_test",
            each=items.override(task_id="test_plates")(settings["test_plates"]),
            mlflow_run_id=mlflow_run_id,
            map_index_template=folder_name,
        )

    augment = launch(
        "augment",
        settings=settings["augment"],
        inputs={"plates": train_plates.output["plate"]},
        mlflow_run_id=mlflow_run_id,
    )
    children = launch(
        "open_run",
        task_id="open_runs_of_methods",
        each=open_runs_of(settings, mlflow_run_id),
        map_index_template="{{ task.each['run_name'] }}",
    )
    networks = train_networks(settings, children.output, augment.output["rois"])
    calibrate = launch("calibrate", settings=settings["calibrate"], each=networks)
    models = models_of(settings, networks, calibrate.output)
    register_model = launch("register_model", each=models)
    segmentations = segmentations_of(models, test_plates.output)
    segment = launch("segment", each=segmentations, map_index_template="{{ task.each['plate'].rsplit('/', 1)[-1] }}")
    score = launch("score", settings=settings["score"], each=scorings_of(segmentations, segment.output))
    # The scores are written on the registered versions too, which must be there.
    register_model >> score
    report = launch("report", inputs={"scores": scores_by_method(settings, score.output)}, mlflow_run_id=mlflow_run_id)

    # Teardowns run after a failure too. The summary counts for the state of the DAG run: one that a person marked
    # as failed would else end as a success, because the tasks that were left out don't count.
    ended: Any = summary(settings, mlflow_run_id, children.output, score.output, [report.output, register_model.output])
    close_run = launch("close_run", settings=ended, mlflow_run_id=mlflow_run_id)
    ended.as_teardown(setups=open_run, on_failure_fail_dagrun=True)
    close_run.as_teardown(setups=open_run)
