"""Who asks for a page, and what that person may do: the accounts and rights are Airflow's own."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

Person = Annotated[BaseUser, Depends(get_user)]
"""A person who is logged in. For others, the answer has status 401."""


def may_see(dag_id: str, person: BaseUser) -> bool:
    details = DagDetails(id=dag_id)
    return get_auth_manager().is_authorized_dag(method="GET", user=person, details=details)


def may_start(dag_id: str, person: BaseUser) -> bool:
    """Say whether a person may start runs of a DAG."""
    details = DagDetails(id=dag_id)
    return get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, user=person, details=details
    )


def refuse_unless_may_start(dag_id: str, person: BaseUser) -> None:
    """Raise status 403 for a person whose role doesn't allow what this DAG does."""
    if not may_start(dag_id, person):
        raise HTTPException(403, f"Your account may not start {dag_id}; ask an administrator for a role that may.")


def to_login(request: Request) -> Response:
    """Send the browser to Airflow's login, and from there back here."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"{get_auth_manager().get_url_login()}?next={quote(wanted, safe='')}", 303)
