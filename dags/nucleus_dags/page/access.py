"""Who asks for a page, and what that person may do: the accounts and rights are Airflow's own."""

from __future__ import annotations

import os
from typing import Annotated
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from nucleus_dags.access.accounts import NEEDED, ROLES, accounts

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


def why_not(dag_id: str, person: BaseUser) -> str:
    """Say why a person may not start runs of a DAG; nothing if they may."""
    if may_start(dag_id, person):
        return ""
    role, needed = role_of(person), NEEDED.get(dag_id, "administrate")
    if role in ROLES and ROLES.index(role) >= ROLES.index(needed):
        lacks = "only people whom NUCLEUS_APPROVERS names may"
    else:
        lacks = f"its role is {role}, and the role {needed} is needed"
    return f"Your account may not start {dag_id}: {lacks}. Ask an administrator."


def role_of(person: BaseUser) -> str:
    """Give the role of a person's account; on one machine there is one account, which may do everything."""
    if "NUCLEUS_ACCOUNTS" not in os.environ:
        return "administrate"
    return accounts()[person.get_name()].role


def refuse_unless_may_start(dag_id: str, person: BaseUser) -> None:
    """Raise status 403 for a person whose role doesn't allow what this DAG does."""
    if reason := why_not(dag_id, person):
        raise HTTPException(403, reason)


def to_login(request: Request) -> Response:
    """Send the browser to Airflow's login, and from there back here."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"{get_auth_manager().get_url_login()}?next={quote(wanted, safe='')}", 303)
