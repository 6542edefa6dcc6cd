"""Locks on file systems with and without `flock`, and of machines that are no more."""

import errno
import fcntl
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tasks import locks
from tasks.contract import execute
from tasks.locks import IsHeld, held, held_at_once
from tasks.store.contents import look_into
from tests.test_damaged_files import TASK, Params


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"LEASE_S": 0.6, "FRESHENED_EVERY_S": 0.1, "TOLD_EVERY_S": 0.2}.items():
        monkeypatch.setattr(locks, name, seconds)


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def without_flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


@contextmanager
def held_by_another(path: Path) -> Iterator[None]:
    """Hold a lock in another thread, as another process would."""
    has_it, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with held(path):
            has_it.set()
            may_go.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    assert has_it.wait(10)
    yield
    may_go.set()
    thread.join()


def leave_lease_of_a_dead_host(path: Path) -> None:
    with held(path):
        left = path.with_suffix(".lease").read_text()
    assert socket.gethostname() in left
    path.with_suffix(".lease").write_text(left.replace(socket.gethostname(), "dead-host"))
    path.write_text("process 7 of dead-host since 2026-11-26 12:00 UTC")


@pytest.mark.usefixtures("without_flock")
def test_without_flock_a_lock_of_a_machine_that_is_no_more_is_taken_over(tmp_path, caplog):
    lock = tmp_path / "a.lock"
    leave_lease_of_a_dead_host(lock)
    with pytest.raises(IsHeld, match="held by process 7 of dead-host since 2026-11-26 12:00 UTC"), held_at_once(lock):
        pass
    started = time.monotonic()
    with held(lock):
        assert time.monotonic() - started > locks.LEASE_S / 2
    assert "it is held by process 7 of dead-host since 2026-11-26 12:00 UTC" in caplog.text
    assert "this goes on by itself" in caplog.text


@pytest.mark.usefixtures("without_flock")
def test_without_flock_a_lock_of_who_lives_stays_its_own(tmp_path):
    with held_by_another(tmp_path / "a.lock"):
        time.sleep(3 * locks.LEASE_S)
        with pytest.raises(IsHeld), held_at_once(tmp_path / "a.lock"):
            pass
    with held_at_once(tmp_path / "a.lock"):
        pass


@pytest.mark.usefixtures("without_flock")
def test_whoever_lost_its_lock_while_it_stood_still_ends_itself(tmp_path, monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(os, "kill", lambda pid, number: ended.set() if number == signal.SIGTERM else None)
    with held(tmp_path / "a.lock"):
        (tmp_path / "a.lease").unlink()
        assert ended.wait(10)


@pytest.mark.usefixtures("without_flock")
def test_without_flock_a_task_is_done_once_and_is_busy_meanwhile(tmp_path):
    result = execute(TASK, Params(), tmp_path)
    assert execute(TASK, Params(), tmp_path).reused
    name = f"{TASK.name}/{result.key}"
    assert look_into(tmp_path).busy == set()
    with held_by_another(tmp_path / TASK.name / f".{result.key}.lock"):
        assert look_into(tmp_path).busy == {name}


def test_who_waits_for_a_lock_says_who_has_it_and_how_to_free_it(tmp_path, caplog):
    lock = tmp_path / "a.lock"

    def wait() -> None:
        with held(lock):
            pass

    waiting = threading.Thread(target=wait)
    with held_by_another(lock):
        waiting.start()
        time.sleep(2 * locks.TOLD_EVERY_S)
    waiting.join()
    assert f"it is held by process {os.getpid()} of {socket.gethostname()} since 20" in caplog.text
    assert f"If that has ended with its machine, remove {lock}." in caplog.text


def test_removing_the_lock_of_a_machine_that_is_no_more_frees_it(tmp_path):
    lock = tmp_path / "a.lock"
    with held_by_another(lock):
        lock.unlink()
        with held_at_once(lock):
            pass


def test_an_error_that_is_not_of_locks_is_none_of_theirs(tmp_path, monkeypatch):
    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output error"), held(tmp_path / "a.lock"):
        pass
