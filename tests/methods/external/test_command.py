"""What a third-party tool may change, and what becomes of it when its task ends in another way than by itself."""

import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from landlock import LandlockError
from landlock.plumbing import landlock_abi_version

from tasks.methods.external import command
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


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A folder of the tool's own, those for its temporary files and cache, and the store, which it may not change."""
    folders = {name: tmp_path / name for name in ("own", "temporary", "cache", "store")}
    for folder in folders.values():
        folder.mkdir()
    (folders["store"] / "labels.tif").write_text("labels")
    monkeypatch.setenv("TMPDIR", str(folders["temporary"]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(folders["cache"]))
    return folders


@pytest.mark.parametrize("where", ["own", "temporary", "cache"])
def test_a_tool_writes_to_its_own_folders(places: dict[str, Path], where: str) -> None:
    work = f"cd {places[where]} && mkdir a && echo 1 > a/b && mv a/b c && rm -r a && echo 2 > /dev/null"
    run_command(["sh", "-c", work], {}, "tool", writes=[places["own"]])
    assert [path.name for path in places[where].iterdir()] == ["c"]


@pytest.mark.parametrize(
    "change",
    [
        *("echo 1 > {store}/new", "echo 1 > {store}/labels.tif", "rm {store}/labels.tif", "mkdir {store}/new"),
        *("mv {store}/labels.tif {own}", "ln -s /etc {store}/link", "ln {store}/labels.tif {own}/link"),
        *("truncate -s 0 {store}/labels.tif", "sh -c 'cp {store}/labels.tif {store}/copy'"),
        "ln -s {store} {own}/way && echo 1 > {own}/way/new",
    ],
)
def test_a_tool_changes_nothing_elsewhere_and_reads_what_it_likes(places: dict[str, Path], change: str) -> None:
    skip_without_landlock()
    run_command(["cat", str(places["store"] / "labels.tif")], {}, "tool")
    with pytest.raises(InputError, match=r"Permission denied|cross-device"):
        run_command(["sh", "-c", change], places, "tool", writes=[places["own"]])
    assert [(path.name, path.read_text()) for path in places["store"].iterdir()] == [("labels.tif", "labels")]


def skip_without_landlock() -> None:
    try:
        landlock_abi_version()
    except LandlockError as error:
        pytest.skip(f"this kernel can't keep a program to folders: {error}")


def test_a_tool_runs_where_linux_cannot_keep_it_to_its_folders_and_its_log_says_so(
    places: dict[str, Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without = tmp_path / "without.py"
    without.write_text(
        "import runpy, sys\n"
        "import landlock, landlock.plumbing as plumbing\n"
        "def refuse(): raise landlock.SyscallError(38, 'Function not implemented', 'create_ruleset')\n"
        "plumbing.landlock_abi_version = refuse\n"
        f"runpy.run_path({str(command.BOUNDS)!r}, run_name='__main__')\n"
    )
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(command, "BOUNDS", without)
    run_command(["sh", "-c", "echo works"], {}, "tool", writes=[places["own"]])
    assert f"What it writes isn't kept to {places['own']} here" in caplog.text
    assert "tool: works" in caplog.text
