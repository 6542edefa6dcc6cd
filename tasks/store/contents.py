"""What the store holds, and what in it refers to what."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tasks import locks
from tasks.contract import Result, inputs_of, lock_of, read_result
from tasks.files import LEFT_BY_A_KILL, time_at

RECEIPTS = "dag_runs"
RECORDS = ("arrivals", RECEIPTS, "gates", "retired", "retrainings", "skipped")
"""Folders of what DAGs write down; all others hold results."""
NAMED_RESULTS = "results"
"""Folder beside the store: `<plate>/<model>` are links to segmented plates."""
PLATES, SEGMENTED_PLATES = "ingest/", "assemble_plate/"
PARTIAL, RECEIPT = ".partial", ".json"
"""Of DAG runs, the other files are params that were too long for an argument."""
HOUR_S, DAY_S = 3600, 86_400


@dataclass(frozen=True)
class Receipt:
    path: Path
    result: str | None
    """Name of the result; None if the receipt can't be read."""
    age_days: float


@dataclass(frozen=True)
class Contents:
    """What a store holds. The name of a result is `<task>/<key>`, its folder in the store."""

    store: Path
    looked_at: float
    """Seconds since 1970, by the clock that dates the store's files."""
    results: dict[str, Result] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    """Names of folders that have no readable result.json."""
    busy: set[str] = field(default_factory=set)
    """Names of results that a task makes or shows."""
    partials: list[Path] = field(default_factory=list)
    """Folders of tasks that ended before they were done."""
    receipts: list[Receipt] = field(default_factory=list)
    half_written: list[Path] = field(default_factory=list)
    """Records whose writer was killed."""
    named: list[Path] = field(default_factory=list)
    """Links by the names of plates and models."""

    def holds(self, name: str) -> bool:
        return (self.store / name).exists()

    def name(self, path: Path) -> str:
        return path.relative_to(self.store).as_posix()


def look_into(store: Path) -> Contents:
    """Read what a store holds, without the content of the results' files.

    Receipts come last: a task that isn't busy any more has written its receipt.
    """
    contents = Contents(store, time_at(store))
    _add_results(contents)
    _add_partials(contents)
    _add_records(contents)
    named = sorted((store.parent / NAMED_RESULTS).glob("*/*"))
    contents.named.extend(path for path in named if path.is_symlink())
    return contents


def _add_results(contents: Contents) -> None:
    folders = [path for path in sorted(contents.store.glob("*/*")) if path.is_dir() and path.parent.name not in RECORDS]
    for folder in folders:
        if folder.name.startswith("."):
            continue
        name = contents.name(folder)
        try:
            contents.results[name] = read_result(folder)
        except (OSError, ValueError):
            contents.unreadable.append(name)
        if _is_busy(folder):
            contents.busy.add(name)


def _add_partials(contents: Contents) -> None:
    for partial in sorted(contents.store.glob(f"*/.*{PARTIAL}")):
        if not _is_busy(result_folder(partial)) and partial.exists():
            contents.partials.append(partial)


def _add_records(contents: Contents) -> None:
    paths = [path for folder in RECORDS for path in sorted((contents.store / folder).rglob("*")) if path.is_file()]
    for path in paths:
        with suppress(FileNotFoundError):  # A task that is tried again removes its receipt.
            age_s = contents.looked_at - path.stat().st_mtime
            is_half_written = LEFT_BY_A_KILL.fullmatch(path.name) or path.suffix == PARTIAL
            if is_half_written and age_s > HOUR_S:
                contents.half_written.append(path)
            elif not is_half_written and path.suffix == RECEIPT and contents.name(path).startswith(f"{RECEIPTS}/"):
                contents.receipts.append(Receipt(path, _result_of_receipt(path), age_s / DAY_S))


def result_folder(path: Path) -> Path:
    """Give the folder of a result, also for its partial folder."""
    return path.with_name(path.name.removeprefix(".").removesuffix(PARTIAL))


def _is_busy(folder: Path) -> bool:
    if not lock_of(folder).exists():
        return False
    try:
        with locks.held_at_once(lock_of(folder)):
            return False
    except locks.IsHeld:
        return True


def _result_of_receipt(path: Path) -> str | None:
    try:
        content = json.loads(path.read_text())
        return f"{content['task']}/{content['key']}"
    except (OSError, ValueError, KeyError, TypeError):
        return None


def unreferenced(contents: Contents, models: Mapping[str, str], keep_days: float) -> list[str]:
    """Give the names of the results that nothing refers to."""
    plates = [name for name in contents.results if name.startswith((PLATES, SEGMENTED_PLATES))]
    in_dag_runs = [receipt.result for receipt in contents.receipts if receipt.result and receipt.age_days <= keep_days]
    kept = _with_inputs([*plates, *models.values(), *in_dag_runs, *contents.busy], contents.results)
    return [name for name in contents.results if name not in kept]


def _with_inputs(names: Iterable[str], results: Mapping[str, Result]) -> set[str]:
    """Give these results and all that they were made from."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in results and name not in found:
            found.add(name)
            waiting += inputs_of(results[name])
    return found
