"""Train a challenger when annotated plates have arrived, judge it against the champion, and promote it if it passes."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from nucleus_dags import candidates, retraining
from nucleus_dags.assets import ANNOTATED_PLATES, REGISTERED_MODELS
from nucleus_dags.form import PRESETS, retrain_champion_form
from nucleus_dags.launchers import DEFAULT_ARGS, launch
from nucleus_dags.plan import FormError, refuse_unknown_fields
from nucleus_dags.summary import FAILURE, show_lines
from nucleus_dags.task_operator import mlflow_run_url
from nucleus_dags.training import train_networks

APPROVAL_TIME = timedelta(days=3)

DOC = """
Keeps the model in force, the *champion*, up to date with the plates that arrive.

**Starts** when `ingest_plates` has frozen annotated plates, and every Sunday; or by the button *Trigger*. Plates that
arrive meanwhile are taken by the next run. Without anything new it skips itself and says so.

**What happens:** a *challenger* is trained on all training plates from the champion's weights. Both segment every test
plate of the store and are scored on it. `judge` applies the gate, a table in `dags/nucleus_dags/gate.yaml`: no cell
line may lose, the mean must gain, no new kind of error may appear.

**Passed:** the challenger becomes champion, by itself or after an approval in this page (*Required actions*).
**Failed:** the run ends well, and its note says which rule failed, in which cell line, on which plates.

**Without a champion** the first model is trained and promoted.

