"""Airflow's folder for the tests, set before Airflow's first import, when it is read; and a disk that is soon full.

The programs of the environment, kubectl among them, go before those of the machine. What tests record with
`record_property` stands at the end of the output.
"""

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tasks.cores import CORES, cores

AIRFLOW_HOME = tempfile.mkdtemp(prefix="nucleus-tests-airflow-")
os.environ["AIRFLOW_HOME"] = AIRFLOW_HOME
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# Processes that test beside each other share the cores: threads that wait for each other cost twice the time of a step.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    share = str(max(1, cores() // int(workers)))
    os.environ.setdefault(CORES, share)
    os.environ.setdefault("OMP_NUM_THREADS", share)


def pytest_unconfigure() -> None:
    shutil.rmtree(AIRFLOW_HOME, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests, so that one of two processes doesn't end with all of them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection() -> None:
    """Of what is imported and collected nothing can be freed: to look for it takes a fifth of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests counted, wherever they ran."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture
def rois_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `augment` start no processes: for few ROIs, starting them takes most of the time."""
    from tasks.steps import augment

    monkeypatch.setattr(augment, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))


@pytest.fixture
def power_may_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a task gives a name that counts is on the disk before."""
    from tests.power import Disk

    disk = Disk(tmp_path, monkeypatch)
    yield
    disk.close()
    assert disk.lost == []


@pytest.fixture
def others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a task changes of the store is what its pod may change."""
    from tasks import contract
    from tests.own_folders import changes_of_others

    compute = contract._compute

    def watched(task: Any, params: Any, key: str, store: Path) -> Any:
        with changes_of_others(task.name, params.model_dump(), store) as changed:
            result = compute(task, params, key, store)
        assert changed == []
        return result

    monkeypatch.setattr(contract, "_compute", watched)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of 1 MB; `tests.disks.resize` changes that."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    folder = tmp_path / "small_disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a tmpfs can't be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def folder_of_a_user() -> Iterator[Path]:
    """A folder of somebody who isn't root and may not do everything, as whom the test goes on."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    folder = Path(tempfile.mkdtemp())
    yield folder
    os.seteuid(user)
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=True)
    shutil.rmtree(folder)
