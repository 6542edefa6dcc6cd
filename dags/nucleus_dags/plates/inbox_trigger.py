"""Tells Airflow of plates and corrected labels in the inbox, and of what is neither; runs in the triggerer.

On network file systems, where changes made elsewhere aren't told, WATCHFILES_FORCE_POLLING=true in the environment of
the triggerer makes the library look by itself, every WATCHFILES_POLL_DELAY_MS.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from nucleus_dags.files import CLOCK
from nucleus_dags.plates.inbox import Arrival, NoPlate, Returned, entries, judge
from nucleus_dags.plates.no_plate import listed

LOOK_AGAIN_S = 5.0

log = logging.getLogger(__name__)


class InboxTrigger(BaseEventTrigger):
    """An event for all that has arrived whole and of which nothing has become yet.

    One event tells of all at once that aren't plates: somebody may have put ten thousand images there.
    """

    def __init__(self, inbox: str, store: str, quiet_for_s: float) -> None:
        super().__init__()
        self.inbox, self.store, self.quiet_for_s = inbox, store, quiet_for_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        settings = {"inbox": self.inbox, "store": self.store, "quiet_for_s": self.quiet_for_s}
        return "nucleus_dags.plates.inbox_trigger.InboxTrigger", settings

    async def run(self) -> AsyncGenerator[TriggerEvent]:
        inbox = Path(self.inbox)
        inbox.mkdir(parents=True, exist_ok=True)
        pending = set(entries(inbox))
        async for changed in self._changes(inbox):
            pending = (pending | changed) & set(entries(inbox))
            judged = await asyncio.to_thread(self._judge, pending)
            pending -= {entry.folder for entry in judged}
            new = [entry for entry in judged if not entry.record(Path(self.store)).exists()]
            for arrival in (entry for entry in new if isinstance(entry, Arrival | Returned)):
                yield TriggerEvent({"folder": arrival.name, "fingerprint": arrival.fingerprint})
            no_plates = [entry for entry in new if isinstance(entry, NoPlate)]
            if no_plates:
                yield TriggerEvent({"no_plates": listed([entry.name for entry in no_plates])})

    async def _changes(self, inbox: Path) -> AsyncGenerator[set[Path]]:
        """Give the entries in which something has changed, again and again, and none after a while without a change.

        The library ends at a folder that may not be read, at a name that isn't UTF-8, and at more folders than the
        system watches. Then all entries are given.
        """
        from watchfiles import awatch

        look_again_s = min(LOOK_AGAIN_S, max(self.quiet_for_s, 0.2))
        options = {"watch_filter": _is_no_clock, "rust_timeout": int(1000 * look_again_s), "yield_on_timeout": True}
        while True:
            try:
                async for changes in awatch(inbox, **options):  # type: ignore[arg-type]
                    yield {inbox / Path(path).relative_to(inbox).parts[0] for _, path in changes if Path(path) != inbox}
            except (OSError, RuntimeError, ExceptionGroup) as error:
                log.warning("The inbox can't be watched, so it is looked at every %g s: %r", look_again_s, error)
            yield set(entries(inbox))
            await asyncio.sleep(look_again_s)

    def _judge(self, pending: set[Path]) -> list[Arrival | Returned | NoPlate]:
        return [judged for entry in sorted(pending) if (judged := judge(entry, self.quiet_for_s))]


def _is_no_clock(_change: Any, path: str) -> bool:
    """Whether a change is one of the inbox itself: looking at its clock changes it too, and must not lead to a look."""
    return not Path(path).name.startswith(CLOCK)