**Back** to an earlier version: the DAG `promote_model`.
"""


def _store() -> Path:
    return Path(os.environ["NUCLEUS_STORE"])


@task
def plan(champion: dict[str, Any]) -> dict[str, Any]:
    """Choose plates and candidates, and give each task its settings."""
    context = get_current_context()
    dag_run = context["dag_run"]
    try:
        refuse_unknown_fields(dag_run.conf or {}, retrain_champion_form())
        return retraining.plan(context["params"], retraining.read_gate(), PRESETS, _store(), champion, dag_run.run_id)
    except retraining.NothingNew as reason:
        show_lines([str(reason)])
        raise AirflowSkipException(str(reason)) from None
    except FormError as error:
        raise AirflowFailException(str(error)) from None


@task
def open_runs_of(planned: dict[str, Any], mlflow_run_id: str) -> list[dict[str, Any]]:
    return candidates.child_runs(planned, mlflow_run_id)


@task
def models_of(planned: dict[str, Any], networks: Any, calibrated: Any) -> list[dict[str, Any]]:
    return candidates.models(planned, list(networks), list(calibrated))


@task
def segmentations_of(planned: dict[str, Any], models: Any, mlflow_run_id: str) -> list[dict[str, Any]]:
    judged = retraining.models_to_judge(planned, models, mlflow_run_id)
    return candidates.segmentations(judged, planned["test_plates"])


@task
def scorings_of(settings: Any, segmented: Any) -> list[dict[str, Any]]:
    return candidates.scorings(settings, list(segmented))


@task
def reports_of(planned: dict[str, Any], scored: Any) -> list[dict[str, Any]]:
    return retraining.reports(planned, list(scored))


@task
def judgements_of(planned: dict[str, Any], scored: Any) -> list[dict[str, Any]]:
    return retraining.judgements(planned, list(scored))


@task(trigger_rule="none_failed")
def decide(planned: dict[str, Any] | None, children: Any, scored: Any, judged: Any) -> dict[str, Any]:
    """Say what came out, and which candidate may become champion, if any."""
    if planned is None:
        raise AirflowSkipException("There was nothing new.")
    results = list(judged or [])
    run_ids = [child["mlflow_run_id"] for child in children]
    chosen = retraining.choose_challenger(_store(), planned, results, list(scored))
    lines = retraining.verdict(_store(), planned, results, list(map(mlflow_run_url, run_ids)))
    return {"challenger_run": None if chosen is None else run_ids[chosen], "lines": lines}


@task
def challenger_of(decided: dict[str, Any]) -> dict[str, Any]:
    """Give the settings of `find_model` for the challenger."""
    if decided["challenger_run"] is None:
        raise AirflowSkipException("No candidate passed the gate; the champion stays.")
    return {"model": f"run/{decided['challenger_run']}", "dag_run_id": get_current_context()["dag_run"].run_id}


@task
def promotions_of(planned: dict[str, Any], challenger: dict[str, Any]) -> dict[str, Any]:
    """Give the settings of `promote_model` for both aliases."""
    champion = planned["champion"]["version"]
    reason = f"passed the gate against version {champion}" if champion else "the first model"
    settings = {
        "version": challenger["counts"]["version"],
        "reason": reason,
        "dag_run_id": get_current_context()["dag_run"].run_id,
    }
    return {
        "challenger": settings | {"alias": "challenger"},
        "champion": settings | {"alias": "champion", "judged_against": champion},
    }


@task.branch
def who_approves(planned: dict[str, Any]) -> str:
    return "approve" if planned["approval"] == "by_person" else "promote"


# Told of only here, when the aliases are settled.
@task(outlets=[REGISTERED_MODELS])
def summary(
    mlflow_run_id: str,
    planned: dict[str, Any],
    decided: dict[str, Any] | None,
    promoted: dict[str, Any] | None,
    children: Any,
) -> dict[str, Any]:
    """Show the outcome; fails when a task before it did. Gives the settings of `close_run`."""
    ti = get_current_context()["ti"]
    # A rejected approval leaves what it skips under this key, and nothing else.
    rejected = ti.xcom_pull(task_ids="approve", key="skipmixin_key") is not None
    outcome = _outcome(decided, promoted, rejected)
    page = f"[MLflow run]({mlflow_run_url(mlflow_run_id)})"
    show_lines([outcome or FAILURE, "", page, "", *(decided["lines"] if decided else [])])
    run_ids = [mlflow_run_id, *(child["mlflow_run_id"] for child in children or [])]
    for_close_run = {"mlflow_run_ids": run_ids, "succeeded": outcome is not None}
    if outcome is None:
        ti.xcom_push("return_value", for_close_run)
        raise AirflowFailException(FAILURE)
    retraining.record(_store(), planned["digest"], get_current_context()["dag_run"].run_id, outcome)
    return for_close_run


def _outcome(decided: dict[str, Any] | None, promoted: dict[str, Any] | None, rejected: bool) -> str | None:
    """Say what came out; None if a task failed before anything did."""
    if decided is None:
        return None
    if decided["challenger_run"] is None:
        return "No candidate passed the gate; the champion stays."
    if promoted is not None:
        return f"Version {promoted['counts']['version']} is champion."
    if rejected:
        return "A challenger passed the gate and was not approved; the champion stays."
    return None


with DAG(
    dag_id="retrain_champion",
    description="Train a challenger on new plates, judge it, promote it",
    doc_md=DOC,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 3 * * 0", timezone="UTC"), assets=[ANNOTATED_PLATES]
    ),
    catchup=False,
    # One at a time: each is judged against the champion that the one before may have made.
    max_active_runs=1,
    # A person switches it on, since it trains.
    is_paused_upon_creation=True,
    params=retrain_champion_form(),
    default_args=DEFAULT_ARGS,
    tags=["nuclei"],
):
    champion = launch(
        "find_model",
        task_id="find_champion",
        settings={"model": "champion", "may_lack": True, "dag_run_id": "{{ run_id }}"},
    )
    planned: Any = plan(champion.output)
    open_run = launch("open_run", settings=planned["open_run"])
    mlflow_run_id = open_run.output["mlflow_run_id"]
    children = launch(
        "open_run",
        task_id="open_runs_of_candidates",
        each=open_runs_of(planned, mlflow_run_id),
        map_index_template="{{ task.each['run_name'] }}",
    )
    augment = launch("augment", settings=planned["augment"], mlflow_run_id=mlflow_run_id)
    networks = train_networks(planned, children.output, augment.output["rois"])
    calibrate = launch("calibrate", settings=planned["segmentation"], each=networks)
    models = models_of(planned, networks, calibrate.output)
    register_model = launch("register_model", each=models)
    segmentations = segmentations_of(planned, models, mlflow_run_id)
    segment = launch("segment", each=segmentations, map_index_template="{{ task.each['plate'].rsplit('/', 1)[-1] }}")
    score = launch("score", each=scorings_of(segmentations, segment.output))
    report = launch("report", each=reports_of(planned, score.output))
    judge = launch("judge", each=judgements_of(planned, score.output))
    # Scores and outcome are written on the registered version, which must be there.
    register_model >> score

    decided: Any = decide(planned, children.output, score.output, judge.output)
    challenger = launch("find_model", task_id="find_challenger", settings=challenger_of(decided))
    promotions: Any = promotions_of(planned, challenger.output)
    name_challenger = launch("promote_model", task_id="name_challenger", settings=promotions["challenger"])
    approval = who_approves(planned)
    approve: Any = ApprovalOperator(
        task_id="approve",
        subject="Shall version {{ ti.xcom_pull('find_challenger')['counts']['version'] }} become champion?",
        body="{{ ti.xcom_pull('decide')['lines'] | join('\n') }}",
        defaults="Reject",
        response_timeout=APPROVAL_TIME,
    )
    promote = launch(
        "promote_model",
        task_id="promote",
        settings=promotions["champion"],
        trigger_rule="none_failed_min_one_success",
    )
    # Who approves wants to read it.
    report >> approval
    name_challenger >> approval >> [approve, promote]
    approve >> promote

    # Teardowns run after a failure too; the summary counts for the state of the DAG run.
    ended: Any = summary(mlflow_run_id, planned, decided, promote.output, children.output)
    close_run = launch("close_run", settings=ended)
    ended.as_teardown(setups=open_run, on_failure_fail_dagrun=True)
    close_run.as_teardown(setups=open_run)
