import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nucleus_dags.local import migrations
from nucleus_dags.local.home import Home
from nucleus_dags.local.migrations import AIRFLOW, MLFLOW, Program
from nucleus_dags.local.processes import ServersError

SETS_REVISION = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    database.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT)")
    database.execute("DELETE FROM alembic_version")
    database.execute("INSERT INTO alembic_version VALUES ('now')")
"""
UNKNOWN = "import sys; sys.exit(\"Can't locate revision identified by 'later'\")"


def with_program(program: str, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Let this program be what migrates; gives its calls."""
    calls: list[Sequence[str]] = []
    run = subprocess.run

    def call(command: Sequence[str], **options: Any) -> Any:
        calls.append(command)
        return run([command[0], "-c", program, command[-1].removeprefix("sqlite:///")], **options)

    monkeypatch.setattr(subprocess, "run", call)
    return calls


def set_revision(database: Path, revision: str) -> None:
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT)")
        opened.execute("DELETE FROM alembic_version")
        opened.execute("INSERT INTO alembic_version VALUES (?)", (revision,))


def copies(home: Home) -> list[Path]:
    return list((home.folder / migrations.FOLDER_OF_COPIES).glob("*.db"))


def test_a_database_of_an_earlier_release_is_copied_and_migrated_once(home, monkeypatch) -> None:
    calls = with_program(SETS_REVISION, monkeypatch)
    set_revision(home.database("mlflow"), "before")
    for _ in range(2):
        migrations.prepare(home, MLFLOW, {})
    assert len(calls) == 1
    assert migrations.revision_of(home.database("mlflow")) == "now"
    [copy] = copies(home)
    assert migrations.revision_of(copy) == "before"


def test_another_version_of_the_program_migrates_again(home, monkeypatch) -> None:
    calls = with_program(SETS_REVISION, monkeypatch)
    migrations.prepare(home, MLFLOW, {})
    assert copies(home) == []
    monkeypatch.setattr(migrations, "version", lambda _: "99")
    migrations.prepare(home, MLFLOW, {})
    assert len(calls) == 2


@pytest.mark.parametrize("program", [AIRFLOW, MLFLOW])
def test_a_database_that_is_newer_than_the_program_is_refused_with_what_to_do(
    home: Home, monkeypatch: pytest.MonkeyPatch, program: Program
) -> None:
    with_program(UNKNOWN, monkeypatch)
    set_revision(home.database(program.name), "later")
    with pytest.raises(ServersError, match=f"made by a later version of {program.title}.*Use the later release"):
        migrations.prepare(home, program, {})
    assert migrations.revision_of(home.database(program.name)) == "later"
    assert copies(home) == []


def test_a_migration_that_fails_says_where_the_copy_is(home, monkeypatch) -> None:
    with_program("import sys; sys.exit('a fault')", monkeypatch)
    set_revision(home.database("mlflow"), "before")
    with pytest.raises(ServersError, match=r"a fault(.|\n)*as it was before: .*databases_before/mlflow-"):
        migrations.prepare(home, MLFLOW, {})


def test_the_commands_are_those_of_airflow_and_mlflow(home: Home) -> None:
    assert AIRFLOW.command(home) == ["airflow", "db", "migrate"]
    assert MLFLOW.command(home) == ["mlflow", "db", "upgrade", f"sqlite:///{home.database('mlflow')}"]
