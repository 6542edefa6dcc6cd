"""The inbox: which plates have arrived whole, what became of them, and where bad ones are set aside.

A plate has arrived when its plate.json is there and either a file DONE, newer than all others, or nothing of it has
changed for a while. An arrival is told by names, sizes and times of its files: corrected labels are an arrival of
their own.

    inbox/<plate>/              as people or microscopes put it
    inbox/rejected/<plate>…/    set aside by `ingest_plates`, with a report in <plate>….txt
    store/arrivals/<plate>/     what became of each arrival
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REJECTED = "rejected"
DONE = "DONE"


@dataclass(frozen=True)
class Arrival:
    """A plate's folder in the inbox in one state of its files."""

    folder: Path
    fingerprint: str

    @property
    def name(self) -> str:
        return self.folder.name

    def record(self, store: Path) -> Path:
        """File that says what became of it; its being there means that there is nothing more to do."""
        return store / "arrivals" / self.name / f"{self.fingerprint}.json"


def quiet_s() -> float:
    """Seconds for which a plate without DONE must not change, `NUCLEUS_INBOX_QUIET_S`."""
    return float(os.environ.get("NUCLEUS_INBOX_QUIET_S", "60"))


def folders(inbox: Path) -> list[Path]:
    """Folders in which a plate is or may become whole."""
    return [path for path in sorted(inbox.iterdir()) if path.is_dir() and path.name != REJECTED]


def look_at(folder: Path, quiet_for_s: float) -> Arrival | None:
    """Give the plate of a folder if all of it has arrived. One that may not be read has: ingest says so."""
    try:
        if not (folder / "plate.json").exists():
            return None
        files = sorted(_files(folder))
    except FileNotFoundError:  # Something is moved or written at this moment.
        return None
    except PermissionError:
        status = folder.stat()
        files = [("", 0, status.st_ctime_ns, status.st_ctime)]
    if not files:  # It is being moved away.
        return None
    changed_at = {name: last for name, *_, last in files}
    last_change = max(changed_at.values())
    # A DONE that is older than another file is of an earlier copy.
    is_done = changed_at.get(DONE) == last_change
    if not is_done and time.time() - last_change < quiet_for_s:
        return None
    known = [(name, size, modified) for name, size, modified, _ in files]
    return Arrival(folder, hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16])


def new_arrivals(inbox: Path, store: Path, quiet_for_s: float) -> list[Arrival]:
    """Give all plates that have arrived whole and of which nothing has become yet."""
    found = [look_at(folder, quiet_for_s) for folder in folders(inbox)]
    return [arrival for arrival in found if arrival and not arrival.record(store).exists()]


def record(arrival: Arrival, store: Path, **outcome: Any) -> None:
    path = arrival.record(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".partial")
    beside.write_text(json.dumps(outcome))
    beside.replace(path)


def was_announced(plate: str, store: Path) -> bool:
    """Whether an earlier arrival was this very imported plate, given by its path in the store."""
    records = store.glob("arrivals/*/*.json")
    return any(json.loads(path.read_text()).get("plate") == plate for path in records)


def is_as_found(arrival: Arrival) -> bool:
    """Whether a plate is still in the inbox, and in the state in which it was found."""
    return look_at(arrival.folder, 0) == arrival


def set_aside(arrival: Arrival, store: Path, reason: str) -> Path:
    """Move a plate into inbox/rejected and write the reason beside; gives the file with the reason.

    A plate that may not be moved, as that of another user, stays where it is and counts as handled until it changes.
    """
    rejected = arrival.folder.parent / REJECTED
    rejected.mkdir(exist_ok=True)
    target = rejected / f"{arrival.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    report = target.with_name(f"{target.name}.txt")
    where = f"{target.name}/ (or still in the inbox, where it may not be moved)"
    report.write_text(
        f"{reason}\n\nThe plate is in {where}. Correct it and move it back into the inbox, as {arrival.name}/.\n"
    )
    try:
        arrival.folder.rename(target)
    except PermissionError:
        record(arrival, store, refused=reason)
    return report


def _files(folder: Path) -> Iterator[tuple[str, int, int, float]]:
    """Path relative to the folder, size, time of modification in ns, time of the last change of any kind in s."""
    for path in folder.rglob("*"):
        if path.is_file():
            status = path.stat()
            # A copy may have the time of modification of its original, or one of a clock that is ahead.
            yield path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns, status.st_ctime
