"""The approval of a challenger: who is asked, and who answered."""

from typing import Any

import pytest

from nucleus_dags.access.approval import ANSWERED_BY, REASON, NamedApprovalOperator
from tests.dags.task_instance import TaskInstance


def answered(monkeypatch: pytest.MonkeyPatch, option: str, by: str | None, **given: str) -> dict[str, Any]:
    """Give what is handed on, with the task that is gone on with."""
    instance = TaskInstance()
    monkeypatch.setattr(
        NamedApprovalOperator, "do_branch", lambda self, context, branches_to_execute: branches_to_execute
    )
    event = {"chosen_options": [option], "params_input": given, "responded_at": _Moment()}
    event["responded_by_user"] = {"id": by, "name": by} if by else None
    followed = operator_of().execute_complete({"ti": instance}, event)  # type: ignore[typeddict-item]
    return {**instance.xcoms, "followed": followed}


def operator_of() -> NamedApprovalOperator:
    return NamedApprovalOperator(
        task_id="approve", subject="Shall it?", if_approved="promote", if_rejected="keep_rejection"
    )


class _Moment:
    def isoformat(self) -> str:
        return "2026-01-02T03:04:05"


def test_who_answered_and_why_is_handed_on_and_decides_how_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert answered(monkeypatch, "Approve", "anna", reason="Outlines are right") == {
        ANSWERED_BY: "anna",
        REASON: "Outlines are right",
        "followed": ["promote"],
    }
    rejected = answered(monkeypatch, "Reject", "eva", reason="It splits mitoses")
    assert (rejected[REASON], rejected["followed"]) == ("It splits mitoses", ["keep_rejection"])


def test_where_the_time_runs_out_nobody_answered_and_it_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert operator_of().defaults == ["Reject"]
    assert answered(monkeypatch, "Reject", None) == {
        ANSWERED_BY: "",
        REASON: "",
        "followed": ["keep_rejection"],
    }


def test_the_page_asks_for_a_reason() -> None:
    """Of a field of text that has no null among its types, the page refuses to send an empty one."""
    (field,) = operator_of().serialized_params.values()
    assert field["schema"]["title"] == "Reason"
    assert field["schema"]["type"] == "string"


@pytest.mark.parametrize(
    ("setting", "asked"), [("", []), ("anna", ["anna"]), (" anna , eva,", ["anna", "eva"])], ids=str
)
def test_only_people_who_are_named_are_asked(monkeypatch: pytest.MonkeyPatch, setting: str, asked: list[str]) -> None:
    monkeypatch.setenv("NUCLEUS_APPROVERS", setting)
    assert operator_of().assigned_users == [{"id": name, "name": name} for name in asked]
