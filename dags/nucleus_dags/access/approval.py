"""Airflow's approval, which asks for a reason, and hands on who answered and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.sdk import Param

from nucleus_dags.access.accounts import approvers

if TYPE_CHECKING:
    from airflow.sdk import Context

ANSWERED_BY = "answered_by"
"""XCom with the person's name; empty where nobody answered in time."""
REASON = "reason"
"""XCom with the reason given, and the field of the approval in which it is asked for."""
APPROVE, REJECT = "Approve", "Reject"


class NamedApprovalOperator(HITLBranchOperator):
    """Asks the people whom `NUCLEUS_APPROVERS` names, or everybody whose role allows it; goes on with one of two tasks.

    Without an answer in time it is rejected.
    """

    def __init__(self, *, if_approved: str, if_rejected: str, **kwargs: Any) -> None:
        field = Param(
            "",
            type="string",
            # Airflow asks for no others, so that the fields of the DAG's form aren't among them.
            source="task",
            title="Reason",
            description="Why you approve or reject it, in 5 letters or more; it stays with the version in MLflow.",
        )
        # Airflow itself puts the fields of the form there.
        kwargs.pop("params", None)
        super().__init__(
            options=[APPROVE, REJECT],
            options_mapping={APPROVE: if_approved, REJECT: if_rejected},
            defaults=REJECT,
            params={REASON: field},
            assigned_users=[{"id": name, "name": name} for name in approvers()],
            **kwargs,
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        ti, person = context["ti"], event.get("responded_by_user") or {}
        ti.xcom_push(ANSWERED_BY, person.get("name", ""))
        ti.xcom_push(REASON, str((event.get("params_input") or {}).get(REASON) or ""))
        return super().execute_complete(context, event)
