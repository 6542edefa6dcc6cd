"""MLflow's server with a login: `mlflow server --app-name nucleus-login`, with this folder in PYTHONPATH.

Browsers and MLflow's client log in by HTTP Basic authentication. NUCLEUS_MLFLOW_ACCOUNTS names a JSON file of passwords
by account, which is read at the start. `admin`, the account of one machine, and `pipeline`, that of the tasks in a
cluster, may change what MLflow holds. Any other account may only look, so that nobody makes a model the champion in
MLflow who may not in Airflow.

MLflow's own `basic-auth` needs another database and another library, and stretches the password for every request.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

WRITERS = ("admin", "pipeline")
OPEN_PATHS = ("/health", "/version")
"""For probes, and they say nothing else."""
READS = ("GET", "HEAD", "OPTIONS")
SEARCHES = ("search", "search-datasets", "graphql")
"""How paths end to which MLflow's page sends a question by POST. The mutations of its GraphQL are searches too."""


class Login:
    """Passes requests on that come from a known account and are allowed to it."""

    def __init__(self, app: ASGIApp, passwords: dict[str, str]) -> None:
        self._app = app
        self._passwords = passwords

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in OPEN_PATHS):
            return await self._app(scope, receive, send)
        account = self._account(scope)
        if account is not None and (account in WRITERS or only_looks(scope)):
            return await self._app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close"})
        if account is None:
            return await _refuse(send, 401, "MLflow asks for a name and a password.")
        return await _refuse(send, 403, f"{account} may look at what MLflow holds, but not change it.")

    def _account(self, scope: Scope) -> str | None:
        """Give the account whose password comes with a request."""
        given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        try:
            name, _, password = base64.b64decode(given[2] if given[0].lower() == b"basic" else b"").partition(b":")
            expected = self._passwords.get(name.decode(), "")
        except (binascii.Error, UnicodeDecodeError):
            return None
        # An account with an empty password is none.
        is_right = hmac.compare_digest(password, expected.encode()) and bool(expected)
        return name.decode() if is_right else None


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
    passwords = json.loads(Path(os.environ["NUCLEUS_MLFLOW_ACCOUNTS"]).read_text())
    # Only the process that serves loads it, not the one that starts this.
    from mlflow.server.fastapi_app import app

    app.add_middleware(Login, passwords=passwords)
    return app
