"""Score every registered model on every test plate, and show which forgot what."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from nucleus_dags.assets import ANNOTATED_PLATES, REGISTERED_MODELS
from nucleus_dags.baseline import baseline
from nucleus_dags.errors import FormError
from nucleus_dags.forms.compare_models import compare_models_form
from nucleus_dags.launchers import DEFAULT_ARGS, launch
from nucleus_dags.launchers.task_operator import Result, mlflow_run_url
from nucleus_dags.manifest import manifest
from nucleus_dags.notes import FAILURE, fail_with, failure_lines, show_lines
from nucleus_dags.planning import compare_models
from nucleus_dags.planning.baseline import of_models
from nucleus_dags.planning.remarks import remarks_on, remarks_on_segmentations
from nucleus_dags.planning.retrain_champion import read_gate
from nucleus_dags.planning.runs import run_to_open, runs_to_close
from nucleus_dags.planning.train_models import refuse_unknown_fields
from nucleus_dags.planning.types import ListedVersion, RunsToClose, StoredPlatePath
from nucleus_dags.plates.stored import newest_plates
from nucleus_dags.run_note import NotedFailure
from nucleus_dags.segmenting import FOUND, all_segmentations, scoring_of, segment_what_is_left

DOC = """
Shows whether new models still do well on what old ones could: the *forgetting matrix*.

**Starts** when annotated plates were imported, when a version was registered or promoted, or by the button *Trigger*.
Without a model or a test plate it skips itself and says so.

**What happens:** every version of `nucleus-segmenter` segments the newest version of every test plate and is scored on
it. What was segmented before isn't again, so a run costs only what has come since the last one.

**Result:** F1 of every version on every plate, and how far it is below the best earlier version: as table and heat map
in MLflow, under Artifacts; the newest versions in the note of the run. Beside them is what thresholds and a watershed
reach without a network. A version whose model the store lacks is there, without numbers.

**Two versions** that are named in the form are also held against each other nucleus by nucleus: how many the second gains
and loses, with pictures, and the differences of F1 with intervals, by the rules of the gate. Nothing is promoted.

**Annotation:** F1 of each cell line against the nuclei that were annotated for each version, what the next hundred are
expected to bring, and whether to go on; and F1 on the patches alone that were drawn at random.
"""


def _store() -> Path:
    return Path(os.environ["NUCLEUS_STORE"])


@task
def plan(listed: dict[str, list[ListedVersion]]) -> list[StoredPlatePath]:
    """Choose the test plates; give them, and the params of `open_run` under its name."""
    context = get_current_context()
    form = context["params"]
    try:
        refuse_unknown_fields(context["dag_run"].conf or {}, compare_models_form())
        plates = compare_models.plan(_store(), listed["versions"])
        pair = compare_models.pair_of(form["before"], form["after"], listed["versions"])
        gate = read_gate()["gate"] if pair else {}
    except FormError as error:
        fail_with(str(error))
    except compare_models.NothingToCompare as reason:
        show_lines([str(reason)])
        raise AirflowSkipException(str(reason)) from None
    context["ti"].xcom_push(
        "open_run", run_to_open("comparisons", context["dag_run"].run_id, "all versions on all test plates, ")
    )
    context["ti"].xcom_push("pair", {"versions": pair, "gate": gate})
    context["ti"].xcom_push("curves", {"annotated": compare_models.annotated_patches(_store())})
    return plates


def scoring_or_skip(model: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Give the params of `score` for a version; where nothing was asked there is nothing to score."""
    if not known["found"]:
        raise AirflowSkipException("Nothing was compared.")
    return scoring_of(model, known)


