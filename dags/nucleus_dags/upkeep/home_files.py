"""What of a home, or of a cluster's volume, belongs in a backup, and in which order it is copied while all works.

Whatever names something is copied before what it names, so that nothing in the backup names what it lacks:

1. The records of arrivals, retrainings, retired plates and changes of the gate. Each says that something is done, and
   nothing is done again. A record that were newer than Airflow's database would tell of a DAG run that nobody starts
   any more.
2. Airflow's database: it names MLflow's runs, and receipts and results in the store.
3. MLflow's database: it names artefacts, and results in the store.
4. Receipts of DAG runs and the names of segmented plates, which lead to results.
5. All else. Results are listed until two lists in a row are the same: each was sealed after all that it was made from,
   so the second has the inputs of everything in the first.

What is left out can be made again (checkpoints of work that isn't done, environments of third-party tools, uploads that
weren't handed over to the inbox) or means nothing elsewhere (locks, what runs, logs of servers).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nucleus_dags.plates.inbox import REJECTED, entries, judge, quiet_s
from nucleus_dags.plates.named_results import NAMED_RESULTS
from nucleus_dags.plates.uploads import UPLOADS
from nucleus_dags.upkeep.errors import UpkeepError

RECORDS = ("store/arrivals", "store/gates", "store/retired", "store/retrainings", "store/skipped")
"""Copied before the databases."""
RECEIPTS = "store/dag_runs"
LEFT_OUT = ("servers.json", "logs/scheduler", "logs/dag_processor", "databases_before", f"inbox/{UPLOADS}")
LEFT_OUT_OF_A_HOME = ("logs", "airflow/logs/scheduler", "airflow/logs/dag_processor")
LEFT_OUT_OF_A_VOLUME = ("folders",)
"""Shares of microscopes: what was imported from them is in the store."""
OF_DATABASES = (".db", ".db-journal", ".db-wal", ".db-shm")
MOST_LISTINGS = 100


@dataclass
class Listing:
    """Paths relative to the folder; a folder without files is in `empty_folders`."""

    files: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    empty_folders: list[str] = field(default_factory=list)
    arriving: list[str] = field(default_factory=list)
    """Entries of the inbox that are being copied there."""


def list_below(folder: Path, *names: str) -> Listing:
    """List what is copied by itself."""
    listing = Listing()
    for name in names:
        _list_below(folder, name, listing, ())
    return listing


def list_rest(folder: Path, left_out: tuple[str, ...]) -> Listing:
    """List what is copied at the end."""
    listing = list_below(folder, NAMED_RESULTS)
    seen = None
    for _ in range(MOST_LISTINGS):
        results = _results(folder)
        if results == seen:
            break
        seen = results
    else:
        raise UpkeepError(f"Results come and go in {folder}/store all the time; try again when less is going on.")
    listing.arriving = _arriving(folder / "inbox")
    away = {*LEFT_OUT, *left_out, *RECORDS, RECEIPTS, NAMED_RESULTS, *(f"inbox/{name}" for name in listing.arriving)}
    for name in sorted(path.name for path in folder.iterdir()):
        _list_below(folder, name, listing, tuple(away), seen)
    return listing


def _results(folder: Path) -> frozenset[str]:
    """Give the results in the store as store/<task>/<key>."""
    store = folder / "store"
    if not store.is_dir():
        return frozenset()
    return frozenset(
        f"store/{task.name}/{result.name}"
        for task in os.scandir(store)
        if task.is_dir() and f"store/{task.name}" not in (*RECORDS, RECEIPTS)
        for result in os.scandir(task)
        if not result.name.startswith(".")
    )


def _arriving(inbox: Path) -> list[str]:
    """Name what may be half of a plate: once restored, it would be quiet and count as whole."""
    if not inbox.is_dir():
        return []
    return [entry.name for entry in entries(inbox) if entry.name != REJECTED and judge(entry, quiet_s()) is None]


def _list_below(
    top: Path, name: str, listing: Listing, away: tuple[str, ...], results: frozenset[str] | None = None
) -> None:
    """Add a file, or all in a folder, but what is left out and results that came since they were listed."""
    waiting = [name]
    while waiting:
        path = waiting.pop()
        if path in away or _is_left_out(path) or _came_since(path, results):
            continue
        try:
            mode = (top / path).lstat().st_mode
            if stat.S_ISLNK(mode):
                listing.links[path] = os.readlink(top / path)  # noqa: PTH115 - a Path would lose a slash at its end.
            elif stat.S_ISDIR(mode):
                inner = sorted(os.listdir(top / path))  # noqa: PTH208 - names are all that is needed.
                waiting += [f"{path}/{child}" for child in reversed(inner)]
                if not inner:
                    listing.empty_folders.append(path)
            elif stat.S_ISREG(mode):
                listing.files.append(path)
        except FileNotFoundError:
            continue


def _is_left_out(path: str) -> bool:
    parts = path.split("/")
    if parts[0] == "store":
        return len(parts) == 3 and parts[2].startswith(".") and parts[2].endswith((".lock", ".lease", ".partial"))
    if parts[0] == "tools":
        return len(parts) == 2 and not parts[1].endswith(".yaml")
    return len(parts) == 2 and parts[0] in ("airflow", "mlflow") and parts[1].endswith(OF_DATABASES)


def _came_since(path: str, results: frozenset[str] | None) -> bool:
    parts = path.split("/")
    return results is not None and parts[0] == "store" and len(parts) == 3 and path not in results


def key_of_result(path: str) -> str | None:
    """Give the folder of the result that a file belongs to, relative to the top."""
    parts = path.split("/")
    return "/".join(parts[:3]) if parts[0] == "store" and len(parts) > 3 else None


def sentences_on_left_out(listing: Listing, top: Path) -> Iterator[str]:
    """Say what somebody may miss in the backup."""
    for name in listing.arriving:
        yield f"inbox/{name} changed lately, and may have been half of a plate; back up again when it is quiet."
    for tool in sorted((top / "tools").glob("*/")):
        yield f"tools/{tool.name} is an environment; install it anew (make tool TOOL={tool.name})."
    for path, target in listing.links.items():
        if path.startswith("inbox/") and not (top / path).resolve().is_relative_to(top.resolve()):
            yield f"{path} is a link to {target}; what that leads to isn't in the backup."
