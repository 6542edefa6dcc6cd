"""Databases of an earlier release made those of this one, before the servers start, after a copy of them.

`databases.json` in the home says which version of a program prepared its database, and which state that is (Alembic's
revision). Another version, or another state, as after a restoration, has it prepared anew.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from sqlite3 import DatabaseError, connect

from nucleus_dags.files import read_if_whole, write_whole
from nucleus_dags.local.home import Home
from nucleus_dags.local.processes import ServersError

FOLDER_OF_COPIES = "databases_before"
UNKNOWN_REVISION = ("Can't locate revision", "Unknown revision")


@dataclass(frozen=True)
class Program:
    name: str
    title: str
    distribution: str

    def command(self, home: Home) -> list[str]:
        """Give the arguments after `python -m` that make or migrate its database."""
        if self.name == "airflow":
            return ["airflow", "db", "migrate"]
        return ["mlflow", "db", "upgrade", f"sqlite:///{home.database(self.name)}"]


AIRFLOW = Program("airflow", "Airflow", "apache-airflow-core")
MLFLOW = Program("mlflow", "MLflow", "mlflow")


def prepare(home: Home, program: Program, env: Mapping[str, str]) -> None:
    """Make or migrate a program's database, if it isn't prepared; ServersError if it can't be."""
    database, installed = home.database(program.name), version(program.distribution)
    prepared = _prepared(home)
    known = prepared.get(program.name, {})
    if database.exists() and known == {"version": installed, "revision": revision_of(database)}:
        return
    print(f"Preparing {program.title}'s database ...", flush=True)
    copy = _copied(home, program, known.get("version", "an earlier version")) if database.exists() else None
    log = home.log(f"{program.name}_database")
    with log.open("wb") as file:
        command = [sys.executable, "-m", *program.command(home)]
        ended = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
    if ended.returncode != 0:
        raise ServersError(_why(program, known, installed, log, copy))
    prepared[program.name] = {"version": installed, "revision": revision_of(database)}
    write_whole(home.folder / "databases.json", prepared)


def revision_of(database: Path) -> str | None:
    """Give Alembic's revision of an SQLite database; None of one that has none, or can't be read."""
    try:
        with closing(connect(f"file:{database}?mode=rw", uri=True, timeout=60)) as opened:
            row = opened.execute("SELECT version_num FROM alembic_version").fetchone()
    except DatabaseError:
        return None
    return str(row[0]) if row else None


def _prepared(home: Home) -> dict[str, dict[str, str | None]]:
    return read_if_whole(home.folder / "databases.json") or {}


def _copied(home: Home, program: Program, before: str | None) -> Path:
    """Copy a database before it is migrated; nothing works with it now."""
    folder = home.folder / FOLDER_OF_COPIES
    folder.mkdir(exist_ok=True)
    copy = folder / f"{program.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db"
    with (
        closing(connect(f"file:{home.database(program.name)}?mode=rw", uri=True, timeout=60)) as read,
        closing(connect(copy)) as written,
    ):
        read.backup(written)
    print(f"It was of {before}; a copy of it is {copy}.", flush=True)
    return copy


def _why(program: Program, known: Mapping[str, str | None], installed: str, log: Path, copy: Path | None) -> str:
    lines = log.read_text(errors="replace").splitlines()
    if any(sign in line for line in lines for sign in UNKNOWN_REVISION):
        if copy:
            copy.unlink()
        before = f", maybe {known['version']}" if known.get("version") not in (None, installed) else ""
        return (
            f"{program.title}'s database was made by a later version of {program.title}{before}, and {installed} is "
            "installed, which can't read it. Use the later release of this repository, or put back a backup that "
            "was made with this one. The database was not changed."
        )
    end = "\n".join(lines[-20:])
    kept = f"\nThe database as it was before: {copy}" if copy else ""
    return f"{program.title}'s database can't be prepared:\n{end}\nThe whole log: {log}{kept}"
