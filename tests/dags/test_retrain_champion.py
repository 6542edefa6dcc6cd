"""The DAG `retrain_champion`."""

from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowSkipException

import retrain_champion
from tests.repository import REPOSITORY


@pytest.fixture(scope="module")
def dag() -> Any:
    bag = DagBag(str(REPOSITORY / "dags" / "retrain_champion.py"))
    assert bag.import_errors == {}
    return bag.dags["retrain_champion"]


def decision(challenger_run: str | None) -> Any:
    verdict = "Too few nuclei; the champion stays."
    return {"challenger_run": challenger_run, "verdict": verdict, "lines": [], "table": ["| rule |"]}


PROMOTED: Any = {"counts": {"version": 5}}


@pytest.mark.parametrize(
    ("decided", "promoted", "rejected", "person", "outcome"),
    [
        (decision("1"), PROMOTED, False, None, "Version 5 is champion."),
        (decision("1") | {"table": []}, PROMOTED, False, None, "Version 5 is champion. It is the first model."),
        (decision("1"), PROMOTED, False, "anna", "Version 5 is champion, approved by anna: I looked at it."),
        (decision(None), None, False, None, "Too few nuclei; the champion stays."),
        (
            decision("1"),
            None,
            True,
            "eva",
            "A challenger passed the gate, but eva rejected it: I looked at it; the champion stays.",
        ),
        (
            decision("1"),
            None,
            True,
            "",
            "A challenger passed the gate, but nobody approved it in time; the champion stays.",
        ),
        (decision("1"), None, False, None, None),
        (None, None, False, None, None),
    ],
    ids=[
        "promoted",
        "first",
        "approved",
        "none passed",
        "rejected",
        "no answer",
        "promotion failed",
        "training failed",
    ],
)
def test_the_outcome_is_told_in_one_sentence_with_who_decided_and_a_failure_has_none(
    decided: Any, promoted: Any, rejected: bool, person: str | None, outcome: str | None
) -> None:
    assert retrain_champion._outcome(decided, promoted, rejected, person, "I looked at it.") == outcome


def test_without_a_champion_the_judgement_is_skipped() -> None:
    with pytest.raises(AirflowSkipException, match="no champion to judge against"):
        retrain_champion.judgement_or_skip({"mlflow_run_id": "1"}, {"champion_version": 0})


def test_the_challenger_is_looked_up_by_its_mlflow_run_and_without_one_nothing_is_promoted() -> None:
    given = {"dag_run_id": "manual__1"}
    params = retrain_champion.challenger_or_skip(given, {"decided": decision("a" * 32)})
    assert params == {"dag_run_id": "manual__1", "model": f"run/{'a' * 32}"}
    with pytest.raises(AirflowSkipException, match="Too few nuclei; the champion stays"):
        retrain_champion.challenger_or_skip(given, {"decided": decision(None)})


def test_nothing_is_promoted_before_it_is_registered_and_its_report_can_be_read(dag: Any) -> None:
    before = dag.get_task("promote").get_flat_relative_ids(upstream=True)
    assert {"register_model", "score", "judge", "report", "decide", "approve", "name_challenger"} <= before


def test_what_promotes_depends_on_nothing_that_succeeds_without_a_challenger(dag: Any) -> None:
    assert dag.get_task("name_challenger").upstream_task_ids == {"find_challenger"}
    assert dag.get_task("promote").upstream_task_ids == {"find_challenger", "who_approves", "approve"}


def test_what_keeps_a_rejection_follows_the_answer_alone(dag: Any) -> None:
    assert dag.get_task("keep_rejection").upstream_task_ids == {"find_challenger", "approve"}
    approve = dag.get_task("approve")
    assert approve.options_mapping == {"Approve": "promote", "Reject": "keep_rejection"}


def test_while_an_approval_waits_the_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(retrain_champion, "show_lines", shown.extend)
    challenger: Any = {"version": 5, "reason": "passed the gate", "judged_against": 4}
    ask = retrain_champion.who_approves.function
    assert ask("automatic", "abc", decision("1"), challenger) == "promote"
    assert shown == []
    assert ask("by_person", "abc", decision("1"), challenger) == "approve"
    assert shown[0].startswith("⏳ Version 5 passed the gate. Approve or reject it under Required actions until ")
    assert shown[-1] == "| rule |"


def test_the_end_runs_after_a_failure_and_does_not_hide_it(dag: Any) -> None:
    assert {task.task_id for task in dag.teardowns} == {"summary", "close_run"}
    assert dag.get_task("summary").on_failure_fail_dagrun
