"""Train a nucleus segmentation model on annotated plates and score it on others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, TaskGroup, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from nucleus_dags.assets import REGISTERED_MODELS
from nucleus_dags.baseline import baseline
from nucleus_dags.errors import FormError
from nucleus_dags.forms.train_models import train_models_form
from nucleus_dags.launchers import DEFAULT_ARGS, launch
from nucleus_dags.launchers.kinds import TRAIN
from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.notes import FAILURE, champion_in_words, fail_with, show_remarks, show_summary
from nucleus_dags.planning import train_models
from nucleus_dags.planning.baseline import of_models
from nucleus_dags.planning.candidates import (
    calibrated_model,
    calibration_of,
    first_champion_of,
    metrics_by_name,
    opened_candidates,
    remarks_on_own_proposals,
    report_on,
    stored_plate,
    trainings_on,
)
from nucleus_dags.planning.remarks import remarks_on_segmentations
from nucleus_dags.planning.runs import runs_to_close
from nucleus_dags.planning.types import OpenedCandidate, Params, PlateToImport, RunsToClose
from nucleus_dags.run_note import FAILURE_KEY, NotedFailure
from nucleus_dags.segmenting import FOUND, all_segmentations, scoring_of, segment_what_is_left

DOC = """
Trains a model that finds nuclei in microscope images, and says how well it does.

**Before:** copy plates into the inbox. A plate is a folder with `plate.json`, `images/` and `labels/`; its role
(train or test) is in `plate.json`.

**Start:** the button *Trigger*, above right. Every field of the form may stay as it is.

**What happens:** `ingest` checks the plates and imports them into the store. `augment` cuts training crops and changes
them. `train` trains each method that you choose on them.
`calibrate` chooses the thresholds on fields kept back from training. `segment` finds the nuclei of the test plates.
`score` compares them with the labels, `register_model` puts the models into MLflow, `report` draws the curves and the
errors of all methods. Beside them it shows what thresholds and a watershed reach without a network. Where a
training begins from the base model, which comes with the pipeline, that model is segmented with and scored too, as it
came.

**Doubts:** where labels may be wrong, `augment` refuses a training plate until they are corrected, or confirmed by
`"labels_confirmed": true` in `plate.json`; doubts about a test plate are in the note of the run.

**The first model** of an installation, the best one of the run, becomes the champion, with which `segment_plate`
segments; in most there is one already, the base model.

**Result:** the F1 scores are in the note of the run and in the log of `summary`. Everything else is in MLflow:
*MLflow run* under *Details* of a task leads there. F1 at IoU 0.7 says how many nuclei were found, at 0.9 how exact
their outlines are.

