"""How many cores a task uses."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nucleus_dags.local import environment
from tasks.cores import CORES, cores
from tests.repository import REPOSITORY

SCHEDULABLE = 64


@pytest.fixture(autouse=True)
def large_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CORES, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(SCHEDULABLE)), raising=False)


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A machine with this content of /proc/self/cgroup and these files of /sys/fs/cgroup."""
    for name, text in {"proc/self/cgroup": groups, **{f"sys/fs/cgroup/{path}": t for path, t in files.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_without_a_bound_all_cores_of_the_machine_are_used(tmp_path: Path) -> None:
    assert cores(tmp_path) == SCHEDULABLE
    assert cores(machine(tmp_path, "0::/\n", {"cpu.max": "max 100000\n"})) == SCHEDULABLE


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        pytest.param("0::/\n", {"cpu.max": "250000 100000\n"}, 3, id="container, version 2"),
        pytest.param("0::/a/b\n", {"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "max 100000\n"}, 4, id="group above"),
        pytest.param(
            "4:memory:/x\n1:cpu,cpuacct:/pod\n",
            {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            2,
            id="version 1",
        ),
        pytest.param(
            "1:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            SCHEDULABLE,
            id="version 1 without a quota",
        ),
        pytest.param("0::/\n", {"cpu.max": "5000 100000\n"}, 1, id="less than one"),
    ],
)
def test_the_quota_of_a_container_bounds_the_cores(
    tmp_path: Path, groups: str, files: dict[str, str], expected: int
) -> None:
    assert cores(machine(tmp_path, groups, files)) == expected


def test_a_pod_uses_what_its_launcher_says_on_a_large_node_and_no_more_than_a_small_one_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CORES, "8")
    assert cores(tmp_path) == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert cores(tmp_path) == 2


ASKS_THE_MACHINE = re.compile(r"cpu_count\(|sched_getaffinity\(")


@pytest.mark.parametrize("folder", ["tasks", "dags"])
def test_only_one_module_counts_cores(folder: str) -> None:
    modules = {path.relative_to(REPOSITORY).as_posix(): path for path in (REPOSITORY / folder).glob("**/*.py")}
    assert {name for name, path in modules.items() if ASKS_THE_MACHINE.search(path.read_text())} <= {"tasks/cores.py"}


def test_the_servers_of_one_machine_run_as_much_at_once_as_they_may_use_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # What the machine has itself.
    monkeypatch.setenv(CORES, "1")
    assert environment.cores() == 1
    monkeypatch.delenv(CORES)
    assert environment.cores() == cores()


def test_tensorflow_gets_as_many_threads() -> None:
    program = "import os, tasks.methods; print(os.environ['TF_NUM_INTRAOP_THREADS'])"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")} | {CORES: "1"}
    asked = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, env=environment, capture_output=True)
    assert asked.stdout == b"1\n"
