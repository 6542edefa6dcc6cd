"""Processes that were started for a person: whether they run, and how they and all that they started are ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

STOP_GRACE_S = 20
MARK = "NUCLEUS_STARTED_FOR"
"""Variable in the environment of all that the servers start; its value is the folder of their home."""


class ServersError(RuntimeError):
    """A server can't be started or stopped; the message says what to do."""


@dataclass(frozen=True)
class Server:
    """A started process; it leads a process group of its own."""

    pid: int
    started: float
    """Seconds since 1970. Another process may get the same pid later, but not with the same start."""


def started_server(pid: int) -> Server:
    """Describe a process that was just started."""
    return Server(pid, psutil.Process(pid).create_time())


def runs(server: Server) -> bool:
    """Say whether the process that was started lives; what it started may outlive it."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(server.pid)
        return abs(process.create_time() - server.started) <= 1 and _lives(process)
    return False


def stop_server(name: str, server: Server) -> None:
    """End a server and all that it started."""
    _end(name, _processes(server), lambda: os.killpg(server.pid, signal.SIGTERM))


def stop_orphans(folder: Path) -> None:
    """End what the servers of the home in this folder started, also what a dead server left behind."""
    orphans = _started_for(folder)
    _end("what the servers started", orphans, lambda: _terminate(orphans))


def _terminate(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()


def _end(name: str, processes: list[psutil.Process], ask: Callable[[], None]) -> None:
    """Ask processes to end, and kill those that don't end in time."""
    if processes:
        with suppress(ProcessLookupError):
            ask()
    left = _wait_for_end(processes, STOP_GRACE_S)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    if left := _wait_for_end(left, STOP_GRACE_S):
        raise ServersError(f"{name} can't be ended; processes left: {', '.join(str(p.pid) for p in left)}")


def _started_for(folder: Path) -> list[psutil.Process]:
    """Give the living processes with this home's mark, also those of a server that is dead."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == str(folder) and _lives(process):
                found.append(process)
    return found


def _wait_for_end(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Give the processes that still live after this time."""
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _processes(server: Server) -> list[psutil.Process]:
    """Give the living processes of a server: its process group and all descendants, tasks too."""
    with suppress(psutil.NoSuchProcess):
        if abs(psutil.Process(server.pid).create_time() - server.started) > 1:
            return []
    found = {process for member in _group(server.pid) for process in [member, *_descendants(member)]}
    return [process for process in found if _lives(process)]


def _group(leader_pid: int) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == leader_pid:
                yield process


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def _lives(process: psutil.Process) -> bool:
    # A zombie has ended; its parent just hasn't collected its status yet.
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
