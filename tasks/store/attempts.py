"""Attempts at importing a plate that ended in a crash: a plate that takes all memory would be tried for ever.

    <store>/ingest/.attempts/<hash of the path of the plate's folder>-<attempt>.lock

Whoever imports a plate holds the lock of a file. It is removed when the attempt ends in any way that a program can
tell: done, refused, an error of a server or a storage, asked to end. A file that nobody holds is of an attempt that was
killed, as for want of memory, or that ended by an error that nobody expected.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tasks.contract import NothingToDo, ServiceError
from tasks.locks import held_at_once, is_held
from tasks.nuclei.errors import InputError

MOST_CRASHES = 3
"""As many tries as Airflow makes in a DAG run."""


@contextmanager
def counted(folder: Path, store: Path) -> Iterator[None]:
    """Count an attempt at a plate's folder, and let none begin after `MOST_CRASHES` that crashed.

    Raises InputError then; afterwards the count begins anew, so that a plate that is moved back is tried again.
    """
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]
    attempts = store / "ingest" / ".attempts"
    attempts.mkdir(parents=True, exist_ok=True)
    crashed = [path for path in attempts.glob(f"{name}-*.lock") if not is_held(path)]
    if len(crashed) >= MOST_CRASHES:
        _forget(crashed)
        raise InputError(
            f"{folder}: its import crashed {len(crashed)} times, as when it takes all memory; look for an image that "
            "is far larger or packed otherwise than the others, and at the log of ingest. Correct the plate, or give "
            "the import more memory, and try again."
        )
    attempt = attempts / f"{name}-{uuid.uuid4().hex}.lock"
    with held_at_once(attempt), _forgotten_when_asked_to_end(attempt):
        try:
            yield
        except (InputError, NothingToDo, ServiceError, OSError, KeyboardInterrupt, SystemExit):
            _forget([attempt])
            raise
        _forget([attempt, *crashed])


def _forget(attempts: list[Path]) -> None:
    for path in attempts:
        path.unlink(missing_ok=True)


@contextmanager
def _forgotten_when_asked_to_end(attempt: Path) -> Iterator[None]:
    """Whoever stops the servers, or a pod for one that goes first, doesn't count as a crash."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: FrameType | None) -> None:
        _forget([attempt])
        signal.signal(number, before)
        signal.raise_signal(number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
