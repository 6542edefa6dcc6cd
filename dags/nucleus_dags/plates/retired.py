"""Plates that a person has retired: no model is trained or judged on them any more, and nothing of them is removed.

Every change is a file under `retired/<plate>/` of the store, numbered, which is never written again; the newest counts,
for all versions of the plate. Where that one can't be read, no training begins: it could use what somebody withdrew.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from nucleus_dags.errors import FormError
from nucleus_dags.files import write_whole


@dataclass(frozen=True)
class RetirementChange:
    """What a file of `retired/<plate>/` says."""

    is_retired: bool
    """False where it was brought back."""
    changed_at: str
    """UTC, ISO 8601."""
    changed_by: str
    reason: str
    dag_run_id: str
    """The run of `retire_plate`."""

    @property
    def in_words(self) -> str:
        """Say who did what when and why, without the plate's name."""
        when = datetime.fromisoformat(self.changed_at).strftime("%Y-%m-%d %H:%M UTC")
        return f"{'retired' if self.is_retired else 'brought back'} by {self.changed_by} on {when}: {self.reason}"


def last_change(store: Path, plate: str) -> RetirementChange | None:
    """Give the change of a plate that counts; None if there was none. Raises FormError if it is damaged."""
    path = _newest(store, plate)
    if path is None:
        return None
    try:
        change = RetirementChange(**json.loads(path.read_text()))
        datetime.fromisoformat(change.changed_at)
        if not isinstance(change.is_retired, bool):
            raise ValueError(f"is_retired is {change.is_retired!r}")
    except (OSError, ValueError, TypeError) as error:
        raise FormError(
            f"Whether {plate} is retired can't be read. {path.relative_to(store)} in the store is damaged, or was "
            f"changed by hand: {error}. Restore it from a backup, or retire the plate or bring it back once more."
        ) from error
    return change


def retired_plates(store: Path) -> dict[str, RetirementChange]:
    """Give what retired each plate that is retired, by name. Raises FormError if that of any plate is damaged."""
    changes = {name: last_change(store, name) for name in changed_plates(store)}
    return {name: change for name, change in changes.items() if change and change.is_retired}


def changed_plates(store: Path) -> list[str]:
    """Give the names of the plates that were retired once."""
    return sorted(folder.name for folder in (store / "retired").glob("[!.]*"))


def write_change(store: Path, plate: str, change: RetirementChange) -> RetirementChange:
    """Retire a plate or bring it back; gives what was written down.

    Asked again by the same DAG run, nothing is changed twice. Raises FormError if the plate is so already.
    """
    newest = _newest(store, plate)
    try:
        last = last_change(store, plate)
        is_known = True
    except FormError:
        last, is_known = None, False
    if last and last.dag_run_id == change.dag_run_id:
        return last
    if is_known and change.is_retired == bool(last and last.is_retired):
        raise FormError(f"{plate} was {last.in_words}" if last else f"{plate} isn't retired.")
    number = int(newest.stem) + 1 if newest else 1
    write_whole(store / "retired" / plate / f"{number:06}.json", asdict(change))
    return change


def _newest(store: Path, plate: str) -> Path | None:
    return max((store / "retired" / plate).glob("*.json"), default=None)
