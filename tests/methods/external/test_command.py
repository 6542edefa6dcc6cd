"""What becomes of a third-party tool when its task ends in another way than by itself."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tasks.methods.external.command import run_command
from tasks.nuclei.errors import InputError
from tests.repository import REPOSITORY

TOOL = "trap '' TERM; sleep 100 & echo works; exec sleep 100"
"""Has another process, and both don't end when they are asked to."""
TASK = f"""
import logging
from tasks.methods.external import command
logging.basicConfig(level="INFO", format="%(message)s")
command.run_command(["sh", "-c", {TOOL!r}], {{}}, "tool")
"""


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_tool_ends_with_all_that_it_started_when_its_task_is_killed(sent: signal.Signals, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        task = subprocess.Popen([sys.executable, "-c", TASK], cwd=REPOSITORY, stderr=log)
    while b"tool: works" not in (tmp_path / "log").read_bytes():
        assert task.poll() is None
        time.sleep(0.1)
    started = psutil.Process(task.pid).children(recursive=True)
    assert len(started) >= 2
    task.send_signal(sent)
    task.wait()
    _, alive = psutil.wait_procs(started, timeout=30)
    for process in alive:
        process.kill()
    assert alive == []


def test_a_tool_that_was_killed_itself_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InputError, match="tool ended with status 137; its last lines: works"):
        run_command(["sh", "-c", "echo works; kill -KILL $$"], {}, "tool")
