"""The login in front of MLflow's server, with a server that says nothing but that it was reached."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

import nucleus_mlflow_pages
from nucleus_mlflow_login import Login, create_app
from tests.repository import REPOSITORY

OF_ONE_MACHINE = {"admin": "all", "nobody": ""}
OF_A_CLUSTER = {
    name: {"role": role, "sha256": sha256(password.encode()).hexdigest()}
    for name, role, password in [
        *[("pipeline", "pipeline", "write"), ("page", "page", "page")],
        *[("anna", "approve", "look"), ("eva", "look", "")],
    ]
}
ALIAS = "/api/2.0/mlflow/registered-models/alias"
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


async def reached(request: Request) -> Response:
    return PlainTextResponse("reached")


@pytest.fixture
def accounts(tmp_path: Path) -> Path:
    path = tmp_path / "accounts.json"
    path.write_text(json.dumps(OF_ONE_MACHINE | OF_A_CLUSTER))
    return path


@pytest.fixture
def mlflow(accounts: Path) -> TestClient:
    app = Starlette(routes=[Route("/{path:path}", reached, methods=METHODS)])
    app.add_middleware(Login, accounts=accounts)
    return TestClient(app)


@pytest.mark.parametrize(
    "login",
    [
        *(None, ("pipeline", "wrong"), ("pipeline", ""), ("pipeline", "look"), ("unknown", "")),
        *(("nobody", ""), ("eva", ""), ("pipeline", OF_A_CLUSTER["pipeline"]["sha256"])),
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_nobody_gets_in_without_the_right_password(
    mlflow: TestClient, login: tuple[str, str] | None, method: str
) -> None:
    answer = mlflow.request(method, ALIAS, auth=login)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert "reached" not in answer.text


@pytest.mark.parametrize("header", ["Basic", "Basic %%%", "Bearer cGlwZWxpbmU6d3JpdGU=", "Basic /w=="])
def test_a_header_that_makes_no_sense_is_no_login(mlflow: TestClient, header: str) -> None:
    assert mlflow.get("/", headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize("login", [("pipeline", "write"), ("admin", "all")])
@pytest.mark.parametrize("method", METHODS)
def test_the_tasks_of_a_cluster_and_the_account_of_one_machine_may_change_what_mlflow_holds(
    mlflow: TestClient, login: tuple[str, str], method: str
) -> None:
    assert mlflow.request(method, ALIAS, auth=login).text == "reached"


def test_an_account_that_is_taken_away_is_out_at_once(mlflow: TestClient, accounts: Path) -> None:
    assert mlflow.get("/", auth=("anna", "look")).text == "reached"
    accounts.write_text("{}")
    assert mlflow.get("/", auth=("anna", "look")).status_code == 401


@pytest.mark.parametrize("viewer", [("anna", "look"), ("page", "page")])
def test_another_account_looks_and_searches_but_makes_no_model_the_champion(
    mlflow: TestClient, viewer: tuple[str, str]
) -> None:
    assert mlflow.get("/", auth=viewer).text == "reached"
    assert mlflow.post("/ajax-api/2.0/mlflow/runs/search", auth=viewer).text == "reached"
    refused = [mlflow.request(method, ALIAS, auth=viewer) for method in ("POST", "PUT", "PATCH", "DELETE")]
    assert [answer.status_code for answer in refused] == [403] * 4
    artifact = "/api/2.0/mlflow-artifacts/artifacts/1/search"
    assert mlflow.put(artifact, auth=viewer).status_code == 403


def test_probes_need_no_password(mlflow: TestClient) -> None:
    assert mlflow.get("/health").text == "reached"
    assert mlflow.get("/health/../api").status_code == 401


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("/runs/abc", "/#/experiments/7/runs/abc?workflowType=machine_learning"),
        (
            "/runs/abc/judge/a b.csv",
            "/#/experiments/7/runs/abc/artifacts/judge/a%20b.csv?workflowType=machine_learning",
        ),
    ],
)
def test_an_address_of_a_run_leads_to_the_pages_for_trainings(address: str, page: str) -> None:
    mlflow = TestClient(Starlette(routes=nucleus_mlflow_pages.routes({"abc": "7"}.get)))
    assert mlflow.get(address, follow_redirects=False).headers["location"] == page


def test_a_run_that_is_gone_is_said_to_be() -> None:
    answer = TestClient(Starlette(routes=nucleus_mlflow_pages.routes(lambda run_id: None))).get("/runs/abc")
    assert (answer.status_code, answer.text) == (404, "MLflow has no run abc; it may have been deleted.")


def test_mlflow_finds_the_login_by_its_name() -> None:
    [found] = [entry for entry in entry_points(group="mlflow.app") if entry.name == "nucleus-login"]
    assert found.load() is create_app


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_mlflow_itself_lets_nobody_in_without_the_password_nor_under_a_foreign_name_and_leads_to_a_run(
    tmp_path: Path,
) -> None:
    (tmp_path / "accounts.json").write_text('{"pipeline": "write"}')
    program = """
from nucleus_mlflow_login import create_app
from starlette.testclient import TestClient
asked = [("127.0.0.1", None), ("127.0.0.1", ("pipeline", "write")), ("evil.example", ("pipeline", "write"))]
mlflow = TestClient(create_app())
path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
print([mlflow.get(path, headers={"Host": host}, auth=login).status_code for host, login in asked])
known = {"headers": {"Host": "127.0.0.1"}, "auth": ("pipeline", "write"), "follow_redirects": False}
run = mlflow.post("/api/2.0/mlflow/runs/create", json={"experiment_id": "0"}, **known).json()["run"]["info"]["run_id"]
print(mlflow.get(f"/runs/{run}", **known).headers["location"].replace(run, "ID"))
print(mlflow.get("/runs/unknown", **known).status_code)
"""
    environment = {
        "NUCLEUS_MLFLOW_ACCOUNTS": str(tmp_path / "accounts.json"),
        "MLFLOW_SERVER_ALLOWED_HOSTS": "127.0.0.1",
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{tmp_path}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(tmp_path),
        "PYTHONPATH": str(REPOSITORY / "images/mlflow/login"),
    }
    ended = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, cwd=tmp_path, capture_output=True, text=True
    )
    said = ["[401, 200, 403]", "/#/experiments/0/runs/ID?workflowType=machine_learning", "404"]
    assert ended.stdout.splitlines()[-3:] == said, ended.stderr
