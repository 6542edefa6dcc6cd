"""Train a challenger when annotated plates have arrived, judge it against the champion, and promote it if it passes."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, TaskGroup, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from nucleus_dags.access.approval import ANSWERED_BY, REASON, NamedApprovalOperator
from nucleus_dags.assets import ANNOTATED_PLATES, REGISTERED_MODELS
from nucleus_dags.baseline import baseline
from nucleus_dags.errors import FormError
from nucleus_dags.forms.retrain_champion import retrain_champion_form
from nucleus_dags.launchers import DEFAULT_ARGS, launch
from nucleus_dags.launchers.kinds import TRAIN
from nucleus_dags.launchers.task_operator import Result, mlflow_run_url
from nucleus_dags.notes import FAILURE, fail_with, failure_lines, show_lines, show_remarks
from nucleus_dags.planning import retrain_champion, retraining_decision
from nucleus_dags.planning.baseline import of_models
from nucleus_dags.planning.candidates import (
    calibrated_model,
    calibration_of,
    opened_candidates,
    trainings_on,
)
from nucleus_dags.planning.gate import gate_in_force
from nucleus_dags.planning.remarks import remarks_on_segmentations
from nucleus_dags.planning.retrain_champion import champions_of, judgement_of, report_of
from nucleus_dags.planning.retraining_decision import challenger_of, promotion_of, rejection_of
from nucleus_dags.planning.retrainings import record
from nucleus_dags.planning.runs import runs_to_close
from nucleus_dags.planning.train_models import refuse_unknown_fields
from nucleus_dags.planning.types import (
    Challenger,
    Decision,
    FoundModel,
    OpenedCandidate,
    Params,
    RunsToClose,
    StoredPlatePath,
)
from nucleus_dags.run_note import NotedFailure
from nucleus_dags.segmenting import FOUND, all_segmentations, scoring_of, segment_what_is_left

APPROVAL_TIME = timedelta(days=3)
ANSWER = {
    "person": "{{ ti.xcom_pull('approve', key='" + ANSWERED_BY + "') or '' }}",
    "why": "{{ ti.xcom_pull('approve', key='" + REASON + "') or '' }}",
}
"""Who approved or rejected and why; empty where nobody is asked."""

DOC = """
Keeps the model in force, the *champion*, up to date with the plates that arrive.

**Starts** when `ingest_plates` has imported annotated plates, and every Sunday; or by the button *Trigger*. Plates that
arrive meanwhile are taken by the next run. Without anything new it skips itself and says so.

**What happens:** a *challenger* is trained on all training plates from the champion's weights. Both segment every test
plate of the store and are scored on it. `judge` applies the gate: no cell line may lose, the mean
may not fall, no new kind of error may appear. `change_gate` changes it; the note says by which gate was judged.

**Doubts:** a training plate whose labels may be wrong is left out until they are corrected or confirmed; the note of
the run names it. It names test plates of this kind too, which are used.

**Passed:** the challenger becomes champion, by itself or after an approval in this page (*Required actions*). The note
and the version's tag in MLflow name who approved or rejected it, and the reason that was given.
**Failed:** the run ends well, and its note says which rule failed, in which cell line, on which plates.
**Undecided:** the test plates have too few nuclei to tell; the champion stays, and the note says about how many more it
takes. Who wants the challenger all the same promotes it with `promote_model`.

**At first** the base model, which comes with the pipeline, is the champion. Where there is none, the first model is
trained and promoted.

