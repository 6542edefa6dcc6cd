"""Logins in a cluster's Airflow by a provider of OpenID Connect, a real one on this machine."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from fastapi import FastAPI
from fastapi.testclient import TestClient
from joserfc.jwk import RSAKey

from nucleus_dags.access.auth_manager import AccountsAuthManager
from tests.openid_provider import CLIENT_ID, SECRET, OpenIdProvider, running_provider

ACCOUNTS = {"anna@example.org": "train", "pipeline": "pipeline", "admin": "notes"}


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenIdProvider]:
    """One that all settings name, and who takes everybody for anna."""
    (tmp_path / "accounts.json").write_text(
        json.dumps({name: {"role": role, "sha256": "0" * 64} for name, role in ACCOUNTS.items()})
    )
    monkeypatch.setenv("NUCLEUS_ACCOUNTS", str(tmp_path / "accounts.json"))
    monkeypatch.setenv("AIRFLOW__API__SECRET_KEY", "known to all API servers")
    with running_provider() as found:
        found.claims = {"email": "anna@example.org"}
        settings = {"issuer": found.address, "client_id": CLIENT_ID, "client_secret": SECRET, "claim": "email"}
        (tmp_path / "oidc.json").write_text(json.dumps(settings))
        monkeypatch.setenv("NUCLEUS_OIDC", str(tmp_path / "oidc.json"))
        yield found


@pytest.fixture
def manager(provider: OpenIdProvider, monkeypatch: pytest.MonkeyPatch) -> AccountsAuthManager:
    found = AccountsAuthManager()
    monkeypatch.setattr(found, "generate_jwt", lambda user: json.dumps(found.serialize_user(user)))
    return found


@pytest.fixture
def pages(manager: AccountsAuthManager) -> TestClient:
    """Airflow's API server in as far as people log in: below /auth, as there."""
    own = manager.get_fastapi_app()
    assert own is not None
    app = FastAPI()
    app.mount("/auth", own)
    return TestClient(app, base_url="https://airflow.example.org", follow_redirects=False)


def way_back(pages: TestClient, wanted: str = "") -> str:
    """Begin a login and let the provider log the person in; give the path that it sends them back to."""
    answer = pages.get("/auth/oidc/login", params={"next": wanted})
    assert answer.status_code == 302, answer.text
    redirected = requests.get(answer.headers["location"], allow_redirects=False, timeout=10)
    return redirected.headers["location"].removeprefix("https://airflow.example.org")


def test_who_is_not_logged_in_is_sent_to_the_provider_and_finds_passwords_where_they_were(
    manager: AccountsAuthManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert manager.get_url_login(next_url="https://a/x") == "/auth/oidc/login?next=https%3A%2F%2Fa%2Fx"
    monkeypatch.delenv("NUCLEUS_OIDC")
    assert manager.get_url_login() == "/auth/login"


def test_who_has_an_account_comes_in_and_to_the_page_that_they_came_for(
    pages: TestClient, manager: AccountsAuthManager
) -> None:
    answer = pages.get(way_back(pages, "https://airflow.example.org/dags/train_models"))
    assert (answer.status_code, answer.headers["location"]) == (303, "https://airflow.example.org/dags/train_models")
    set_by = next(line for line in answer.headers.get_list("set-cookie") if line.startswith(COOKIE_NAME_JWT_TOKEN))
    assert {"HttpOnly", "Secure", "SameSite=lax"} <= set(set_by.split("; "))
    value = json.loads(json.loads(set_by.split("; ")[0].split("=", 1)[1].replace("\\054", ",")))
    assert manager.deserialize_user(value).get_name() == "anna@example.org"


@pytest.mark.parametrize("wanted", ["https://elsewhere.example.org/", "//elsewhere.example.org", "javascript:x", ""])
def test_nobody_is_sent_on_to_another_site(pages: TestClient, wanted: str) -> None:
    location = pages.get(way_back(pages, wanted)).headers["location"]
    assert urlsplit(location).netloc in ("", "airflow.example.org", "localhost:8080")
    assert "elsewhere" not in location


@pytest.mark.parametrize(
    ("claims", "status", "said"),
    [
        ({"email": "eva@example.org"}, 403, "'eva@example.org' .* no account of that name here"),
        ({"email": "pipeline"}, 403, "no account of that name"),
        ({"email": "admin"}, 403, "no account of that name"),
        ({"email": "anna@example.org", "email_verified": False}, 403, "hasn't verified the address anna@example.org"),
        ({"email": None}, 403, "says no 'email' of you, only .*sub"),
        ({"email": ["anna@example.org"]}, 403, "says no 'email' of you"),
        ({"aud": "another program"}, 401, "didn't log you in"),
        ({"aud": None}, 401, "didn't log you in"),
        ({"iss": "https://elsewhere.example.org"}, 401, "didn't log you in"),
        ({"nonce": "of an earlier login"}, 401, "didn't log you in"),
        ({"exp": 1}, 401, "didn't log you in .*Begin again at /auth/oidc/login"),
    ],
)
def test_nobody_else_comes_in(
    pages: TestClient, provider: OpenIdProvider, claims: dict[str, Any], status: int, said: str
) -> None:
    provider.claims |= claims
    refused_with(pages, way_back(pages), status, said)


def refused_with(pages: TestClient, path: str, status: int, said: str) -> None:
    answer = pages.get(path)
    assert answer.status_code == status
    assert COOKIE_NAME_JWT_TOKEN not in answer.headers.get("set-cookie", "")
    assert re.search(said, answer.json()["detail"])


def test_a_token_that_another_key_signed_lets_nobody_in(pages: TestClient, provider: OpenIdProvider) -> None:
    provider.signing_key = RSAKey.generate_key(2048, {"kid": "1"})
    refused_with(pages, way_back(pages), 401, "didn't log you in")


def test_a_login_is_good_once_and_in_the_browser_that_began_it(pages: TestClient) -> None:
    path = way_back(pages)
    refused_with(TestClient(pages.app, base_url="https://airflow.example.org"), path, 401, "didn't log you in")
    assert pages.get(path).status_code == 303
    refused_with(pages, path, 401, "didn't log you in")


def test_a_person_who_declines_is_told_so(pages: TestClient) -> None:
    refused_with(pages, "/auth/oidc/callback?error=access_denied&state=x", 401, "access_denied")


def test_a_provider_that_is_away_is_told_of(pages: TestClient, provider: OpenIdProvider) -> None:
    path = way_back(pages)
    provider.stop()
    refused_with(pages, path, 503, "can't be reached .*try again in a minute")


def test_a_login_that_cannot_begin_is_told_of(pages: TestClient, provider: OpenIdProvider) -> None:
    provider.stop()
    refused_with(pages, "/auth/oidc/login", 503, "can't be reached")
