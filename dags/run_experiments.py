"""Run a matrix of experiments: train, segment and score each, and make the tables and figures of all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from nucleus_dags.errors import FormError
from nucleus_dags.forms.run_experiments import run_experiments_form
from nucleus_dags.launchers import DEFAULT_ARGS, launch
from nucleus_dags.launchers.kinds import TRAIN
from nucleus_dags.launchers.task_operator import Result, mlflow_run_url
from nucleus_dags.notes import FAILURE, fail_with, failure_lines, show_lines
from nucleus_dags.planning import experiments_plan, run_experiments
from nucleus_dags.planning.candidates import calibrated_model
from nucleus_dags.planning.train_models import refuse_unknown_fields
from nucleus_dags.planning.types import ExperimentsPlan, OpenedExperiment, Params, RunsToClose
from nucleus_dags.run_note import NotedFailure

DOC = """
Runs a *matrix* of experiments, such as the paper's 76 trainings, and makes its tables and figures.

**Before:** the plates of the matrix must be in the store; `ingest_plates` imports them.

**Start:** the button *Trigger*. With *Stop after the plan*, the note of the run says what there is to do and what it
takes, and nothing is spent; without it, the experiments are run. *Scale* makes a small copy of the whole matrix.

**What happens:** `find_experiments` asks the store what is there already. `augment` makes the ROI sets, each once for
all experiments that share it. Each experiment is one part of `train`, `calibrate`, `segment` and `score`, named by what
differs. One that fails doesn't stop the others; clear its failed task, and it is run again alone.

**Result:** tables, figures and what each experiment cost, in one page in MLflow: *MLflow run* under *Details* of
`tabulate`. Below that run is one for each experiment.

**One at a time:** another run, also one that stops after the plan, waits until the run before it has ended.

