"""Locks that hold among processes and among the machines that share a store.

Where the file system has `flock`, the system frees a lock when its process ends. Some Lustre and NFS have none. There
the holder keeps a file fresh instead, and one that hasn't been fresh for a while may be taken over: its process ended,
or its machine did. A holder that was stopped for so long, and finds its lock taken, ends itself.

No clocks are compared, since those of machines and file servers differ: whoever waits measures by its own.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import filelock

LEASE_S, FRESHENED_EVERY_S = 300.0, 20.0
"""How long a file that isn't freshened still counts. A library that computes may keep threads waiting for a minute."""
TOLD_EVERY_S = 60.0
WITHOUT_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP)

log = logging.getLogger("nucleus")


class IsHeld(Exception):
    """Somebody else has the lock."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Wait for a lock and hold it; while it waits, the log says who has it, and what to do if nobody has."""
    lock, started = _lock_at(path), time.monotonic()
    while not _acquired(lock, TOLD_EVERY_S):
        waited = time.monotonic() - started
        log.warning("%s: waited for %.0f s; it is held by %s. %s", path, waited, _holder(path), _if_nobody_has(lock))
    try:
        path.write_text(f"process {os.getpid()} of {socket.gethostname()} since {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
        yield
    finally:
        lock.release()


@contextmanager
def held_at_once(path: Path) -> Iterator[None]:
    """Hold a lock that nobody has; raises IsHeld otherwise."""
    lock = _lock_at(path)
    if not _acquired(lock, 0):
        raise IsHeld(f"{path} is held by {_holder(path)}")
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether somebody has a lock, or had it when its file was seen; never makes the file again, as taking it would."""
    if path.with_suffix(".lease").exists():
        return True
    try:
        with path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except (FileNotFoundError, BlockingIOError):
        return True


def _lock_at(path: Path) -> filelock.BaseFileLock:
    lock = filelock.FileLock(path, fallback_to_soft=False)
    try:
        if _acquired(lock, 0):
            lock.release()
    except OSError as error:
        if error.errno not in WITHOUT_FLOCK:
            raise
        return filelock.SoftFileLease(
            path.with_suffix(".lease"),
            lease_duration=LEASE_S,
            heartbeat_interval=FRESHENED_EVERY_S,
            on_compromise=_end_this_process,
        )
    return lock


def _acquired(lock: filelock.BaseFileLock, timeout_s: float) -> bool:
    try:
        lock.acquire(timeout=timeout_s)
    except filelock.Timeout:
        return False
    return True


def _holder(path: Path) -> str:
    """Say who has a lock; the file may be that of an earlier version, which wrote nothing."""
    try:
        return path.read_text() or "an unknown process"
    except OSError:
        return "an unknown process"


def _if_nobody_has(lock: filelock.BaseFileLock) -> str:
    if isinstance(lock, filelock.SoftFileLease):
        return f"If that has ended, this goes on by itself after {LEASE_S / 60:.0f} min."
    return f"If that has ended with its machine, remove {lock.lock_file}."


def _end_this_process(lost: filelock.LeaseCompromise) -> None:
    log.error("%s: another process may have it, since this one or the storage stood still; ending", lost.lock_file)
    os.kill(os.getpid(), signal.SIGTERM)
