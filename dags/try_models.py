"""Try all models that there are on one labelled plate, and say which of them are good enough."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from nucleus_dags.errors import FormError
from nucleus_dags.forms.try_models import try_models_form
from nucleus_dags.launchers import DEFAULT_ARGS, launch
from nucleus_dags.launchers.kinds import TRAIN
from nucleus_dags.launchers.task_operator import BadInput, Result, mlflow_run_url
from nucleus_dags.notes import FAILURE, fail_with, failure_lines, show_lines
from nucleus_dags.planning import try_models
from nucleus_dags.planning.remarks import remarks_on, remarks_on_segmentations
from nucleus_dags.planning.runs import run_to_open, runs_to_close
from nucleus_dags.planning.train_models import refuse_unknown_fields
from nucleus_dags.planning.types import ListedVersion, Model, Params, PlateToImport, RunsToClose, StoredPlatePath
from nucleus_dags.plates.stored import read_plate
from nucleus_dags.run_note import NotedFailure
from nucleus_dags.segmenting import FOUND, all_segmentations, scoring_of, segment_what_is_left

DOC = """
Before any training: is a model that there is good enough for your nuclei?

**Before:** annotate one plate, five fields or more; `send_to_annotation` helps.

**Start:** the button *Trigger*, with the plate's name.

**What happens:** the base model, thresholds and a watershed without a network, third-party tools whose weights lie in
NUCLEUS_WEIGHTS, and the newest registered versions segment the plate and are scored on its labels. Nothing is trained.

**Result:** the note of the run says which are *good enough* at finding nuclei (IoU 0.7) and at their outlines (IoU
0.9): F1 is what the form asks for, or more, by the lower end of its 95 % CI. Where the CI has both sides of it, it
can't be told, and the note says how many more nuclei would tell. It says what a training would cost, too. Report,
curves and pictures of the errors are in MLflow. A model that was trained on the plate isn't judged on it. One that
breaks is named with its error, and the others are judged without it.

**Then:** `segment_plate` segments plates with any of them; where none is good enough, `train_models` trains one.
"""


def _store() -> Path:
    return Path(os.environ["NUCLEUS_STORE"])


@task
def plan() -> list[PlateToImport]:
    """Find the plate; give it if it isn't in the store yet, and under their names what else there is to do."""
    context = get_current_context()
    dag_run, form, ti = context["dag_run"], context["params"], context["ti"]
    try:
        refuse_unknown_fields(dag_run.conf or {}, try_models_form())
        found = try_models.find_labelled_plate(form["plate"], Path(os.environ["NUCLEUS_INBOX"]), _store())
    except FormError as error:
        fail_with(str(error))
    ti.xcom_push("open_run", run_to_open("experiments", dag_run.run_id, f"{form['plate']}, "))
    ti.xcom_push("models", try_models.models_to_find(form, dag_run.run_id))
    ti.xcom_push("levels", {**try_models.levels_of(form), "dag_run_id": dag_run.run_id})
    ti.xcom_push("found", found)
    return [{"folder": found["folder"]}] if "folder" in found else []


@task
def models_to_find(models: list[Params]) -> list[Params]:
    """Hand on the models: Airflow maps only over what a task returns as a whole."""
    return models


@task
def networks_to_store(found: Any) -> list[Params]:
    """Give what puts networks into the store that aren't registered; nothing is learnt."""
    return try_models.networks_to_store(found)


# Networks may all lie in the store.
@task(trigger_rule="none_failed")
def models(found: Any, stored: Any, listed: dict[str, list[ListedVersion]]) -> list[Model]:
    """Choose the models; give them, and their names under this word."""
    context = get_current_context()
    try:
        tried = try_models.tried_models(context["params"], list(found), list(stored or []), listed["versions"])
    except FormError as error:
        raise AirflowFailException(str(error)) from None
    context["ti"].xcom_push("names", tried.names)
    context["ti"].xcom_push("left_out", tried.left_out)
    return tried.models


@task(trigger_rule="none_failed")
def plates(plate: dict[str, str], ingested: Any) -> list[StoredPlatePath]:
    """Give the plate as it is in the store."""
    return [{"plate": plate.get("plate") or next(iter(ingested))["outputs"]["plate"]}]


def scoring_or_reason(model: Params, known: Params) -> Params:
    """Give the params of `score` for a model; refuses one that couldn't segment, with the reason."""
    segmented = list(known["segmented"] or [])
    if (reason := try_models.reason_without_segmentation(model, segmented)) is not None:
        raise BadInput(reason)
    done: Params = scoring_of(model, known | {"segmented": [result for result in segmented if "refused" not in result]})
    return done


