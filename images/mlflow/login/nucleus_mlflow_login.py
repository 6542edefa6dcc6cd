"""MLflow's server with a login: `mlflow server --app-name nucleus-login`, with this folder in PYTHONPATH.

Browsers and MLflow's client log in by HTTP Basic authentication. NUCLEUS_MLFLOW_ACCOUNTS names a JSON file of accounts,
which is read anew for every request. On one machine it holds the password of the one account, which may do everything.
In a cluster it holds role and hash for each:

    {"anna": {"role": "train", "sha256": "<of her password>"}}

The roles `pipeline`, that of the tasks, and `administrate` may change what MLflow holds. Any other may only look, so
that nobody makes a model the champion in MLflow who may not in Airflow.

MLflow's own `basic-auth` needs another database and another library, and stretches the password for every request.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nucleus_mlflow_pages

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

Account = str | dict[str, str]
"""Password, or role and hash: passwords of a cluster are made of 144 random bits, which nobody finds by their hash."""

WRITERS = ("administrate", "pipeline")
OPEN_PATHS = ("/health", "/version")
"""For probes, and they say nothing else."""
READS = ("GET", "HEAD", "OPTIONS")
SEARCHES = ("search", "search-datasets", "graphql")
"""How paths end to which MLflow's page sends a question by POST. The mutations of its GraphQL are searches too."""


class Login:
    """Passes requests on that come from a known account and are allowed to it."""

    def __init__(self, app: ASGIApp, accounts: Path) -> None:
        self._app = app
        self._accounts = accounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in OPEN_PATHS):
            return await self._app(scope, receive, send)
        account = self._account(scope)
        if account is not None and (may_change(account) or only_looks(scope)):
            return await self._app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close"})
        if account is None:
            return await _refuse(send, 401, "MLflow asks for a name and a password.")
        return await _refuse(send, 403, "Your role lets you look at what MLflow holds, but not change it.")

    def _account(self, scope: Scope) -> Account | None:
        """Give the account whose password comes with a request."""
        given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        try:
            name, _, password = base64.b64decode(given[2] if given[0].lower() == b"basic" else b"").partition(b":")
            account = read_accounts(self._accounts).get(name.decode(), "")
        except (binascii.Error, UnicodeDecodeError):
            return None
        expected = sha256(account.encode()).hexdigest() if isinstance(account, str) else account["sha256"]
        # An account with an empty password is none.
        is_right = hmac.compare_digest(sha256(password).hexdigest(), expected) and bool(password)
        return account if is_right else None


def read_accounts(path: Path) -> dict[str, Account]:
    """Give the accounts by name. Raises OSError or ValueError for a file that can't be read."""
    accounts: dict[str, Account] = json.loads(path.read_text())
    return accounts


def may_change(account: Account) -> bool:
    """Say whether an account may change what MLflow holds."""
    return isinstance(account, str) or account["role"] in WRITERS


def only_looks(scope: Scope) -> bool:
    """Say whether a request changes nothing in MLflow."""
    if scope["type"] != "http":
        return False
    is_search = scope["method"] == "POST" and scope["path"].rpartition("/")[2] in SEARCHES
    return scope["method"] in READS or is_search


async def _refuse(send: Send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="MLflow", charset="UTF-8"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})


def create_app() -> Any:
    """Give MLflow's server behind the login. Raises OSError or ValueError when the accounts can't be read."""
    accounts = Path(os.environ["NUCLEUS_MLFLOW_ACCOUNTS"])
    read_accounts(accounts)
    # Only the process that serves loads it, not the one that starts this.
    from mlflow.server.fastapi_app import app

    app.add_middleware(Login, accounts=accounts)
    # Before MLflow's own, the last of which takes every path.
    app.router.routes[:0] = nucleus_mlflow_pages.routes(nucleus_mlflow_pages.experiment_in_mlflow)
    return app
