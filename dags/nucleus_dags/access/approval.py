"""Airflow's approval, which also hands on who answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from nucleus_dags.access.accounts import approvers

if TYPE_CHECKING:
    from airflow.sdk import Context

ANSWERED_BY = "answered_by"
"""XCom with the person's name; empty where nobody answered in time. Airflow's own gives none when it is rejected."""


class NamedApprovalOperator(ApprovalOperator):
    """Asks the people whom `NUCLEUS_APPROVERS` names, or everybody whose role allows it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(assigned_users=[{"id": name, "name": name} for name in approvers()], **kwargs)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        person = event.get("responded_by_user") or {}
        context["ti"].xcom_push(ANSWERED_BY, person.get("name", ""))
        return super().execute_complete(context, event)
