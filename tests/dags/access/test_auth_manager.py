"""Logins of a cluster's Airflow, and what each role may do there."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.models.resource_details import (
    ConnectionDetails,
    DagAccessEntity,
    DagDetails,
    VariableDetails,
)
from fastapi.testclient import TestClient

from nucleus_dags.access.accounts import NEEDED, NOTES, ROLES
from nucleus_dags.access.auth_manager import AccountsAuthManager
from tests.repository import REPOSITORY

PEOPLE = {role: role for role in (*ROLES, NOTES, "pipeline")}
"""Everybody has the name of their role, and the password <role>'s."""
BY_ANNOTATORS = {"segment_plate", "send_to_annotation", "ingest_plates", "inspect_plate"}


def write(path: Path, people: dict[str, str], word: str = "'s") -> None:
    hashes = {name: sha256(f"{name}{word}".encode()).hexdigest() for name in people}
    path.write_text(json.dumps({name: {"role": role, "sha256": hashes[name]} for name, role in people.items()}))


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "accounts.json"
    write(path, PEOPLE)
    monkeypatch.setenv("NUCLEUS_ACCOUNTS", str(path))
    return path


@pytest.fixture
def manager(accounts: Path) -> AccountsAuthManager:
    return AccountsAuthManager()


def person(manager: AccountsAuthManager, name: str) -> Any:
    user = manager.deserialize_user({"sub": name, "password": sha256(f"{name}'s".encode()).hexdigest()[:16]})
    assert user.get_name() == name
    return user


def may(
    manager: AccountsAuthManager, name: str, method: Any, dag_id: str | None, entity: DagAccessEntity | None = None
) -> bool:
    user, details = person(manager, name), DagDetails(id=dag_id)
    return manager.is_authorized_dag(method=method, user=user, access_entity=entity, details=details)


def test_every_dag_says_from_which_role_on_it_may_be_started() -> None:
    assert set(NEEDED) == {path.stem for path in (REPOSITORY / "dags").glob("*.py")}


@pytest.mark.parametrize(
    ("role", "started"),
    [
        ("look", set()),
        ("annotate", BY_ANNOTATORS),
        ("train", {*BY_ANNOTATORS, "train_models", "compare_models", "try_models", "run_experiments"}),
        ("approve", set(NEEDED)),
        ("administrate", set(NEEDED)),
        (NOTES, set()),
        ("pipeline", set()),
    ],
)
def test_a_role_starts_what_it_may_and_sees_the_rest(
    manager: AccountsAuthManager, role: str, started: set[str]
) -> None:
    assert {dag_id for dag_id in NEEDED if may(manager, role, "POST", dag_id, DagAccessEntity.RUN)} == started
    changed = {dag_id for dag_id in NEEDED if may(manager, role, "PUT", dag_id, DagAccessEntity.TASK_INSTANCE)}
    assert changed == started
    assert may(manager, role, "GET", "promote_model") == (role != "pipeline")


def test_only_who_may_approve_answers_an_approval(manager: AccountsAuthManager) -> None:
    answers = {name for name in PEOPLE if may(manager, name, "PUT", "retrain_champion", DagAccessEntity.HITL_DETAIL)}
    assert answers == {"approve", "administrate"}


