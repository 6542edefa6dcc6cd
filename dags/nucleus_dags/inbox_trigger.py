"""Tells Airflow of plates that have arrived in the inbox; runs in the triggerer.

On network file systems, where changes made elsewhere aren't told, WATCHFILES_FORCE_POLLING=true in the environment of
the triggerer makes the library look by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from nucleus_dags.inbox import Arrival, folders, look_at

LOOK_AGAIN_S = 5.0


class InboxTrigger(BaseEventTrigger):
    """An event for every plate that has arrived whole and of which nothing has become yet."""

    def __init__(self, inbox: str, store: str, quiet_for_s: float) -> None:
        super().__init__()
        self.inbox, self.store, self.quiet_for_s = inbox, store, quiet_for_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        settings = {"inbox": self.inbox, "store": self.store, "quiet_for_s": self.quiet_for_s}
        return "nucleus_dags.inbox_trigger.InboxTrigger", settings

    async def run(self) -> AsyncGenerator[TriggerEvent]:
        from watchfiles import awatch

        inbox = Path(self.inbox)
        inbox.mkdir(parents=True, exist_ok=True)
        pending = set(folders(inbox))
        look_again_ms = int(1000 * min(LOOK_AGAIN_S, max(self.quiet_for_s, 0.2)))
        async for changes in awatch(inbox, watch_filter=None, rust_timeout=look_again_ms, yield_on_timeout=True):
            pending |= {inbox / Path(path).relative_to(inbox).parts[0] for _, path in changes if Path(path) != inbox}
            arrivals = await asyncio.to_thread(self._look_at, pending)
            pending -= {arrival.folder for arrival in arrivals}
            pending = {folder for folder in pending if folder.is_dir()}
            for arrival in arrivals:
                if not arrival.record(Path(self.store)).exists():
                    yield TriggerEvent({"folder": arrival.name, "fingerprint": arrival.fingerprint})

    def _look_at(self, pending: set[Path]) -> list[Arrival]:
        of_interest = [folder for folder in folders(Path(self.inbox)) if folder in pending]
        return [arrival for folder in of_interest if (arrival := look_at(folder, self.quiet_for_s))]
