"""What is backed up and restored, and how far that is."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from nucleus_dags.local.home import RESTORING
from nucleus_dags.upkeep.databases import Databases, PostgresqlInCluster, SqliteFiles
from nucleus_dags.upkeep.home_files import LEFT_OUT_OF_A_HOME, LEFT_OUT_OF_A_VOLUME

PROGRESS_EVERY_S = 10.0


@dataclass(frozen=True)
class Installation:
    """A home of one machine, or a cluster's volume."""

    folder: Path
    databases: Databases
    left_out: tuple[str, ...]

    @property
    def mark(self) -> Path:
        """A file that is there while the folder is being restored."""
        return self.folder / RESTORING


def of_home(folder: Path) -> Installation:
    return Installation(folder, SqliteFiles(folder), LEFT_OUT_OF_A_HOME)


def of_volume(folder: Path) -> Installation:
    return Installation(folder, PostgresqlInCluster(), LEFT_OUT_OF_A_VOLUME)


class Progress:
    """Says how far it is, now and then."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._done, self._told = 0, time.monotonic()
        self._one_at_a_time = threading.Lock()

    def add(self, amount: int) -> None:
        """Count bytes that were worked through."""
        with self._one_at_a_time:
            self._done += amount
            if time.monotonic() - self._told > PROGRESS_EVERY_S:
                self._told = time.monotonic()
                print(f"{self._what}: {self._done / 1e9:.2f} of {self._total / 1e9:.2f} GB", flush=True)