**Back** to an earlier version: the DAG `promote_model`.
"""


def _store() -> Path:
    return Path(os.environ["NUCLEUS_STORE"])


@task
def plan(found: dict[str, FoundModel | None]) -> list[StoredPlatePath]:
    """Choose plates and candidates; give the test plates, and under their names what else there is to do."""
    context = get_current_context()
    dag_run, ti = context["dag_run"], context["ti"]
    try:
        refuse_unknown_fields(dag_run.conf or {}, retrain_champion_form())
        gate = gate_in_force(_store())
        planned = retrain_champion.plan(context["params"], gate, _store(), found["model"], dag_run.run_id)
    except retrain_champion.NothingNew as reason:
        show_lines([str(reason)])
        raise AirflowSkipException(str(reason)) from None
    except FormError as error:
        fail_with(str(error))
    show_remarks(planned["remarks"])
    for name, value in planned.items():
        ti.xcom_push(name, value)
    return planned["test_plates"]


def judgement_or_skip(candidate: Params, known: Params) -> Params:
    """Give the params of `judge`; without a champion there is nothing to judge against."""
    params = judgement_of(candidate, known)
    if params is None:
        raise AirflowSkipException("There is no champion to judge against.")
    return params


# The first model is judged against none; a run without anything new has nothing to decide.
@task(trigger_rule="none_failed_min_one_success")
def decide(
    champion_version: int,
    test_plates: list[StoredPlatePath],
    gate_in_words: str,
    reported: Any,
    scored: Any,
    judged: Any,
) -> Decision:
    """Say what came out, and which candidate may become champion, if any."""
    results: list[Result] = [result for result in judged or [] if result]
    return retraining_decision.decide(
        _store(), champion_version, test_plates, list(reported), list(scored), results, mlflow_run_url, gate_in_words
    )


def challenger_or_skip(given: Params, known: Params) -> Params:
    """Give the params of `find_model` for the challenger."""
    if known["decided"]["challenger_run"] is None:
        raise AirflowSkipException(known["decided"]["verdict"])
    return {**given, "model": f"run/{known['decided']['challenger_run']}"}


@task.branch
def who_approves(approval: str, mlflow_run_id: str, decided: Decision, challenger: Challenger) -> str:
    """Choose whether a person is asked; the note says so as long as the answer is awaited."""
    if approval != "by_person":
        return "promote"
    until = f"{datetime.now(UTC) + APPROVAL_TIME:%d %B, %H:%M} UTC"
    waiting = retraining_decision.waiting_in_words(challenger["version"], until)
    show_lines([waiting, "", _page(mlflow_run_id), "", *decided["lines"], *decided["table"]])
    return "approve"


# Told of only here, when the aliases are settled.
@task(outlets=[REGISTERED_MODELS])
def summary(
    mlflow_run_id: str,
    digest: str,
    test_plates: list[StoredPlatePath],
    remarks: list[str],
    segmented: Any,
    found: str,
    decided: Decision | None,
    promoted: Result | None,
    rejected: Result | None,
    candidates: list[OpenedCandidate] | None,
) -> RunsToClose:
    """Show the outcome; fails when a task before it did. Gives the params of `close_run`."""
    context = get_current_context()
    ti = context["ti"]
    person, why = (ti.xcom_pull(task_ids="approve", key=key) for key in (ANSWERED_BY, REASON))
    outcome = _outcome(decided, promoted, rejected is not None, person, why)
    first = [outcome] if outcome else failure_lines()
    remarks = [*remarks_on_segmentations(of_models(all_segmentations(found, segmented))), *remarks]
    said, table = (decided["lines"], decided["table"]) if decided else ([], [])
    show_lines([*first, "", _page(mlflow_run_id), "", *said, "", *remarks, "", *table])
    for_close_run = runs_to_close(mlflow_run_id, candidates, outcome is not None)
    if outcome is None:
        ti.xcom_push("return_value", for_close_run)
        raise NotedFailure(FAILURE)
    tested = [plate["plate"] for plate in test_plates]
    record(_store(), digest, context["dag_run"].run_id, outcome, tested, len(candidates or []))
    return for_close_run


def _page(mlflow_run_id: str) -> str:
    return f"[MLflow run]({mlflow_run_url(mlflow_run_id)})"


def _outcome(
    decided: Decision | None, promoted: Result | None, rejected: bool, person: str | None, why: str | None
) -> str | None:
    """Say what came out, and who approved or rejected it and why; None if a task failed before anything did."""
    if decided is None:
        return None
    if decided["challenger_run"] is None:
        return decided["verdict"]
    if promoted is not None:
        approved = f", {retraining_decision.approval_in_words(person, why)}" if person else ""
        first = " It is the first model." if not decided["table"] else ""
        return f"Version {promoted['counts']['version']} is champion{approved}.{first}"
    if rejected:
        answer = retraining_decision.rejection_in_words(person, why)
        return f"A challenger passed the gate, but {answer}; the champion stays."
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
    # A person unpauses it, since it trains.
    is_paused_upon_creation=True,
    params=retrain_champion_form(),
    default_args=DEFAULT_ARGS,
    tags=["nuclei"],
):
    champion = launch(
        "find_model",
        task_id="find_champion",
        settings={"model": "champion", "may_lack": True, "dag_run_id": "{{ run_id }}"},
        hand_on=champions_of,
    )
    test_plates: Any = plan(champion.output["values"])
    open_run = launch(
        "open_run",
        settings=test_plates["open_run"],
        known={"candidates": test_plates["candidates"]},
        hand_on=opened_candidates,
    )
    mlflow_run_id = open_run.output["mlflow_run_id"]
    of_run: dict[str, Any] = {"mlflow_run_id": mlflow_run_id}

    augment = launch(
        "augment",
        settings=test_plates["augment"],
        known={"candidates": open_run.output},
        hand_on=trainings_on,
        **of_run,
    )
    training_name = "{{ task.each['task'] }}, from {{ task.each.get('initialisation', 'the preset') }}"
    train = launch(TRAIN, each=augment.output, map_index_template=training_name)
    candidate_name: dict[str, Any] = {"map_index_template": "{{ task.each['name'] }}"}
    calibrate = launch(
        "calibrate",
        each=open_run.output,
        known={"trained": train.output, "settings": test_plates["settings"]},
        prepare=calibration_of,
        hand_on=calibrated_model,
        **candidate_name,
    )
    register_model = launch("register_model", each=calibrate.output)

    # The champion has no MLflow run of its own here: it is logged to that of the DAG run.
    judged_models = champion.output.concat(calibrate.output, baseline())
    segment = segment_what_is_left(judged_models, test_plates, mlflow_run_id)
    score = launch(
        "score",
        each=judged_models,
        known={"segmented": segment.output, "found": FOUND, "plates": test_plates, "mlflow_run_id": mlflow_run_id},
        prepare=scoring_of,
    )
    # Scores and outcome are written on the registered version, which must be there.
    register_model >> score
    report = launch("report", each=open_run.output, known={"scored": score.output}, prepare=report_of, **candidate_name)
    judge = launch(
        "judge",
        each=open_run.output,
        known={
            "scored": score.output,
            "gate": test_plates["gate"],
            "champion_version": test_plates["champion_version"],
            "mlflow_run_id": mlflow_run_id,
        },
        prepare=judgement_or_skip,
        **candidate_name,
    )

    with TaskGroup("Promote", prefix_group_id=False):
        champion_version = test_plates["champion_version"]
        gate_in_words = test_plates["gate_in_words"]
        decided: Any = decide(champion_version, test_plates, gate_in_words, report.output, score.output, judge.output)
        challenger = launch(
            "find_model",
            task_id="find_challenger",
            settings={"dag_run_id": "{{ run_id }}"},
            known={"decided": decided, "champion_version": champion_version},
            prepare=challenger_or_skip,
            hand_on=challenger_of,
        )
        promotion: dict[str, Any] = {
            # Nothing else: what it depends on decides whether it is skipped.
            "known": {"challenger": challenger.output},
            "prepare": promotion_of,
        }
        name_challenger = launch(
            "promote_model",
            task_id="name_challenger",
            settings={"alias": "challenger", "dag_run_id": "{{ run_id }}"},
            **promotion,
        )
        approval = who_approves(test_plates["approval"], mlflow_run_id, decided, challenger.output)
        approve: Any = NamedApprovalOperator(
            task_id="approve",
            subject="Shall version {{ ti.xcom_pull('find_challenger')['version'] }} become champion?",
            body="{{ (ti.xcom_pull('decide')['lines'] + ti.xcom_pull('decide')['table']) | join('\n') }}",
            if_approved="promote",
            if_rejected="keep_rejection",
            response_timeout=APPROVAL_TIME,
        )
        promote = launch(
            "promote_model",
            task_id="promote",
            settings={"alias": "champion", "dag_run_id": "{{ run_id }}", **ANSWER},
            trigger_rule="none_failed_min_one_success",
            **promotion,
        )
        keep_rejection = launch(
            "reject_model",
            task_id="keep_rejection",
            settings={"dag_run_id": "{{ run_id }}", **ANSWER},
            known={"challenger": challenger.output},
            prepare=rejection_of,
        )
        # Who approves wants to read it.
        report >> approval
        name_challenger >> approval >> [approve, promote]
        approve >> [promote, keep_rejection]

    # Teardowns run after a failure too; the summary counts for the state of the DAG run.
    ended: Any = summary(
        mlflow_run_id,
        test_plates["digest"],
        test_plates,
        test_plates["remarks"],
        segment.output,
        FOUND,
        decided,
        promote.output,
        keep_rejection.output,
        open_run.output,
    )
    close_run = launch("close_run", settings=ended, **of_run)
    ended.as_teardown(setups=open_run, on_failure_fail_dagrun=True)
    close_run.as_teardown(setups=open_run)
