"""The inbox: which plates have arrived whole, what isn't a plate, what became of it, and where bad ones are set aside.

A plate has arrived when its plate.json is there and either a file DONE, newer than all others, or nothing of it has
changed for a while. An arrival is told by names, sizes and times of its files: corrected labels are an arrival of
their own. What isn't a plate and doesn't change is told of once in each state; nothing of it is moved. How long ago
something changed is told by the clock of the inbox's file server, which may differ from this machine's.

    inbox/<plate>/              as people or microscopes put it
    inbox/rejected/<plate>…/    set aside by `ingest_plates`, with a report in <plate>….txt
    store/arrivals/<plate>/     what became of each arrival; in .no_plates/, what was told of
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nucleus_dags.files import read_if_whole, time_at, write_whole
from nucleus_dags.plates.names import is_ignored, problem_of
from nucleus_dags.plates.no_plate import in_sentences, is_a_plates_file, why_no_plate
from nucleus_dags.plates.walk import walk

REJECTED = "rejected"
DONE = "DONE"
NO_PLATES = ".no_plates"
PATIENCE = 10
"""What isn't a plate must not change for so many times as long as a plate: plate.json may come last."""


@dataclass(frozen=True)
class Entry:
    """A file or folder in the inbox in one state of its files."""

    folder: Path
    fingerprint: str

    @property
    def name(self) -> str:
        return self.folder.name

    def record(self, store: Path) -> Path:
        """File that says what became of it; its being there means that there is nothing more to do."""
        return store / "arrivals" / self.name / f"{self.fingerprint}.json"


class Arrival(Entry):
    """A plate's folder."""


@dataclass(frozen=True)
class NoPlate(Entry):
    """What isn't a plate: a folder, a file, or a link that leads nowhere."""

    reason: str
    """Goes on after the name, and says what to do."""

    def record(self, store: Path) -> Path:
        """As that of a plate, in one folder for all: not every name can be one of the store too."""
        return store / "arrivals" / NO_PLATES / f"{self.fingerprint}.json"


def quiet_s() -> float:
    """Seconds for which a plate without DONE must not change, `NUCLEUS_INBOX_QUIET_S`."""
    return float(os.environ.get("NUCLEUS_INBOX_QUIET_S", "60"))


def entries(inbox: Path) -> list[Path]:
    """Give what lies in the inbox, but for the plates that were set aside, what is hidden and what systems leave."""
    found = [path for path in sorted(inbox.iterdir()) if not is_ignored(path.name)]
    return [path for path in found if path.name != REJECTED or not path.is_dir()]


def judge(entry: Path, quiet_for_s: float) -> Arrival | NoPlate | None:
    """Say of an entry whether it is a plate that has arrived whole or isn't a plate; None while it may become one."""
    try:
        if entry.name == REJECTED:
            return _for_reason(entry, "is where faulty plates are set aside, and must be a folder; rename it")
        if problem_of(entry.name) or not _may_be_plate(entry):
            return _no_plate(entry, PATIENCE * quiet_for_s)
        return look_at(entry, quiet_for_s)
    except FileNotFoundError:  # Something is moved or written at this moment.
        return None
    except OSError as error:
        who = f"user {os.geteuid()}"
        return _for_reason(entry, f"can't be read by {who} ({error.strerror}); correct its rights, or copy it anew")


def look_at(folder: Path, quiet_for_s: float) -> Arrival | None:
    """Give the plate of a folder if all of it has arrived. One that may not be read has: ingest says so."""
    try:
        if not is_a_plates_file(folder):
            return None
        files = sorted(_files(folder))
    except FileNotFoundError:
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
    if not is_done and time_at(folder.parent) - last_change < quiet_for_s:
        return None
    return Arrival(folder, _digest([file[:3] for file in files]))


def new_entries(inbox: Path, store: Path, quiet_for_s: float) -> list[Arrival | NoPlate]:
    """Give all plates that have arrived whole, and all that isn't a plate, of which nothing has become yet."""
    found = [judge(entry, quiet_for_s) for entry in entries(inbox)]
    return [entry for entry in found if entry and not entry.record(store).exists()]


def no_plates_in(folder: Path, known: Container[str]) -> list[str]:
    """Say of what lies in a folder such as the inbox why it isn't a plate, also if it may become one yet.

    Entries of names that are known don't count.
    """
    judged = [judge(entry, 0) for entry in entries(folder) if entry.name not in known]
    return in_sentences((entry.name, entry.reason) for entry in judged if isinstance(entry, NoPlate))


def record(entry: Entry, store: Path, **outcome: Any) -> None:
    write_record(entry.record(store), **outcome)


def write_record(path: Path, **outcome: Any) -> None:
    write_whole(path, outcome)


def announced_plates(store: Path) -> set[str]:
    """Give the imported plates that earlier arrivals were, by their paths in the store."""
    records = store.glob("arrivals/[!.]*/*.json")
    return {plate for path in records if (plate := (read_if_whole(path) or {}).get("plate"))}


def is_as_found(arrival: Arrival) -> bool:
    """Whether a plate is still in the inbox, and in the state in which it was found."""
    return judge(arrival.folder, 0) == arrival


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


def _may_be_plate(entry: Path) -> bool:
    """Whether it is a folder with plate.json, or one in which that can't be seen."""
    if not entry.is_dir():
        return False
    try:
        return is_a_plates_file(entry)
    except PermissionError:
        return True


def _no_plate(entry: Path, quiet_for_s: float) -> NoPlate | None:
    """Give an entry that isn't a plate, or None if something of it has changed lately."""
    known, now = [], time_at(entry.parent)
    for name, size, modified, changed in _of_entry(entry):
        # During a copy nearly every file is new, so that little of a large folder is looked at.
        if now - changed < quiet_for_s:
            return None
        known.append((name, size, modified))
    return NoPlate(entry, _digest([entry.name, *sorted(known)]), why_no_plate(entry))


def _for_reason(entry: Path, reason: str) -> NoPlate:
    """Give an entry whose files can't be told; it is told of again when the reason is another one."""
    return NoPlate(entry, _digest([entry.name, reason]), reason)


def _of_entry(entry: Path) -> Iterator[tuple[str, int, int, float]]:
    """As `_files`, of a file as well, and with folders by their names, so that one without files counts too."""
    status = entry.lstat()
    if not entry.is_dir():
        yield "", status.st_size, status.st_mtime_ns, status.st_ctime
        return
    yield "", 0, 0, status.st_ctime
    yield from _files(entry, with_folders=True)


def _files(folder: Path, with_folders: bool = False) -> Iterator[tuple[str, int, int, float]]:
    """Path relative to the folder, size, time of modification in ns, time of the last change of any kind in s."""
    for here, _, names in walk(folder):
        if with_folders:
            yield f"{here.relative_to(folder).as_posix()}/", 0, 0, here.stat().st_ctime
        for path in (here / name for name in names):
            # Of a link that leads nowhere, or out of the plate to a folder, the link counts.
            status = path.stat() if path.exists() and not path.is_dir() else path.lstat()
            # A copy may have the time of modification of its original, or one of a clock that is ahead.
            yield path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns, status.st_ctime


def _digest(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
