"""The inbox: which plates have arrived whole, what isn't a plate, what became of it, and where bad ones are set aside.

Labels that were sent to annotation come back the same way: see `returned.py`.

A plate has arrived when its plate.json is there and either a file DONE, newer than all others, or nothing of it has
changed for a while. An arrival is told by names, sizes and times of its files: corrected labels are an arrival of
their own. What isn't a plate and doesn't change is told of once in each state; nothing of it is moved. How long ago
something changed is told by the clock of the inbox's file server, which may differ from this machine's.

    inbox/<plate>/              as people or microscopes put it
    inbox/rejected/<plate>…/    set aside by `ingest_plates`, with a report in <plate>….txt
    inbox/to_annotate/          what `send_to_annotation` wrote, to be fetched by people
    store/arrivals/<plate>/     what became of each arrival; in .no_plates/, what was told of; in .returned/, of labels
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

from nucleus_dags.files import make_folder, move, read_if_whole, time_at, write_text_whole, write_whole
from nucleus_dags.plates.names import is_ignored, problem_of
from nucleus_dags.plates.no_plate import in_sentences, is_a_plates_file, why_no_plate
from nucleus_dags.plates.returned import request_in
from nucleus_dags.plates.walk import walk

REJECTED, TO_ANNOTATE = "rejected", "to_annotate"
DONE = "DONE"
NO_PLATES, RETURNED = ".no_plates", ".returned"
_OWN_FOLDERS = {REJECTED: "faulty plates are set aside", TO_ANNOTATE: "plates to annotate are fetched"}
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
class Returned(Entry):
    """Corrected labels: a file, an archive or a folder that a person exported from an annotation tool."""

    request: str
    """Key of the result of `send_to_annotation` that it is an answer to."""

    def record(self, store: Path) -> Path:
        return store / "arrivals" / RETURNED / f"{self.fingerprint}.json"


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
    """Give what people put into the inbox: not the pipeline's own folders, what is hidden and what systems leave."""
    found = [path for path in sorted(inbox.iterdir()) if not is_ignored(path.name)]
    return [path for path in found if path.name not in _OWN_FOLDERS or not path.is_dir()]


def judge(entry: Path, quiet_for_s: float) -> Arrival | Returned | NoPlate | None:
    """Say of an entry what it is: a plate or corrected labels that have arrived whole, or neither of both.

    None while it may still become one.
    """
    try:
        if entry.name in _OWN_FOLDERS:
            return _for_reason(entry, f"is where {_OWN_FOLDERS[entry.name]}, and must be a folder; rename it")
        if problem_of(entry.name) or not _may_be_plate(entry):
            return _returned(entry, quiet_for_s) or _no_plate(entry, PATIENCE * quiet_for_s)
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


def new_entries(inbox: Path, store: Path, quiet_for_s: float) -> list[Arrival | Returned | NoPlate]:
    """Give all that has arrived whole, and all that is neither a plate nor labels, of which nothing has become yet."""
    found = [judge(entry, quiet_for_s) for entry in entries(inbox)]
    return [entry for entry in found if entry and not entry.record(store).exists()]


def no_plates_in(folder: Path, known: Container[str]) -> list[str]:
    """Say of what lies in a folder such as the inbox why it isn't a plate, also if it may become one yet.

    Entries of names that are known don't count.
    """
    judged = [judge(entry, 0) for entry in entries(folder) if entry.name not in known]
    return in_sentences((entry.name, entry.reason) for entry in judged if isinstance(entry, NoPlate))


def record(entry: Entry, store: Path, **outcome: Any) -> None:
    """Remember what became of an entry, so that it isn't handled again."""
    write_record(entry.record(store), **outcome)


def write_record(path: Path, **outcome: Any) -> None:
    write_whole(path, outcome)


def announced_plates(store: Path) -> set[str]:
    """Give the imported plates that earlier arrivals were, by their paths in the store."""
    records = store.glob("arrivals/[!.]*/*.json")
    return {plate for path in records if (plate := (read_if_whole(path) or {}).get("plate"))}


def is_as_found(arrival: Arrival | Returned) -> bool:
    """Whether an arrival is still in the inbox, and in the state in which it was found."""
    return judge(arrival.folder, 0) == arrival


def outcome_of_labels(entry: Path, store: Path) -> dict[str, Any] | None:
    """Give what became of corrected labels in the state in which they lie in the inbox; None if nothing has yet."""
    return read_if_whole(Returned(entry, _state(entry, 0) or "", "").record(store))


def set_aside(arrival: Arrival | Returned, store: Path, reason: str) -> Path:
    """Move an arrival into inbox/rejected and write the reason beside; gives the file with the reason.

    One that may not be moved, as that of another user, stays where it is and counts as handled until it changes.
    """
    rejected = arrival.folder.parent / REJECTED
    make_folder(rejected)
    ending = "" if arrival.folder.is_dir() else arrival.folder.suffix
    target = rejected / f"{arrival.name.removesuffix(ending)}-{datetime.now(UTC):%Y%m%d-%H%M%S}{ending}"
    report = target.with_name(f"{target.name}.txt")
    slash = "/" if arrival.folder.is_dir() else ""
    where = f"{target.name}{slash} (or still in the inbox, where it may not be moved)"
    write_text_whole(
        report,
        f"{reason}\n\nWhat came is {where}. Correct it and move it back into the inbox, as {arrival.name}{slash}.\n",
    )
    try:
        move(arrival.folder, target)
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
    state = _state(entry, quiet_for_s)
    return NoPlate(entry, state, why_no_plate(entry)) if state else None


def _returned(entry: Path, quiet_for_s: float) -> Returned | None:
    """Give an entry that is an answer to a request for annotation, or None if it isn't one or has changed lately."""
    state = _state(entry, quiet_for_s)
    request = request_in(entry) if state else None
    return Returned(entry, state, request) if state and request else None


def _state(entry: Path, quiet_for_s: float) -> str | None:
    """Give the fingerprint of an entry, or None if something of it has changed lately."""
    known, now = [], time_at(entry.parent)
    for name, size, modified, changed in _of_entry(entry):
        # During a copy nearly every file is new, so that little of a large folder is looked at.
        if now - changed < quiet_for_s:
            return None
        known.append((name, size, modified))
    return _digest([entry.name, *sorted(known)])


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
