"""The secrets of a cluster and the accounts of people: random, seen by nobody but whom they are for."""

import json
import re
from hashlib import sha256
from pathlib import Path

import pytest

from tests.secrets_of_a_cluster import Secrets


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets(tmp_path)


def passwords(secrets: Secrets) -> dict[str, str]:
    """The passwords of programs."""
    of_notes: dict[str, str] = json.loads(secrets["airflow-login"]["passwords.json"])
    of_mlflow = [secrets[name] for name in ("mlflow-login", "mlflow-page-login")]
    return of_notes | {one["MLFLOW_TRACKING_USERNAME"]: one["MLFLOW_TRACKING_PASSWORD"] for one in of_mlflow}


def accounts(secrets: Secrets) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(secrets["accounts"]["accounts.json"])
    return found


def hashed(password: str) -> str:
    return sha256(password.encode()).hexdigest()


def test_secrets_are_random_and_no_command_has_them_among_its_arguments(secrets: Secrets) -> None:
    traced = secrets.run("create-secrets.sh", trace=True)
    assert traced.returncode == 0, traced.stderr
    assert secrets.names() == {
        *("database-passwords", "airflow-database", "airflow-login", "mlflow-login", "mlflow-page-login", "accounts"),
        *("airflow-fernet-key", "airflow-api-secret-key", "airflow-jwt-secret"),
    }
    assert set(secrets["database-passwords"]) == {"postgres", "mlflow", "airflow"}
    password = secrets["database-passwords"]["airflow"]
    address = secrets["airflow-database"]["connection"]
    assert address == f"postgresql+psycopg2://airflow:{password}@postgresql:5432/airflow"
    keys = {next(iter(secrets[f"airflow-{name}"].values())) for name in ("fernet-key", "api-secret-key", "jwt-secret")}
    random = {*secrets["database-passwords"].values(), *passwords(secrets).values(), *keys}
    assert len(random) == 3 + 3 + 3
    assert all(len(value) >= 44 for value in random)
    assert [value for value in random if value in secrets.arguments + traced.stderr] == []


def test_programs_have_accounts_of_their_own_and_nobody_else_has_one_at_first(secrets: Secrets) -> None:
    secrets.run("create-secrets.sh")
    assert {name: account["role"] for name, account in accounts(secrets).items()} == {
        "notes": "notes",
        "pipeline": "pipeline",
        "page": "page",
    }
    for name, password in passwords(secrets).items():
        assert accounts(secrets)[name]["sha256"] == hashed(password)


def test_a_second_run_changes_no_secret_and_no_account(secrets: Secrets) -> None:
    secrets.run("create-secrets.sh")
    secrets.run("account.sh", "anna", "train")
    before = {name: secrets[name] for name in secrets.names()}
    assert secrets.run("create-secrets.sh").returncode == 0
    assert {name: secrets[name] for name in secrets.names()} == before


def test_an_installation_from_before_gets_the_account_of_the_page_and_keeps_the_others(
    secrets: Secrets, tmp_path: Path
) -> None:
    secrets.run("create-secrets.sh")
    secrets.run("account.sh", "anna", "train")
    before = accounts(secrets)
    (tmp_path / "mlflow-page-login.json").unlink()
    without = {name: account for name, account in before.items() if name != "page"}
    (tmp_path / "accounts.json").write_text(json.dumps({"accounts.json": json.dumps(without)}))
    ended = secrets.run("create-secrets.sh")
    assert ended.returncode == 0, ended.stderr
    of_page = {"role": "page", "sha256": hashed(passwords(secrets)["page"])}
    assert accounts(secrets) == without | {"page": of_page}


def given_password(secrets: Secrets, name: str, role: str) -> str:
    ended = secrets.run("account.sh", name, role)
    assert ended.returncode == 0, ended.stderr
    [password] = re.findall(rf"^{name}, password (\S+)$", ended.stderr, re.MULTILINE)
    return str(password)


def test_a_person_gets_an_account_with_a_random_password_of_which_only_the_hash_is_kept(secrets: Secrets) -> None:
    secrets.run("create-secrets.sh")
    password = given_password(secrets, "anna", "approve")
    assert accounts(secrets)["anna"] == {"role": "approve", "sha256": hashed(password)}
    # 18 random bytes.
    assert re.fullmatch(r"[\w-]{24}", password)
    assert password not in secrets.arguments
    assert set(accounts(secrets)) == {"anna", "notes", "page", "pipeline"}
    assert given_password(secrets, "anna", "look") != password
    assert accounts(secrets)["anna"]["role"] == "look"


def test_an_account_is_taken_away(secrets: Secrets) -> None:
    secrets.run("create-secrets.sh")
    given_password(secrets, "anna", "approve")
    assert secrets.run("account.sh", "anna", "none").returncode == 0
    assert set(accounts(secrets)) == {"notes", "page", "pipeline"}


@pytest.mark.parametrize(
    ("name", "role", "why"),
    [
        ("anna", "boss", "'boss' is no role; there are look, annotate, train, approve, administrate, and none"),
        ("anna", "pipeline", "'pipeline' is no role"),
        ("anna\nb", "look", "is no name"),
        ("<b>anna</b>", "look", "is no name"),
        ("pipeline", "administrate", "pipeline is the account of a program"),
        ("notes", "none", "notes is the account of a program"),
        ("page", "administrate", "page is the account of a program"),
    ],
)
def test_a_wrong_name_or_role_is_refused_with_what_is_allowed(secrets: Secrets, name: str, role: str, why: str) -> None:
    secrets.run("create-secrets.sh")
    before = accounts(secrets)
    ended = secrets.run("account.sh", name, role)
    assert ended.returncode != 0
    assert why in ended.stderr
    assert accounts(secrets) == before
