"""Logins by a provider of OpenID Connect, in place of passwords: who logged in there, and has an account, comes in.

`NUCLEUS_OIDC` names a JSON file, part of the secret `oidc`. Without that secret people log in with passwords alone.

    {"issuer": "https://login.example.org", "client_id": "nucleus", "client_secret": "...", "claim": "email"}

The claim of the provider's ID token is the name of the account. It must be one that people can't change by themselves.
https://openid.net/specs/openid-connect-core-1_0.html
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from airflow.api_fastapi.app import get_cookie_path
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.core_api.security import is_safe_url
from airflow.configuration import conf
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from fastapi import HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute
from joserfc.errors import JoseError
from starlette.middleware.sessions import SessionMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

LOGIN, CALLBACK = "/oidc/login", "/oidc/callback"
"""Where a login begins, and where the provider sends people back to, below Airflow's part for logins."""
NEXT = "oidc_next"


@dataclass(frozen=True)
class Provider:
    """What the file says."""

    issuer: str
    client_id: str
    client_secret: str
    claim: str


def provider() -> Provider | None:
    """Give the provider of the settings; None where people log in with passwords alone."""
    path = Path(os.environ.get("NUCLEUS_OIDC", ""))
    return Provider(**json.loads(path.read_text())) if path.is_file() else None


def let_in(app: FastAPI, found: Provider, token_of: Callable[[str], str]) -> None:
    """Let people in by a provider.

    Args:
        app: Airflow's part for logins.
        found: The provider.
        token_of: Gives the token of a login for a name. Raises KeyError if the name has no account.
    """
    client = OAuth().register(
        "provider",
        client_id=found.client_id,
        client_secret=found.client_secret,
        server_metadata_url=f"{found.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256"},
    )

    async def log_in(request: Request) -> Response:
        request.session[NEXT] = request.query_params.get("next", "")
        try:
            redirect: Response = await client.authorize_redirect(request, str(request.url_for("oidc_callback")))
        except httpx.HTTPError as error:
            raise _unreached(found, error) from None
        return redirect

    async def come_back(request: Request) -> Response:
        name = await _name(client, found, request)
        try:
            token = token_of(name)
        except KeyError:
            explained = f"You are {name!r} for {found.issuer}, and there is no account of that name here. Ask for one."
            raise HTTPException(403, explained) from None
        return _logged_in(request, token)

    # Before Airflow's own, the last of which takes all that is left.
    app.router.routes[:0] = [
        APIRoute(LOGIN, log_in, name="oidc_login", include_in_schema=False),
        APIRoute(CALLBACK, come_back, name="oidc_callback", include_in_schema=False),
    ]
    # Holds state, nonce and verifier of a login, signed. All API servers have the same key.
    app.add_middleware(SessionMiddleware, secret_key=conf.get("api", "secret_key"), session_cookie="oidc", max_age=600)


async def _name(client: Any, found: Provider, request: Request) -> str:
    """Give the name of who comes back. Raises HTTPException if the provider doesn't say it of this login."""
    expected = {
        "iss": {"essential": True, "value": found.issuer},
        "aud": {"essential": True, "value": found.client_id},
    }
    try:
        claims = (await client.authorize_access_token(request, claims_options=expected)).get("userinfo") or {}
    except httpx.HTTPError as error:
        raise _unreached(found, error) from None
    except (AuthlibBaseError, JoseError) as error:
        explained = f"{found.issuer} didn't log you in ({error}). Begin again at {request.url_for('oidc_login').path}."
        raise HTTPException(401, explained) from None
    name = claims.get(found.claim)
    if not isinstance(name, str) or not name:
        had = ", ".join(sorted(claims)) or "none"
        raise HTTPException(
            403, f"{found.issuer} says no {found.claim!r} of you, only {had}; see `claim` of its settings."
        )
    if found.claim == "email" and claims.get("email_verified") is False:
        raise HTTPException(403, f"{found.issuer} hasn't verified the address {name}.")
    return name


def _unreached(found: Provider, error: httpx.HTTPError) -> HTTPException:
    return HTTPException(503, f"{found.issuer} can't be reached ({type(error).__name__}); try again in a minute.")


def _logged_in(request: Request, token: str) -> Response:
    """Send a person on to the page that they came for, with the cookie of their login."""
    wanted = request.session.pop(NEXT, "")
    home = conf.get("api", "base_url", fallback="/")
    response = RedirectResponse(wanted if wanted and is_safe_url(wanted, request=request) else home, status_code=303)
    response.set_cookie(
        COOKIE_NAME_JWT_TOKEN,
        token,
        path=get_cookie_path(),
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return response