**Again:** started again, it does only what is missing. With *Tables* or *Rows*, only these experiments are run; the
page shows all of the matrix that have scores.
"""


def _store() -> Path:
    return Path(os.environ["NUCLEUS_STORE"])


@task
def plan() -> None:
    """Check the form, the matrix and its plates; give under their names the params of the other tasks."""
    context = get_current_context()
    dag_run = context["dag_run"]
    try:
        refuse_unknown_fields(dag_run.conf or {}, run_experiments_form())
        planned = run_experiments.plan(context["params"], _store(), dag_run.run_id)
    except FormError as error:
        fail_with(str(error))
    context["ti"].xcom_push("plan", planned)
    # As text: a template's own JSON sorts keys, and the order of the columns counts.
    context["ti"].xcom_push("tables", json.dumps(planned["tabulate"]))
    for name, value in planned.items():
        context["ti"].xcom_push(name, value)


@task
def show_plan(planned: ExperimentsPlan, found_file: str) -> list[Params]:
    """Show what there is to do; give the ROI sets to make, and under their names what else the next tasks need."""
    context = get_current_context()
    found = run_experiments.chosen_of(run_experiments.read_found(_store(), found_file))
    lines = experiments_plan.plan_lines(found, planned["prices"])
    show_lines([*lines, *planned["remarks"], "", *experiments_plan.experiment_lines(found)])
    if planned["stop_after_plan"]:
        raise AirflowSkipException("This was the plan. Trigger again without Stop after the plan to run it.")
    try:
        experiments_plan.refuse_what_does_not_fit(found)
    except FormError as error:
        fail_with(str(error))
    experiments = run_experiments.to_do(found)
    context["ti"].xcom_push("experiments", experiments)
    context["ti"].xcom_push("open_run", run_experiments.runs_of_experiments(planned, experiments))
    return run_experiments.named_rois(planned, found)


@task(trigger_rule="all_done")
def rois_are_made(planned_rois: list[Params] | None) -> None:
    """Let trainings begin when all ROI sets are made or failed: those whose ROIs are missing say so themselves."""
    if planned_rois is None:
        raise AirflowSkipException("No experiment is run.")


def tables_of_all(given: Params, known: dict[str, Any]) -> Params:
    """Give the params of `tabulate`, from what was in the store and what was scored now."""
    if not known["opened"]:
        raise AirflowSkipException("No experiment is run.")
    found = run_experiments.read_found(_store(), known["found"])
    params = run_experiments.tables_of(json.loads(known["planned"]), found, known["scored"] or [])
    if not params["experiments"]:
        raise AirflowFailException("No experiment has scores, so that there is nothing to show.")
    return params


@task
def summary(
    mlflow_run_id: str, opened: list[OpenedExperiment] | None, scored: Any, tabulated: Result | None
) -> RunsToClose:
    """Show what became of the experiments; fails when one of them did. Gives the params of `close_run`."""
    in_store = tabulated["counts"]["experiments"] if tabulated else 0
    for_close_run = run_experiments.runs_of_matrix(mlflow_run_id, opened or [], scored or [], tabulated is not None)
    failed = run_experiments.failed_experiments(opened or [], scored or [])
    lines = [
        f"{in_store} experiments are scored, {len(scored or [])} of them in this run; {len(failed)} failed",
        "",
        f"[MLflow run]({mlflow_run_url(mlflow_run_id)}): tables and figures are in its folder tables",
        "",
        *(f"- failed: {name}" for name in failed),
        *run_experiments.score_lines(scored or []),
    ]
    if failed or tabulated is None:
        show_lines([*failure_lines(), "", *lines])
        get_current_context()["ti"].xcom_push("return_value", for_close_run)
        raise NotedFailure(FAILURE)
    show_lines(lines)
    return for_close_run


with DAG(
    dag_id="run_experiments",
    description="Run a matrix of experiments, such as the paper's, and make its tables and figures",
    doc_md=DOC,
    schedule=None,
    params=run_experiments_form(),
    default_args=DEFAULT_ARGS,
    # Two runs of one matrix would do the same twice, and one would end what the other shows in MLflow.
    max_active_runs=1,
    tags=["nuclei"],
):
    planned: Any = plan()
    find_experiments = launch("find_experiments", settings=planned["find"])
    rois: Any = show_plan(planned["plan"], find_experiments.output["found"])
    open_run = launch(
        "open_run",
        settings=rois["open_run"],
        known={"experiments": rois["experiments"]},
        hand_on=run_experiments.opened_experiments,
    )
    augment = launch(
        "augment", each=rois, prepare=run_experiments.params_of_rois, map_index_template="{{ task.each['name'] }}"
    )
    ready: Any = rois_are_made(rois)
    augment >> ready

    @task_group(group_id="experiment", prefix_group_id=False)
    def experiment(each: Any) -> Any:
        """One experiment, from its trainings to its scores."""
        named: dict[str, Any] = {"settings": each, "map_index_template": "{{ task.settings['name'] }}"}
        train = launch(
            TRAIN, prepare=run_experiments.trainings_of_experiment, hand_on=run_experiments.networks_of, **named
        )
        calibrate = launch(
            "calibrate",
            known={"networks": train.output},
            prepare=run_experiments.calibration_of_experiment,
            hand_on=calibrated_model,
            **named,
        )
        segment = launch(
            "segment",
            known={"model": calibrate.output},
            prepare=run_experiments.segmentations_of,
            hand_on=run_experiments.segmented_plates,
            **named,
        )
        score = launch(
            "score",
            known={"segmented": segment.output, "experiment": each},
            prepare=run_experiments.scorings_of,
            hand_on=run_experiments.scored_experiment,
            **named,
        )
        ready >> train
        return score.output

    scored: Any = experiment.expand(each=open_run.output)
    tabulate = launch(
        "tabulate",
        known={
            # As templates they are empty where nothing was run; as XComs, their lack would be a failure.
            "planned": "{{ ti.xcom_pull(task_ids='plan', key='tables') or '' }}",
            "found": "{{ ti.xcom_pull(task_ids='find_experiments', key='found') or '' }}",
            "opened": "{{ ti.xcom_pull(task_ids='open_run', key='mlflow_run_id') or '' }}",
            "scored": scored,
        },
        prepare=tables_of_all,
        mlflow_run_id="{{ ti.xcom_pull(task_ids='open_run', key='mlflow_run_id') or '' }}",
        # An experiment that fails, or that there is none to run, doesn't keep back the tables of the others.
        trigger_rule="all_done",
    )

    # Teardowns run after a failure too; the summary counts for the state of the DAG run.
    mlflow_run_id = open_run.output["mlflow_run_id"]
    ended: Any = summary(mlflow_run_id, open_run.output, scored, tabulate.output)
    close_run = launch("close_run", settings=ended, mlflow_run_id=mlflow_run_id)
    ended.as_teardown(setups=open_run, on_failure_fail_dagrun=True)
    close_run.as_teardown(setups=open_run)
