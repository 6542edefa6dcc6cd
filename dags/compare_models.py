"""Score every registered model on every test plate, and show which forgot what."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from nucleus_dags import comparison
from nucleus_dags.assets import ANNOTATED_PLATES, REGISTERED_MODELS
from nucleus_dags.launchers import DEFAULT_ARGS, launch
from nucleus_dags.summary import FAILURE, show_lines
from nucleus_dags.task_operator import mlflow_run_url

DOC = """
Shows whether new models still do well on what old ones could: the *forgetting matrix*.

**Starts** when annotated plates were frozen, when a version was registered or promoted, or by the button *Trigger*.
Without a model or a test plate it skips itself and says so.

**What happens:** every version of `nucleus-segmenter` segments the newest version of every test plate and is scored on
it. What was segmented before isn't again, so a run costs only what has come since the last one.

**Result:** F1 of every version on every plate, and how far it is below the best earlier version: as table and heat map
in MLflow, under Artifacts; the newest versions in the note of the run. A version whose model the store lacks is there,
without numbers.
"""


def _store() -> Path:
    return Path(os.environ["NUCLEUS_STORE"])


@task
def plan(listed: dict[str, Any]) -> dict[str, Any]:
    try:
        return comparison.plan(_store(), listed, get_current_context()["dag_run"].run_id)
    except comparison.NothingToCompare as reason:
        show_lines([str(reason)])
        raise AirflowSkipException(str(reason)) from None


@task
def segmentations_of(planned: dict[str, Any]) -> list[dict[str, Any]]:
    return comparison.segmentations(_store(), planned)


@task
def scorings_of(planned: dict[str, Any], segmented: Any) -> list[dict[str, Any]]:
    return comparison.scorings(planned, list(segmented))


@task
def matrix_of(planned: dict[str, Any], scored: Any) -> dict[str, Any]:
    return comparison.matrix_settings(planned, list(scored))


@task
def summary(planned: dict[str, Any], mlflow_run_id: str, compared: dict[str, Any] | None) -> dict[str, Any]:
    """Show the matrix; fails when a task before it did. Gives the settings of `close_run`."""
    for_close_run = {"mlflow_run_ids": [mlflow_run_id], "succeeded": compared is not None}
    page = f"[MLflow run]({mlflow_run_url(mlflow_run_id)})"
    if compared is None:
        show_lines([FAILURE, "", page])
        get_current_context()["ti"].xcom_push("return_value", for_close_run)
        raise AirflowFailException(FAILURE)
    matrix = comparison.read_matrix(_store() / compared["outputs"]["matrix"])
    counts = compared["counts"]
    in_short = (
        f"{counts['versions']} versions on {counts['plates']} test plates: {counts['forgotten']} scores are below "
        f"those of an earlier version, {counts['missing']} are unknown"
    )
    lines = [in_short, "", page, "", *comparison.forgotten_lines(matrix), ""]
    show_lines([*lines, "F1 at 0.7 / 0.9:", "", *comparison.matrix_table(matrix, planned["versions"])])
    return for_close_run


with DAG(
    dag_id="compare_models",
    description="Score every registered model on every test plate",
    doc_md=DOC,
    schedule=ANNOTATED_PLATES | REGISTERED_MODELS,
    catchup=False,
    # What comes meanwhile is taken by the next one.
    max_active_runs=1,
    # A person switches it on, since it segments.
    is_paused_upon_creation=True,
    default_args=DEFAULT_ARGS,
    tags=["nuclei"],
):
    listed = launch("list_models", settings={"dag_run_id": "{{ run_id }}"})
    planned: Any = plan(listed.output)
    open_run = launch("open_run", settings=planned["open_run"])
    mlflow_run_id = open_run.output["mlflow_run_id"]
    # Those of many models: in one MLflow run their params and curves would hide one another.
    segment = launch(
        "segment",
        each=segmentations_of(planned),
        map_index_template="{{ task.each['plate'].rsplit('/', 1)[-1] }}, {{ task.each['networks'][0] }}",
    )
    score = launch("score", each=scorings_of(planned, segment.output))
    forgetting = launch("forgetting", settings=matrix_of(planned, score.output), mlflow_run_id=mlflow_run_id)

    # Teardowns run after a failure too; the summary counts for the state of the DAG run.
    ended: Any = summary(planned, mlflow_run_id, forgetting.output)
    close_run = launch("close_run", settings=ended, mlflow_run_id=mlflow_run_id)
    ended.as_teardown(setups=open_run, on_failure_fail_dagrun=True)
    close_run.as_teardown(setups=open_run)
