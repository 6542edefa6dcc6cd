"""Copies of Airflow's and MLflow's databases as they were at one moment, though servers work with them.

On one machine they are SQLite files; in a cluster PostgreSQL has them, whose own programs run in its pod.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from nucleus_dags.upkeep.cluster import kubectl
from nucleus_dags.upkeep.errors import UpkeepError

NAMES = ("airflow", "mlflow")
"""In the order in which they are copied: Airflow's names runs of MLflow's."""
IN_POD = ("exec", "--stdin", "statefulset/postgresql", "--")


class SqliteFiles:
    """The databases of a home: `airflow/airflow.db` and `mlflow/mlflow.db`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def copied(self, name: str) -> Iterator[tuple[Path, str] | None]:
        """Give a whole copy of a database, which is gone at the end, and its path in the home; None without one."""
        path = f"{name}/{name}.db"
        if not (self.folder / path).exists():
            yield None
            return
        # On the same disk, since whoever writes waits meanwhile; the disk with the backups may be slow.
        with tempfile.TemporaryDirectory(dir=self.folder / name, prefix=".backup-") as folder:
            copy_sqlite(self.folder / path, Path(folder) / f"{name}.db")
            yield Path(folder) / f"{name}.db", path

    def refuse_if_used(self) -> None:
        """Files of a home; whether that is empty is asked elsewhere."""

    def put_back(self, folder: Path) -> None:
        """They are files of the home and were restored with it."""


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy a database that others write to, as of one moment; UpkeepError if it is damaged."""
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=rw", uri=True, timeout=60)) as read,
            closing(sqlite3.connect(target)) as written,
        ):
            written.execute("PRAGMA synchronous=OFF")
            read.backup(written)
            found = written.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        raise UpkeepError(f"The database {source} can't be copied: {found}. Put it back from an earlier backup.")


class PostgresqlInCluster:
    """The databases `airflow` and `mlflow` of the pod of PostgreSQL in the namespace `nucleus`."""

    folder_of_dumps = "databases"

    @contextmanager
    def copied(self, name: str) -> Iterator[tuple[Path, str] | None]:
        """Give a dump in PostgreSQL's own format, which is gone at the end, and its path in the backup."""
        with tempfile.TemporaryDirectory() as folder:
            dump = Path(folder) / f"{name}.dump"
            with dump.open("wb") as file:
                kubectl(*IN_POD, "pg_dump", "--username=postgres", "--format=custom", f"--dbname={name}", stdout=file)
            yield dump, f"{self.folder_of_dumps}/{name}.dump"

    def refuse_if_used(self) -> None:
        """UpkeepError unless both databases are there and hold nothing."""
        count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        for name in NAMES:
            tables = kubectl(*IN_POD, "psql", "--username=postgres", f"--dbname={name}", "-Atc", count).strip()
            if tables != b"0":
                raise UpkeepError(
                    f"PostgreSQL's database {name} holds {tables.decode()} tables; restore before MLflow and Airflow "
                    "are started, into the empty databases of a new cluster."
                )

    def put_back(self, folder: Path) -> None:
        """Restore both databases from the dumps in a folder that was restored, and remove these."""
        for name in NAMES:
            dump = folder / self.folder_of_dumps / f"{name}.dump"
            with dump.open("rb") as file:
                options = ["--username=postgres", "--no-owner", f"--role={name}", "--single-transaction"]
                kubectl(*IN_POD, "pg_restore", *options, f"--dbname={name}", stdin=file)
            dump.unlink()
        (folder / self.folder_of_dumps).rmdir()


Databases = SqliteFiles | PostgresqlInCluster
