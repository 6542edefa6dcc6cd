"""Imports that crash are counted, and end after some."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.contract import BAD_INPUT, DONE, ServiceError
from tasks.nuclei.errors import InputError
from tasks.steps import ingest
from tasks.store.attempts import MOST_CRASHES, counted
from tests.steps.ingesting import one_field


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    return one_field(tmp_path / "plate", role="screen")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def in_a_process(work: Callable[[], object]) -> int:
    """Do the work in a copy of this process; gives the signal that ended it, or 0."""
    if (pid := os.fork()) == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.WTERMSIG(os.waitpid(pid, 0)[1])


def ended_by(number: signal.Signals, plate: Path, store: Path) -> int:
    def work() -> None:
        with counted(plate, store):
            os.kill(os.getpid(), number)

    return in_a_process(work)


def call(plate: Path, store: Path) -> int:
    return ingest.TASK.main(["--params", json.dumps({"folder": str(plate)}), "--store", str(store)])


def test_a_plate_whose_import_was_killed_three_times_is_refused_with_what_to_do_then_tried_anew(
    plate: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def take_all_memory(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patched:
        patched.setattr(ingest, "open_arrival", take_all_memory)
        for _ in range(MOST_CRASHES):
            assert in_a_process(lambda: call(plate, store)) == signal.SIGKILL
    other = one_field(tmp_path / "other", role="screen")
    assert call(other, store) == DONE
    assert call(plate, store) == BAD_INPUT
    assert f"{plate}: its import crashed 3 times, as when it takes all memory; look for an image" in caplog.text
    assert call(plate, store) == DONE


def test_an_error_that_nobody_expected_counts_as_a_crash(plate: Path, store: Path) -> None:
    for _ in range(MOST_CRASHES):
        with pytest.raises(MemoryError), counted(plate, store):
            raise MemoryError
    with pytest.raises(InputError, match="crashed 3 times"), counted(plate, store):
        pass


@pytest.mark.parametrize("error", [InputError("bad"), ServiceError("away"), OSError(5, "away"), SystemExit(1)])
def test_an_attempt_that_says_how_it_ended_does_not_count(error: BaseException, plate: Path, store: Path) -> None:
    for _ in range(MOST_CRASHES + 1):
        with pytest.raises(type(error), match=r".|^$"), counted(plate, store):
            raise error


def test_being_asked_to_end_does_not_count_and_ends_the_process(plate: Path, store: Path) -> None:
    for _ in range(MOST_CRASHES + 1):
        assert ended_by(signal.SIGTERM, plate, store) == signal.SIGTERM


def test_an_import_that_succeeds_begins_the_count_anew(plate: Path, store: Path) -> None:
    for _ in range(2):
        for _ in range(MOST_CRASHES - 1):
            ended_by(signal.SIGKILL, plate, store)
        with counted(plate, store):
            pass


def test_imports_that_run_side_by_side_are_no_crashes(plate: Path, store: Path) -> None:
    def side_by_side(others: int) -> None:
        with counted(plate, store):
            if others:
                side_by_side(others - 1)

    side_by_side(MOST_CRASHES)
