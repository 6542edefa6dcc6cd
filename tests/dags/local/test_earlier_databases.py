"""Databases as earlier releases of Airflow and MLflow made them, migrated by the programs that are installed.

Alembic takes a database of today back to the tables of an earlier release; what it holds goes with it and comes back.
"""

import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from mlflow import MlflowClient
from mlflow.store.db.utils import _get_alembic_config
from sqlalchemy import create_engine

from nucleus_dags.local import migrations
from nucleus_dags.local.environment import environment
from nucleus_dags.local.home import Home, Servers
from nucleus_dags.local.migrations import AIRFLOW, MLFLOW, revision_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

EARLIER_AIRFLOW = ("3.2.0", "1d6611b6ab7c")
"""The release before, and Alembic's revision of its tables."""
EARLIER_MLFLOW = "c1d2e3f4a5b6"
"""Seven steps before the tables of MLflow 3.17."""


@pytest.fixture
def env(home: Home) -> Mapping[str, str]:
    return environment(home, Servers("http://localhost:1", "http://localhost:2"))


def run_airflow(env: Mapping[str, str], *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "airflow", *arguments], env=env, check=True, capture_output=True)


def columns(database: Path) -> set[tuple[str, str]]:
    """Names of all tables with those of their columns."""
    with closing(sqlite3.connect(database)) as opened:
        tables = [name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {(table, row[1]) for table in tables for row in opened.execute(f"PRAGMA table_info('{table}')")}


def copies(home: Home) -> list[str | None]:
    """Revisions of the copies of databases from before a migration."""
    return [revision_of(path) for path in (home.folder / migrations.FOLDER_OF_COPIES).glob("*.db")]


def test_a_database_of_airflow_of_the_release_before_becomes_one_of_today_with_what_it_holds(
    home: Home, env: Mapping[str, str]
) -> None:
    database = home.database("airflow")
    migrations.prepare(home, AIRFLOW, env)
    today, tables = revision_of(database), columns(database)
    run_airflow(env, "pools", "set", "gpu", "3", "Trainings")
    release, revision = EARLIER_AIRFLOW
    run_airflow(env, "db", "downgrade", f"--to-version={release}", "--yes")
    assert revision_of(database) == revision
    assert columns(database) != tables

    migrations.prepare(home, AIRFLOW, env)
    assert revision_of(database) == today
    assert columns(database) == tables
    assert copies(home) == [revision]
    with closing(sqlite3.connect(database)) as opened:
        assert opened.execute("SELECT slots FROM slot_pool WHERE pool = 'gpu'").fetchall() == [(3,)]


def test_a_database_of_an_earlier_mlflow_becomes_one_of_today_with_what_it_holds(
    home: Home, env: Mapping[str, str]
) -> None:
    database = home.database("mlflow")
    migrations.prepare(home, MLFLOW, env)
    today, tables = revision_of(database), columns(database)
    client = MlflowClient(f"sqlite:///{database}")
    run_id = client.create_run("0").info.run_id
    client.log_metric(run_id, "f1", 0.9)
    client.create_registered_model("nucleus-segmenter")
    client.create_model_version("nucleus-segmenter", f"runs:/{run_id}/model", run_id)
    client.set_registered_model_alias("nucleus-segmenter", "champion", "1")
    engine = create_engine(f"sqlite:///{database}")
    command.downgrade(_get_alembic_config(str(engine.url)), EARLIER_MLFLOW)
    engine.dispose()
    assert revision_of(database) == EARLIER_MLFLOW
    assert columns(database) != tables

    migrations.prepare(home, MLFLOW, env)
    assert revision_of(database) == today
    assert columns(database) == tables
    assert copies(home) == [EARLIER_MLFLOW]
    client = MlflowClient(f"sqlite:///{database}")
    assert client.get_run(run_id).data.metrics == {"f1": 0.9}
    assert client.get_model_version_by_alias("nucleus-segmenter", "champion").run_id == run_id
