"""List what is old, and remove it with --really: `python -m nucleus_dags.upkeep.clean_up`.

In this order: runs that a person deleted in MLflow, old logs, uploads that weren't handed over to the inbox, old rows
of Airflow's database, and what nothing in the store refers to (`tasks.store.check --clean`). Runs of registered models,
of each plate's newest segmentation, and those that these lie below, stay, also when somebody deleted them. The servers
must be up: MLflow removes its artefacts.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nucleus_dags.local.environment import environment
from nucleus_dags.local.home import REPOSITORY, Home, home_of_environment
from nucleus_dags.local.migrations import FOLDER_OF_COPIES
from nucleus_dags.local.processes import runs
from nucleus_dags.plates.uploads import UPLOADS, old_uploads, remove
from nucleus_dags.upkeep.errors import UpkeepError

DELETED_RUNS_DAYS, ROWS_DAYS, LOGS_DAYS, UPLOADS_DAYS = 30, 90, 90, 30
DAY_S = 86_400
# Not those of triggers and DAGs: a trigger that watches the inbox may be older and in use.
TABLES = (
    "dag_run,task_instance,task_instance_history,task_reschedule,xcom,log,job,import_error,asset_event,revoked_token"
)
FOUND = re.compile(r"Found (\d+) rows meeting deletion criteria")
REMOVABLE_RUNS = """
WITH RECURSIVE kept(id) AS (
    SELECT run_id FROM model_versions WHERE run_id IS NOT NULL AND current_stage != 'Deleted_Internal'
  UNION
    SELECT run_uuid FROM (
      SELECT runs.run_uuid, row_number() OVER (PARTITION BY tags.value ORDER BY runs.start_time DESC) AS place
      FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = 'plate'
      JOIN tags AS model ON model.run_uuid = runs.run_uuid AND model.key = 'model')
    WHERE place = 1
  UNION
    SELECT tags.value FROM kept JOIN tags ON tags.run_uuid = kept.id AND tags.key = 'mlflow.parentRunId'
    WHERE tags.value IS NOT NULL
)
SELECT run_uuid, artifact_uri FROM runs
WHERE lifecycle_stage = 'deleted' AND deleted_time <= ? AND run_uuid NOT IN (SELECT id FROM kept)
"""
DELETED_EXPERIMENTS = "SELECT count(*) FROM experiments WHERE lifecycle_stage = 'deleted'"


def clean_up(home: Home, really: bool) -> None:
    """Print what is old, with sizes; remove it if `really`."""
    servers = home.read_servers()
    if servers is None or not servers.processes or not all(runs(server) for server in servers.processes.values()):
        raise UpkeepError("The servers must be up, since MLflow removes its artefacts: `make up`, then clean up.")
    env = environment(home, servers)
    freed = _remove_runs(home, env, really) + _remove_logs(home, really) + remove_uploads(home, really)
    _remove_rows(env, really)
    print(
        f"{freed / 1e6:10.1f} MB  {'removed' if really else 'could be removed'} of runs, logs and uploads; the store:",
        flush=True,
    )
    command = ["tasks.store.check", "--store", str(home.store), "--clean", *(["--really"] if really else [])]
    _call(command, env, capture=False)


def removable_runs(home: Home, now: float) -> dict[str, str]:
    """Give the runs that were deleted long ago and that nothing refers to, by id with where their artefacts are."""
    with closing(sqlite3.connect(f"file:{home.database('mlflow')}?mode=ro", uri=True, timeout=60)) as database:
        before_ms = int((now - DELETED_RUNS_DAYS * DAY_S) * 1000)
        return dict(database.execute(REMOVABLE_RUNS, (before_ms,)))


def _remove_runs(home: Home, env: Mapping[str, str], really: bool) -> int:
    found, size = removable_runs(home, time.time()), 0
    for run, uri in found.items():
        path = home.folder / "mlflow" / "artifacts" / uri.removeprefix("mlflow-artifacts:/")
        size += _size(path)
        print(f"{_size(path) / 1e6:10.1f} MB  MLflow's run {run}: deleted {DELETED_RUNS_DAYS} days ago or earlier")
    if not (found and really):
        return size
    with closing(sqlite3.connect(f"file:{home.database('mlflow')}?mode=ro", uri=True)) as database:
        if database.execute(DELETED_EXPERIMENTS).fetchone()[0]:
            # MLflow would remove all runs of these, also those that are referred to.
            raise UpkeepError("An experiment is deleted in MLflow; restore it there, and delete its runs one by one.")
    uri = f"sqlite:///{home.database('mlflow')}"
    _call(["mlflow", "gc", f"--backend-store-uri={uri}", f"--run-ids={','.join(found)}"], env)
    return size


def _remove_rows(env: Mapping[str, str], really: bool) -> None:
    before = datetime.now(UTC) - timedelta(days=ROWS_DAYS)
    how = ["--yes", "--skip-archive", "--error-on-cleanup-failure"] if really else ["--dry-run"]
    command = ["airflow", "db", "clean", f"--tables={TABLES}", f"--clean-before-timestamp={before.isoformat()}", *how]
    rows = sum(int(amount) for amount in FOUND.findall(_call(command, env)))
    what = "were removed" if really else "could be removed"
    print(f"{rows:10d} rows of Airflow's database, {ROWS_DAYS} days old or older, {what}; new rows take their room")


def old_logs(home: Home, now: float) -> Iterator[Path]:
    """Give logs, and copies of databases from before a migration, that nothing was written to for long."""
    patterns = ("airflow/logs/dag_id=*/run_id=*", "airflow/logs/dag_processor/*", "airflow/logs/scheduler/*")
    for pattern in (*patterns, f"{FOLDER_OF_COPIES}/*.db"):
        for path in sorted(home.folder.glob(pattern)):
            newest = max(inner.lstat().st_mtime for inner in [path, *path.rglob("*")])
            if not path.is_symlink() and newest < now - LOGS_DAYS * DAY_S:
                yield path


def _remove_logs(home: Home, really: bool) -> int:
    total = 0
    for path in old_logs(home, time.time()):
        size = _size(path)
        total += size
        print(f"{size / 1e6:10.1f} MB  {path.relative_to(home.folder)}: {LOGS_DAYS} days old or older")
        if really:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return total


def remove_uploads(home: Home, really: bool) -> int:
    """Print old uploads; remove them if `really`. Gives their bytes."""
    total = 0
    for upload in old_uploads(home.inbox, UPLOADS_DAYS):
        size = _size(upload)
        total += size
        print(f"{size / 1e6:10.1f} MB  inbox/{UPLOADS}/{upload.name}: {UPLOADS_DAYS} days old or older")
        if really:
            remove(home.inbox, upload.name)
    return total


def _size(path: Path) -> int:
    return sum(file.lstat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def _call(arguments: list[str], env: Mapping[str, str], capture: bool = True) -> str:
    command = [sys.executable, "-m", *arguments]
    ended = subprocess.run(
        command, env=env, cwd=REPOSITORY, capture_output=capture, text=True, stdin=subprocess.DEVNULL
    )
    if ended.returncode != 0:
        raise UpkeepError(f"{' '.join(arguments[:3])} failed:\n{(ended.stderr or '')[-2000:]}")
    return ended.stdout or ""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m nucleus_dags.upkeep.clean_up", description=__doc__)
    parser.add_argument("--really", action="store_true", help="remove what is listed")
    args = parser.parse_args(argv)
    try:
        clean_up(home_of_environment(), args.really)
    except (UpkeepError, sqlite3.Error, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
