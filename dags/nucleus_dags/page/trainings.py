"""How far trainings are: of one that goes on by its log, of one that is done by its result in the store."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from airflow.models.taskinstance import TaskInstance
from airflow.utils.log.file_task_handler import LogMetadata
from airflow.utils.log.log_reader import TaskLogReader

from nucleus_dags.in_store import in_store
from nucleus_dags.page.damaged import left_out_if_damaged
from nucleus_dags.page.receipts import Receipt
from nucleus_dags.page.remembered import remembered

CYCLE = re.compile(r"cycle (\d+) of (\d+): loss (\S+), validation loss (\S+), (\d+) s, ")
WITHIN = re.compile(r"cycle (\d+) of (\d+): (\d+) of (\d+) ROIs, loss (\S+)")
"""What `tasks/methods/shared/training.py` logs after a cycle and, every 15 seconds, within one."""
LAST_CYCLES = 3
"""By so many the rest is estimated: the first one is slower."""


@dataclass(frozen=True)
class Cycle:
    """A cycle that is done."""

    number: int
    """Counted from 1."""
    loss: float
    validation_loss: float
    seconds: float


@dataclass(frozen=True)
class Training:
    """A training of a network."""

    name: str
    cycles: Sequence[Cycle]
    """Those that are done."""
    total: int
    """0 if it isn't known yet."""
    within: float = 0.0
    """Share of the cycle that goes on."""

    @property
    def current(self) -> int:
        """Give the number of the cycle that goes on, or of the last."""
        return min(len(self.cycles) + 1, self.total)

    @property
    def share(self) -> float:
        """Give the share that is done, 0 to 1."""
        return min(1.0, (len(self.cycles) + self.within) / self.total) if self.total else 0.0

    def seconds_left(self, elapsed: float) -> float | None:
        """Estimate the rest by the last cycles or, in the first, by the time since the start; None if it can't be."""
        if not self.total:
            return None
        left = max(0.0, self.total - len(self.cycles) - self.within)
        if self.cycles:
            last = self.cycles[-LAST_CYCLES:]
            return left * sum(cycle.seconds for cycle in last) / len(last)
        return left * elapsed / self.within if self.within else None


def training_in_log(name: str, lines: Iterable[str]) -> Training:
    """Give a training by the lines of its log, of all its attempts one after the other."""
    cycles: dict[int, Cycle] = {}
    total, within = 0, (0, 0.0)
    for line in lines:
        if done := CYCLE.search(line):
            number, total = int(done[1]), int(done[2])
            cycles[number] = Cycle(number, float(done[3]), float(done[4]), float(done[5]))
        elif going_on := WITHIN.search(line):
            total = int(going_on[2])
            within = int(going_on[1]), min(1.0, int(going_on[3]) / int(going_on[4]))
    known = [cycles[number] for number in sorted(cycles)]
    return Training(name, known, total, within[1] if within[0] == len(known) + 1 else 0.0)


def log_lines(instance: TaskInstance) -> list[str]:
    """Give what all attempts of a task instance have logged so far, from wherever Airflow keeps its logs."""
    lines: list[str] = []
    for attempt in range(1, instance.try_number + 1):
        # Airflow's reader stands for files, for pods that run, and for logs that were carried elsewhere.
        found, _ = TaskLogReader().read_log_chunks(instance, attempt, LogMetadata(end_of_log=False))
        lines += [str(message.event) for message in found]
    return lines


def finished_training(store: Path, name: str, receipt: Receipt) -> Training | None:
    """Give a training by its result; None where nothing was trained."""
    network = receipt["outputs"].get("network")
    if network:
        history = in_store(store, network) / "history.json"
        # Methods without cycles have none.
        with left_out_if_damaged(history), suppress(FileNotFoundError):
            cycles = _history(history)
            return Training(name, cycles, len(cycles))
    return None


def since(started: datetime | None, now: datetime) -> float:
    return (now - started).total_seconds() if started else 0.0


@remembered
def _history(path: Path) -> tuple[Cycle, ...]:
    """Read the cycles of a stored network."""
    content = json.loads(path.read_text())
    return tuple(Cycle(one["cycle"], one["loss"], one["validation_loss"], one["seconds"]) for one in content)
