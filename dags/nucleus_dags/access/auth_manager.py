"""Airflow's logins in a cluster: its simple auth manager, with accounts of the secret `accounts`.

Airflow's own keeps passwords in plain text and knows only whether somebody may start all DAGs or none. People log in
with a password or, where there is one, by a provider of OpenID Connect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.app import AUTH_MANAGER_FASTAPI_APP_PREFIX
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.datamodels.login import LoginBody, LoginResponse
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.auth.managers.simple.utils import parse_login_body
from airflow.configuration import conf
from fastapi import Depends, FastAPI, HTTPException
from fastapi.routing import APIRoute

from nucleus_dags.access import oidc
from nucleus_dags.access.accounts import NOTES, ROLES, Account, accounts, may_change

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails

AIRFLOW_ROLES = {
    "look": "viewer",
    "annotate": "user",
    "train": "user",
    "approve": "user",
    "administrate": "admin",
    NOTES: "user",
}
LOGINS = {"/token": "jwt_expiration_time", "/token/cli": "jwt_cli_expiration_time"}
"""Where names and passwords are sent, and the setting for how long a login lasts."""


class AccountsAuthManager(SimpleAuthManager):
    """Lets people of the secret `accounts` in, each to what their role allows."""

    def init(self) -> None:
        # Not SimpleAuthManager's, which makes passwords and writes them to its file and the log.
        super(SimpleAuthManager, self).init()
        accounts()

    def serialize_user(self, user: SimpleAuthManagerUser) -> dict[str, Any]:
        return {"sub": user.username, "password": accounts()[user.username].sha256[:16]}

    def deserialize_user(self, token: dict[str, Any]) -> SimpleAuthManagerUser:
        """Give the person with the role of now. Raises ValueError if the account is gone or has a new password."""
        account = accounts().get(token["sub"])
        if account is None or account.sha256[:16] != token["password"]:
            raise ValueError(f"{token['sub']} must log in again.")
        return _person(token["sub"], account)

    def is_authorized_dag(
        self,
        *,
        method: ResourceMethod,
        user: SimpleAuthManagerUser,
        access_entity: DagAccessEntity | None = None,
        details: DagDetails | None = None,
    ) -> bool:
        allowed = super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)
        if not allowed or method == "GET" or self._is_admin(user):
            return bool(allowed)
        role = accounts()[user.username].role
        if role == NOTES:
            return method == "PUT" and access_entity is DagAccessEntity.RUN
        # What was done stays; and a changed XCom could let one DAG do the work of another.
        if method == "DELETE" or access_entity is DagAccessEntity.XCOM:
            return False
        return may_change(user.username, role, details.id if details else None)

    def get_fastapi_app(self) -> FastAPI | None:
        app = super().get_fastapi_app()
        assert app is not None
        # Before Airflow's own, which compare with passwords in plain text.
        logins = [
            APIRoute(path, self._login(option), methods=["POST"], status_code=201) for path, option in LOGINS.items()
        ]
        app.router.routes[:0] = logins
        provider = oidc.provider()
        if provider:
            oidc.let_in(app, provider, self._token_of)
        return app

    def get_url_login(self, **kwargs: Any) -> str:
        """Give the page that people are sent to who aren't logged in; that for passwords stays where it is."""
        address = super().get_url_login(**kwargs)
        own = AUTH_MANAGER_FASTAPI_APP_PREFIX
        return str(address.replace(f"{own}/login", f"{own}{oidc.LOGIN}", 1) if oidc.provider() else address)

    def _token_of(self, name: str) -> str:
        """Give the token of a login. Raises KeyError if no person has that name."""
        account = accounts()[name]
        if account.role not in ROLES:
            raise KeyError(name)
        return str(self.generate_jwt(_person(name, account)))

    def _login(self, option: str) -> Callable[..., LoginResponse]:
        seconds = conf.getint("api_auth", option)

        def log_in(body: LoginBody = Depends(parse_login_body)) -> LoginResponse:  # noqa: B008
            account = accounts().get(body.username)
            if account is None or account.role not in AIRFLOW_ROLES or not account.has(body.password):
                raise HTTPException(401, "Name or password is wrong.")
            token = self.generate_jwt(_person(body.username, account), expiration_time_in_seconds=seconds)
            return LoginResponse(access_token=token)

        return log_in


def _person(name: str, account: Account) -> SimpleAuthManagerUser:
    return SimpleAuthManagerUser(username=name, role=AIRFLOW_ROLES.get(account.role))