def report_or_reasons(given: Params, known: Params) -> Params:
    """Give the params of `report`; fails if no model has scores."""
    try:
        return try_models.report_of(given, known)
    except FormError as error:
        raise AirflowFailException(str(error)) from None


def sufficiency_or_reasons(given: Params, known: Params) -> Params:
    """Give the params of `suffice`; fails in the same case."""
    return {**given, **report_or_reasons({}, known)}


@task
def summary(
    mlflow_run_id: str,
    tested: list[StoredPlatePath] | None,
    segmented: Any,
    found: str,
    scored: Any,
    answered: Result | None,
    reported: Result | None,
) -> RunsToClose:
    """Show which models are good enough; fails when a task before it did. Gives the params of `close_run`."""
    ti = get_current_context()["ti"]
    left_out = ti.xcom_pull(task_ids="models", key="left_out") or []
    names = ti.xcom_pull(task_ids="models", key="names") or []
    succeeded = answered is not None and reported is not None
    for_close_run = runs_to_close(mlflow_run_id, None, succeeded)
    page = f"[MLflow run]({mlflow_run_url(mlflow_run_id)}), with the report under Artifacts"
    remarks = remarks_on([read_plate(_store(), plate["plate"]) for plate in tested or []])
    if answered is None or reported is None:
        show_lines([*failure_lines(), "", page, "", *left_out, *remarks])
        ti.xcom_push("return_value", for_close_run)
        raise NotedFailure(FAILURE)
    segmentations = [result for result in all_segmentations(found, segmented) if "refused" not in result]
    broken = try_models.broken_lines(names, list(scored))
    remarks = [*remarks_on_segmentations(segmentations), *remarks]
    show_lines(try_models.lines_of(answered, page, broken, left_out, remarks))
    return for_close_run


with DAG(
    dag_id="try_models",
    description="Say which of the models there are is good enough for a labelled plate",
    doc_md=DOC,
    schedule=None,
    params=try_models_form(),
    default_args=DEFAULT_ARGS,
    tags=["nuclei"],
):
    to_import: Any = plan()
    open_run = launch("open_run", settings=to_import["open_run"])
    mlflow_run_id = open_run.output["mlflow_run_id"]
    ingest = launch("ingest", each=to_import, mlflow_run_id=mlflow_run_id)
    tested: Any = plates(to_import["found"], ingest.output)
    listed = launch("list_models", settings={"dag_run_id": "{{ run_id }}"})
    find_model = launch(
        "find_model",
        each=models_to_find(to_import["models"]),
        # One tool or model that breaks must not keep the others from being tried: so with all tasks on single ones.
        errors_handed_on="all",
        map_index_template="{{ task.each['model'] }}",
    )
    store_networks = launch(
        TRAIN,
        task_id="store_networks",
        each=networks_to_store(find_model.output),
        errors_handed_on="all",
        # Nothing is learnt that a further try would resume.
        retries=2,
    )
    tried: Any = models(find_model.output, store_networks.output, listed.output["values"])
    # Many models are tried: in one MLflow run their params and curves would hide one another.
    segment = segment_what_is_left(tried, tested, errors_handed_on="all")
    score = launch(
        "score",
        each=tried,
        known={"segmented": segment.output, "found": FOUND, "plates": tested, "mlflow_run_id": None},
        prepare=scoring_or_reason,
        errors_handed_on="all",
        # Without anything left to segment, that is skipped.
        trigger_rule="none_failed",
    )
    scored: dict[str, Any] = {"names": tried["names"], "scored": score.output}
    report = launch("report", known=scored, prepare=report_or_reasons, mlflow_run_id=mlflow_run_id)
    suffice = launch(
        "suffice",
        settings=to_import["levels"],
        known=scored,
        prepare=sufficiency_or_reasons,
        mlflow_run_id=mlflow_run_id,
    )

    # Teardowns run after a failure too; the summary counts for the state of the DAG run.
    ended: Any = summary(mlflow_run_id, tested, segment.output, FOUND, score.output, suffice.output, report.output)
    close_run = launch("close_run", settings=ended, mlflow_run_id=mlflow_run_id)
    ended.as_teardown(setups=open_run, on_failure_fail_dagrun=True)
    close_run.as_teardown(setups=open_run)