def test_people_who_are_named_approve_alone_and_nobody_gets_around_them(
    manager: AccountsAuthManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUCLEUS_APPROVERS", "anna, eva")
    assert not may(manager, "approve", "PUT", "retrain_champion", DagAccessEntity.TASK_INSTANCE)
    assert not may(manager, "approve", "POST", "promote_model", DagAccessEntity.RUN)
    assert may(manager, "approve", "POST", "train_models", DagAccessEntity.RUN)
    monkeypatch.setenv("NUCLEUS_APPROVERS", "anna,approve")
    assert may(manager, "approve", "PUT", "retrain_champion", DagAccessEntity.HITL_DETAIL)


@pytest.mark.parametrize("role", ["annotate", "train", "approve", NOTES])
def test_only_an_administrator_changes_xcoms_removes_what_was_done_and_acts_on_several_dags(
    manager: AccountsAuthManager, role: str
) -> None:
    for name, expected in ((role, False), ("administrate", True)):
        assert may(manager, name, "PUT", "segment_plate", DagAccessEntity.XCOM) is expected
        assert may(manager, name, "DELETE", "segment_plate", DagAccessEntity.RUN) is expected
        assert may(manager, name, "PUT", None) is expected
        assert may(manager, name, "PUT", "a_dag_that_nobody_knows") is expected


@pytest.mark.parametrize("role", [role for role in PEOPLE if role != "administrate"])
def test_only_an_administrator_sees_connections_and_variables(manager: AccountsAuthManager, role: str) -> None:
    for name, expected in ((role, False), ("administrate", True)):
        user = person(manager, name)
        assert manager.is_authorized_connection(method="GET", user=user, details=ConnectionDetails()) is expected
        assert manager.is_authorized_variable(method="GET", user=user, details=VariableDetails()) is expected


def test_tasks_write_the_notes_of_all_runs_and_do_nothing_else(manager: AccountsAuthManager) -> None:
    assert all(may(manager, NOTES, "PUT", dag_id, DagAccessEntity.RUN) for dag_id in NEEDED)
    assert not may(manager, NOTES, "PUT", "retrain_champion", DagAccessEntity.HITL_DETAIL)
    assert not may(manager, NOTES, "PUT", "train_models")


@pytest.fixture
def pages(manager: AccountsAuthManager, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(
        manager,
        "generate_jwt",
        lambda user, expiration_time_in_seconds: json.dumps(
            manager.serialize_user(user) | {"seconds": expiration_time_in_seconds}
        ),
    )
    app = manager.get_fastapi_app()
    assert app is not None
    return TestClient(app)


def log_in(pages: TestClient, name: str, password: str, path: str = "/token") -> Any:
    return pages.post(path, json={"username": name, "password": password})


@pytest.mark.parametrize(("path", "hours"), [("/token", 24), ("/token/cli", 1)])
def test_who_knows_the_password_is_let_in(
    pages: TestClient, manager: AccountsAuthManager, path: str, hours: int
) -> None:
    answer = log_in(pages, "train", "train's", path)
    assert answer.status_code == 201
    token = json.loads(answer.json()["access_token"])
    assert token["seconds"] == hours * 3600
    assert manager.deserialize_user(token).get_name() == "train"


@pytest.mark.parametrize("path", ["/token", "/token/cli"])
@pytest.mark.parametrize(
    ("name", "password"),
    [
        *(("train", "approve's"), ("train", ""), ("nobody", "nobody's"), ("", "")),
        # Neither the hash, as Airflow's own manager would take it, nor the account of the tasks for MLflow.
        *(("train", sha256(b"train's").hexdigest()), ("pipeline", "pipeline's")),
    ],
)
def test_nobody_else_is_let_in(pages: TestClient, path: str, name: str, password: str) -> None:
    assert log_in(pages, name, password, path).status_code == 401


def test_no_way_of_airflows_own_leads_around_the_accounts(pages: TestClient) -> None:
    assert pages.get("/token").status_code == 403
    assert pages.get("/token/login", follow_redirects=False).status_code == 403


def test_a_form_in_a_browser_logs_in_too(pages: TestClient) -> None:
    assert pages.post("/token", data={"username": "look", "password": "look's"}).status_code == 201


def test_a_role_that_changes_an_account_that_is_taken_away_and_a_new_password_count_at_once(
    manager: AccountsAuthManager, accounts: Path
) -> None:
    token = manager.serialize_user(person(manager, "train"))
    write(accounts, PEOPLE | {"train": "look"})
    assert not manager.is_authorized_dag(
        method="POST", user=manager.deserialize_user(token), details=DagDetails(id="train_models")
    )
    write(accounts, PEOPLE, word=" has another")
    with pytest.raises(ValueError, match="train must log in again"):
        manager.deserialize_user(token)
    write(accounts, {})
    with pytest.raises(ValueError, match="train must log in again"):
        manager.deserialize_user(token)


def test_without_the_file_of_accounts_airflow_does_not_start(manager: AccountsAuthManager, accounts: Path) -> None:
    manager.init()
    accounts.unlink()
    with pytest.raises(FileNotFoundError, match=r"accounts\.json"):
        manager.init()
