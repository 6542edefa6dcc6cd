"""Minutes of work from the times at which Supervisely says that objects were created and changed.

A nucleus took the time since the same author's change before. A longer break is no work, and of the first change it
isn't known how long it took: these have no minutes. Neither have nuclei that nobody changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from tasks.annotation.sheet import Sheet

LONGEST_MINUTES = 5.0
"""For one nucleus; by hand the paper took half a minute."""


LEAST_SINCE_IMPORT = timedelta(seconds=1)
"""What is changed sooner after it was created was imported and nothing else."""


class _Change(NamedTuple):
    time: datetime
    sheet: int
    position: int


def with_minutes(sheets: Sequence[Sheet], objects: Sequence[Sequence[Mapping[str, Any]]]) -> list[Sheet]:
    """Give the sheets with the minutes of their nuclei; `objects` are those of the file, in the same order."""
    changes: dict[Any, list[_Change]] = defaultdict(list)
    for number, of_sheet in enumerate(objects):
        for position, content in enumerate(of_sheet):
            time = _time_of_change(content, was_sent=sheets[number].nuclei[position].sent_id is not None)
            if time is not None:
                changes[content.get("labelerLogin")].append(_Change(time, number, position))
    minutes: dict[tuple[int, int], float] = {}
    for of_author in changes.values():
        for before, change in pairwise(sorted(of_author)):
            taken = (change.time - before.time).total_seconds() / 60
            if taken <= LONGEST_MINUTES:
                minutes[change.sheet, change.position] = taken
    return [
        replace(
            sheet,
            nuclei=tuple(
                replace(nucleus, minutes=minutes.get((number, position)))
                for position, nucleus in enumerate(sheet.nuclei)
            ),
        )
        for number, sheet in enumerate(sheets)
    ]


def _time_of_change(content: Mapping[str, Any], was_sent: bool) -> datetime | None:
    """Give when an annotator drew or changed an object last; None if it is as it was sent."""
    created, updated = (_time(content.get(key)) for key in ("createdAt", "updatedAt"))
    if updated is None or (was_sent and (created is None or updated - created < LEAST_SINCE_IMPORT)):
        return None
    return updated


def _time(text: Any) -> datetime | None:
    try:
        time = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
