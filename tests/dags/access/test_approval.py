"""The approval of a challenger: who is asked, and who answered."""

from typing import Any

import pytest

from nucleus_dags.access.approval import ANSWERED_BY, NamedApprovalOperator
from tests.dags.launchers.test_task_operator import TaskInstance


def answered(by: dict[str, str] | None) -> Any:
    operator = NamedApprovalOperator(task_id="approve", subject="Shall it?")
    instance = TaskInstance()
    event = {"chosen_options": ["Approve"], "params_input": {}, "responded_at": _Moment(), "responded_by_user": by}
    operator.execute_complete({"ti": instance}, event)  # type: ignore[typeddict-item]
    return instance.xcoms[ANSWERED_BY]


class _Moment:
    def isoformat(self) -> str:
        return "2026-01-02T03:04:05"


def test_who_answered_is_handed_on_and_nobody_where_the_time_ran_out() -> None:
    assert answered({"id": "anna", "name": "anna"}) == "anna"
    assert answered(None) == ""


@pytest.mark.parametrize(
    ("setting", "asked"), [("", []), ("anna", ["anna"]), (" anna , eva,", ["anna", "eva"])], ids=str
)
def test_only_people_who_are_named_are_asked(monkeypatch: pytest.MonkeyPatch, setting: str, asked: list[str]) -> None:
    monkeypatch.setenv("NUCLEUS_APPROVERS", setting)
    operator = NamedApprovalOperator(task_id="approve", subject="Shall it?")
    assert operator.assigned_users == [{"id": name, "name": name} for name in asked]
