"""What lies in the inbox and isn't a plate of the store: on its way, not a plate, or set aside as faulty."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from nucleus_dags.files import read_if_whole
from nucleus_dags.plates import inbox as inboxes
from nucleus_dags.plates.inbox import NoPlate, Returned
from nucleus_dags.plates.names import shown

MOST_REJECTED = 100
MOST_OF_A_REPORT = 20_000
"""Characters."""
_SET_ASIDE = re.compile(r"(?P<name>.+)-(?P<at>\d{8}-\d{6})(?:\.\w+)*")


class Waiting(NamedTuple):
    """An entry of the inbox that isn't imported."""

    name: str
    state: str
    """A few words."""
    reason: str
    """A sentence."""
    needs_a_person: bool


class Rejected(NamedTuple):
    """A plate that was set aside as faulty."""

    name: str
    folder: str
    """In inbox/rejected/."""
    at: datetime
    report: str
    imported_since: bool
    """Whether a plate of its name arrived whole and was imported later."""


def waiting(inbox: Path, store: Path) -> list[Waiting]:
    """Give what lies in the inbox and isn't imported, by name."""
    quiet_s = inboxes.quiet_s()
    return [found for entry in inboxes.entries(inbox) if (found := _judged(entry, store, quiet_s))]


def rejected(inbox: Path, store: Path) -> list[Rejected]:
    """Give what was set aside, the latest first."""
    folder = inbox / inboxes.REJECTED
    reports = folder.glob("*.txt") if folder.is_dir() else iter(())
    return sorted(_rejected_by(reports, store), key=lambda one: one.at, reverse=True)[:MOST_REJECTED]


def _judged(entry: Path, store: Path, quiet_s: float) -> Waiting | None:
    found = inboxes.judge(entry, quiet_s)
    name = shown(entry.name)
    if found is None:
        reason = "Something of it is missing, or has changed lately; it is looked at again when it doesn't change."
        return Waiting(name, "being copied", reason, False)
    if isinstance(found, NoPlate):
        return Waiting(name, "not a plate", f"It {found.reason}.", True)
    record = read_if_whole(found.record(store))
    if record is None:
        what = "These are corrected labels" if isinstance(found, Returned) else "It is whole"
        return Waiting(name, "waiting", f"{what}; the next run of ingest_plates takes it in.", False)
    if refused := record.get("refused"):
        return Waiting(name, "refused", f"{refused} It couldn't be moved to rejected/.", True)
    return None


def _rejected_by(reports: Iterator[Path], store: Path) -> Iterator[Rejected]:
    for report in reports:
        found = _SET_ASIDE.fullmatch(report.stem)
        if found is None:
            continue
        at = datetime.strptime(found["at"], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
        with report.open(errors="replace") as file:
            text = file.read(MOST_OF_A_REPORT)
        reason = text.partition("\n\nWhat came is ")[0].strip()
        since = _imported_since(found["name"], at, store)
        yield Rejected(shown(found["name"]), shown(report.stem), at, reason, since)


def _imported_since(name: str, at: datetime, store: Path) -> bool:
    records = (store / "arrivals" / name).glob("*.json")
    later = (path for path in records if path.stat().st_mtime > at.timestamp())
    return any("plate" in (read_if_whole(path) or {}) for path in later)
