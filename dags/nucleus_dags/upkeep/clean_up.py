"""List what is old, and remove it with --really: `python -m nucleus_dags.upkeep.clean_up`.

`--volume` takes the folder of a cluster's volume, with kubectl for databases and programs.

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
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nucleus_dags.local.home import home_of_environment
from nucleus_dags.plates.uploads import UPLOADS, old_uploads, remove
from nucleus_dags.upkeep.errors import UpkeepError
from nucleus_dags.upkeep.programs import OfCluster, OfHome, Programs

DELETED_RUNS_DAYS, ROWS_DAYS, LOGS_DAYS, UPLOADS_DAYS = 30, 90, 90, 30
DAY_S = 86_400
# Not those of triggers and DAGs: a trigger that watches the inbox may be older and in use.
TABLES = (
    "dag_run,task_instance,task_instance_history,task_reschedule,xcom,log,job,import_error,asset_event,revoked_token"
)
FOUND = re.compile(r"Found (\d+) rows meeting deletion criteria")
RUNS_AT_ONCE = 1000
"""Their ids fit an argument."""
REMOVABLE_RUNS = """
WITH RECURSIVE kept(id) AS (
    SELECT CAST(run_id AS TEXT) FROM model_versions WHERE run_id IS NOT NULL AND current_stage != 'Deleted_Internal'
  UNION
    SELECT CAST(run_uuid AS TEXT) FROM (
      SELECT runs.run_uuid, row_number() OVER (PARTITION BY tags.value ORDER BY runs.start_time DESC) AS place
      FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = 'plate'
      JOIN tags AS model ON model.run_uuid = runs.run_uuid AND model.key = 'model') AS segmentations
    WHERE place = 1
  UNION
    SELECT CAST(tags.value AS TEXT) FROM kept JOIN tags ON tags.run_uuid = kept.id AND tags.key = 'mlflow.parentRunId'
    WHERE tags.value IS NOT NULL
)
SELECT run_uuid, artifact_uri FROM runs
WHERE lifecycle_stage = 'deleted' AND deleted_time <= {before_ms} AND run_uuid NOT IN (SELECT id FROM kept)
"""
DELETED_EXPERIMENTS = "SELECT count(*) FROM experiments WHERE lifecycle_stage = 'deleted'"


def clean_up(programs: Programs, really: bool) -> None:
    """Print what is old, with sizes; remove it if `really`."""
    programs.refuse_if_down()
    freed = _remove_runs(programs, really) + _remove_logs(programs, really) + remove_uploads(programs.inbox, really)
    _remove_rows(programs, really)
    print(
        f"{freed / 1e6:10.1f} MB  {'removed' if really else 'could be removed'} of runs, logs and uploads; the store:",
        flush=True,
    )
    programs.check_store("--clean", *(["--really"] if really else []))


def removable_runs(programs: Programs, now: float) -> dict[str, str]:
    """Give the runs that were deleted long ago and that nothing refers to, by id with where their artefacts are."""
    before_ms = int((now - DELETED_RUNS_DAYS * DAY_S) * 1000)
    return dict(programs.ask_mlflow(REMOVABLE_RUNS.format(before_ms=before_ms)))


def _remove_runs(programs: Programs, really: bool) -> int:
    found, size = removable_runs(programs, time.time()), 0
    for run, uri in found.items():
        path = programs.artefacts / uri.removeprefix("mlflow-artifacts:/")
        size += _size(path)
        print(f"{_size(path) / 1e6:10.1f} MB  MLflow's run {run}: deleted {DELETED_RUNS_DAYS} days ago or earlier")
    if not (found and really):
        return size
    if programs.ask_mlflow(DELETED_EXPERIMENTS) != [["0"]]:
        # MLflow would remove all runs of these, also those that are referred to.
        raise UpkeepError("An experiment is deleted in MLflow; restore it there, and delete its runs one by one.")
    for first in range(0, len(found), RUNS_AT_ONCE):
        programs.remove_runs(list(found)[first : first + RUNS_AT_ONCE])
    return size


def _remove_rows(programs: Programs, really: bool) -> None:
    before = datetime.now(UTC) - timedelta(days=ROWS_DAYS)
    how = ["--yes", "--skip-archive", "--error-on-cleanup-failure"] if really else ["--dry-run"]
    said = programs.airflow("db", "clean", f"--tables={TABLES}", f"--clean-before-timestamp={before.isoformat()}", *how)
    rows = sum(int(amount) for amount in FOUND.findall(said))
    what = "were removed" if really else "could be removed"
    print(f"{rows:10d} rows of Airflow's database, {ROWS_DAYS} days old or older, {what}; new rows take their room")


def old_logs(programs: Programs, now: float) -> Iterator[Path]:
    """Give logs, and copies of databases from before a migration, that nothing was written to for long."""
    for pattern in programs.patterns_of_logs:
        for path in sorted(programs.folder.glob(pattern)):
            newest = max(inner.lstat().st_mtime for inner in [path, *path.rglob("*")])
            if not path.is_symlink() and newest < now - LOGS_DAYS * DAY_S:
                yield path


def _remove_logs(programs: Programs, really: bool) -> int:
    total = 0
    for path in old_logs(programs, time.time()):
        size = _size(path)
        total += size
        print(f"{size / 1e6:10.1f} MB  {path.relative_to(programs.folder)}: {LOGS_DAYS} days old or older")
        if really:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return total


def remove_uploads(inbox: Path, really: bool) -> int:
    """Print old uploads; remove them if `really`. Gives their bytes."""
    total = 0
    for upload in old_uploads(inbox, UPLOADS_DAYS):
        size = _size(upload)
        total += size
        print(f"{size / 1e6:10.1f} MB  inbox/{UPLOADS}/{upload.name}: {UPLOADS_DAYS} days old or older")
        if really:
            remove(inbox, upload.name)
    return total


def _size(path: Path) -> int:
    return sum(file.lstat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m nucleus_dags.upkeep.clean_up", description=__doc__)
    parser.add_argument("--really", action="store_true", help="remove what is listed")
    parser.add_argument("--volume", type=Path, help="folder of a cluster's volume, in place of this machine's home")
    args = parser.parse_args(argv)
    programs = OfCluster(args.volume.resolve()) if args.volume else OfHome(home_of_environment())
    try:
        clean_up(programs, args.really)
    except (UpkeepError, sqlite3.Error, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