**Again:** what did not change is not computed again. With another marker threshold nothing is trained again;
calibration, segmentation and scores are computed anew.
"""


def _store() -> Path:
    return Path(os.environ["NUCLEUS_STORE"])


@task
def plan() -> list[PlateToImport]:
    """Check the form; give the training plates, and under their names what else there is to do."""
    context = get_current_context()
    dag_run = context["dag_run"]
    try:
        train_models.refuse_unknown_fields(dag_run.conf or {}, train_models_form())
        planned = train_models.plan(context["params"], Path(os.environ["NUCLEUS_INBOX"]), _store(), dag_run.run_id)
    except FormError as error:
        fail_with(str(error))
    for name, value in planned.items():
        context["ti"].xcom_push(name, value)
    return planned["train_plates"]


@task
def test_plates(plates: list[PlateToImport]) -> list[PlateToImport]:
    """Hand on the test plates: Airflow maps only over what a task returns as a whole."""
    return plates


def augmentation_after_remarks(given: Params, known: Params) -> Params:
    """Give the params of `augment`; before, show what a person should know of the plates."""
    remarks = train_models.remarks(_store(), known["left_out"], given["plates"], known["test_plates"])
    show_remarks(remarks)
    get_current_context()["ti"].xcom_push("remarks", remarks)
    return given


def promotion_or_skip(given: Params, known: Params) -> Params:
    """Give the params of `promote_model` for the best model, which becomes champion where there is none."""
    params = first_champion_of(given, known)
    if params is None:
        raise AirflowSkipException("No model of this run can be used.")
    return params


@task(outlets=[REGISTERED_MODELS])
def summary(
    mlflow_run_id: str,
    candidates: list[OpenedCandidate] | None,
    segmented: Any,
    found: str,
    scored: Any,
    promoted: Result | None,
    last_results: list[Any],
) -> RunsToClose:
    """Show the F1 scores; fails when a task before it did. Gives the params of `close_run`."""
    ti = get_current_context()["ti"]
    # Where there is a champion already, that task is skipped.
    is_promoted = promoted is not None or not ti.xcom_pull(task_ids="first_champion", key=FAILURE_KEY)
    succeeded = None not in last_results and is_promoted
    of_plates = ti.xcom_pull(task_ids="augment", key="remarks")
    remarks = remarks_on_own_proposals(candidates or [], scored or [])
    remarks += [*remarks_on_segmentations(of_models(all_segmentations(found, segmented))), *(of_plates or [])]
    first = champion_in_words(promoted["counts"]["version"]) if promoted else ""
    show_summary(mlflow_run_id, metrics_by_name(candidates or [], scored or []), succeeded, remarks, first)
    for_close_run = runs_to_close(mlflow_run_id, candidates, succeeded)
    if not succeeded:
        ti.xcom_push("return_value", for_close_run)
        raise NotedFailure(FAILURE)
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
    train_plates: Any = plan()
    open_run = launch(
        "open_run",
        settings=train_plates["open_run"],
        known={"candidates": train_plates["candidates"]},
        hand_on=opened_candidates,
    )
    mlflow_run_id = open_run.output["mlflow_run_id"]
    of_run: dict[str, Any] = {"mlflow_run_id": mlflow_run_id}

    with TaskGroup("Import", prefix_group_id=False):
        plate_name: dict[str, Any] = {"map_index_template": "{{ task.each['folder'].rsplit('/', 1)[-1] }}"}
        ingest_train = launch("ingest", task_id="ingest_train", each=train_plates, **of_run, **plate_name)
        to_test: Any = test_plates(train_plates["test_plates"])
        ingest_test = launch("ingest", task_id="ingest_test", each=to_test, **of_run, **plate_name)

    augment = launch(
        "augment",
        settings=train_plates["augment"],
        inputs={"plates": ingest_train.output["plate"]},
        known={
            "candidates": open_run.output,
            "test_plates": ingest_test.output["plate"],
            "left_out": train_plates["left_out"],
        },
        prepare=augmentation_after_remarks,
        hand_on=trainings_on,
        **of_run,
    )
    part = "{{ task.each.get('target', 'one network') if task.each['rois'] else 'as it came' }}"
    training_name = f"{{{{ task.each['task'] }}}}, {part}"
    train = launch(TRAIN, each=augment.output, map_index_template=training_name)
    calibrate = launch(
        "calibrate",
        each=open_run.output,
        known={"trained": train.output, "settings": train_plates["settings"]},
        prepare=calibration_of,
        hand_on=calibrated_model,
        map_index_template="{{ task.each['name'] }}",
    )
    register_model = launch("register_model", each=calibrate.output)

    tested = ingest_test.output.map(stored_plate)
    models = calibrate.output.concat(baseline())
    segment = segment_what_is_left(models, tested, mlflow_run_id)
    score = launch(
        "score",
        each=models,
        known={"segmented": segment.output, "found": FOUND, "plates": tested, "mlflow_run_id": mlflow_run_id},
        prepare=scoring_of,
    )
    # The scores are written on the registered versions too, which must be there.
    register_model >> score
    first_champion = launch(
        "promote_model",
        task_id="first_champion",
        settings={"reason": "the first model of this installation", "only_first": True, "dag_run_id": "{{ run_id }}"},
        known={"scored": score.output},
        prepare=promotion_or_skip,
    )
    report = launch(
        "report", known={"candidates": open_run.output, "scored": score.output}, prepare=report_on, **of_run
    )

    # Teardowns run after a failure too. The summary counts for the state of the DAG run: one that a person marked
    # as failed would else end as a success, because the tasks that were left out don't count.
    last_results = [report.output, register_model.output]
    ended: Any = summary(
        mlflow_run_id, open_run.output, segment.output, FOUND, score.output, first_champion.output, last_results
    )
    close_run = launch("close_run", settings=ended, **of_run)
    ended.as_teardown(setups=open_run, on_failure_fail_dagrun=True)
    close_run.as_teardown(setups=open_run)