def judgement_or_skip(given: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Give the params of `judge` for two versions that a person named."""
    if not known["pair"]["versions"]:
        raise AirflowSkipException("No two versions were named.")
    return compare_models.judgement_of(given, known)


@task
def summary(
    listed: dict[str, list[ListedVersion]],
    mlflow_run_id: str,
    segmented: Any,
    found: str,
    compared: Result | None,
    curves: Result | None,
    pair: dict[str, Any],
    judged: Result | None,
) -> RunsToClose:
    """Show the matrix and what annotating brings; fails when a task before it did. Gives the params of `close_run`."""
    is_lacking = bool(pair["versions"]) and judged is None
    for_close_run = runs_to_close(mlflow_run_id, None, compared is not None and curves is not None and not is_lacking)
    page = f"[MLflow run]({mlflow_run_url(mlflow_run_id)})"
    if compared is None or curves is None or is_lacking:
        show_lines([*failure_lines(), "", page])
        get_current_context()["ti"].xcom_push("return_value", for_close_run)
        raise NotedFailure(FAILURE)
    matrix, baseline_rows = (
        compare_models.read_table(_store() / compared["outputs"][name]) for name in ("matrix", "baseline")
    )
    counts = compared["counts"]
    in_short = (
        f"{counts['versions']} versions on {counts['plates']} test plates: {counts['forgotten']} scores are below "
        f"those of an earlier version, {counts['missing']} are unknown"
    )
    remarks = remarks_on_segmentations(of_models(all_segmentations(found, segmented)))
    remarks += remarks_on(newest_plates(_store(), "test"))
    lines = [in_short, "", page, "", *compare_models.pair_lines(pair["versions"], judged), "", *remarks]
    lines += ["", *compare_models.forgotten_lines(matrix), "", *compare_models.advice_lines(curves), ""]
    title = f"F1 at {' / '.join(map(str, manifest()['shown_iou_thresholds']))}:"
    show_lines([*lines, title, "", *compare_models.matrix_table(matrix, baseline_rows, listed["versions"])])
    return for_close_run


with DAG(
    dag_id="compare_models",
    description="Score every registered model on every test plate",
    doc_md=DOC,
    schedule=ANNOTATED_PLATES | REGISTERED_MODELS,
    catchup=False,
    # What comes meanwhile is taken by the next one.
    max_active_runs=1,
    # A person unpauses it, since it segments.
    is_paused_upon_creation=True,
    params=compare_models_form(),
    default_args=DEFAULT_ARGS,
    tags=["nuclei"],
):
    listed = launch("list_models", settings={"dag_run_id": "{{ run_id }}"}, hand_on=compare_models.usable_models)
    test_plates: Any = plan(listed.output["values"])
    open_run = launch("open_run", settings=test_plates["open_run"])
    mlflow_run_id = open_run.output["mlflow_run_id"]
    # Many models are compared: in one MLflow run their params and curves would hide one another.
    models = listed.output.concat(baseline())
    segment = segment_what_is_left(models, test_plates)
    score = launch(
        "score",
        each=models,
        known={"segmented": segment.output, "found": FOUND, "plates": test_plates, "mlflow_run_id": None},
        prepare=scoring_or_skip,
        # Without anything left to segment, that is skipped.
        trigger_rule="none_failed",
    )
    forgetting = launch(
        "forgetting",
        known={"versions": listed.output["values"], "scored": score.output},
        prepare=compare_models.matrix_of,
        mlflow_run_id=mlflow_run_id,
    )

    learning_curves = launch(
        "learning_curves",
        settings=test_plates["curves"],
        known={"scored": score.output},
        prepare=compare_models.rounds_of,
        mlflow_run_id=mlflow_run_id,
    )

    judge = launch(
        "judge",
        known={
            "pair": test_plates["pair"],
            "versions": listed.output["values"],
            "scored": score.output,
        },
        prepare=judgement_or_skip,
        mlflow_run_id=mlflow_run_id,
    )

    # Teardowns run after a failure too; the summary counts for the state of the DAG run.
    results = (forgetting.output, learning_curves.output, test_plates["pair"], judge.output)
    ended: Any = summary(listed.output["values"], mlflow_run_id, segment.output, FOUND, *results)
    close_run = launch("close_run", settings=ended, mlflow_run_id=mlflow_run_id)
    ended.as_teardown(setups=open_run, on_failure_fail_dagrun=True)
    close_run.as_teardown(setups=open_run)
