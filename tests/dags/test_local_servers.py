import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nucleus_dags import demo, local_servers
from nucleus_dags.local_servers import Home, Server, Servers, ServersError

FAMILY = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, {handler})
children = [subprocess.Popen(["sleep", "600"]), subprocess.Popen(["sleep", "600"], start_new_session=True)]
print(*[child.pid for child in children], flush=True)
time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.make_folders()
    return home


@pytest.fixture
def used_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def start_family(home: Home, handler: str) -> list[int]:
    """Start a process with two children, one in a session of its own as tasks are; record it as the scheduler."""
    program = FAMILY.format(handler=handler)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=local_servers.environment(home, Servers("http://127.0.0.1:1", "http://127.0.0.1:2")),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    children = [int(pid) for pid in process.stdout.readline().split()]
    server = Server(process.pid, psutil.Process(process.pid).create_time())
    home.write_servers(Servers("http://127.0.0.1:1", "http://127.0.0.1:2", {"scheduler": server}))
    return [process.pid, *children]


def living(pids: list[int]) -> list[int]:
    return [p for p in pids if psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE]


def test_the_servers_are_read_back_as_they_were_written(home: Home) -> None:
    servers = Servers("http://127.0.0.1:1", "http://127.0.0.1:2", {"mlflow": Server(3, 4.5)})
    home.write_servers(servers)
    assert home.read_servers() == servers


@pytest.mark.parametrize("handler", ["signal.SIG_DFL", "signal.SIG_IGN"])
def test_down_ends_a_server_and_all_that_it_started(home: Home, handler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_servers, "STOP_GRACE_S", 1)
    pids = start_family(home, handler)
    assert living(pids) == pids
    local_servers.down(home)
    assert living(pids) == []
    assert home.read_servers() is None


def test_down_ends_what_a_dead_server_left(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_servers, "STOP_GRACE_S", 1)
    leader, *children = start_family(home, "signal.SIG_DFL")
    os.kill(leader, signal.SIGKILL)
    os.waitpid(leader, 0)
    local_servers.down(home)
    assert living(children) == []


def test_a_server_that_was_killed_does_not_run_though_what_it_started_does(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local_servers, "STOP_GRACE_S", 1)
    leader, *children = start_family(home, "signal.SIG_DFL")
    assert local_servers.status(home)
    os.kill(leader, signal.SIGKILL)
    os.waitpid(leader, 0)
    assert living(children) == children
    assert not local_servers.status(home)
    assert "scheduler      ended" in capsys.readouterr().out
    local_servers.down(home)


def test_down_spares_another_process_that_got_the_pid_of_a_server(home: Home) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as other:
        home.write_servers(Servers("", "", {"scheduler": Server(other.pid, time.time() - 86_400)}))
        local_servers.down(home)
        assert living([other.pid]) == [other.pid]
        other.kill()


def test_down_without_servers_does_nothing(home: Home) -> None:
    local_servers.down(home)


def test_a_port_in_use_is_refused_with_the_way_to_choose_another(home: Home, used_port: int) -> None:
    with pytest.raises(ServersError, match=f"Port {used_port}.*make up MLFLOW_PORT={used_port + 1}"):
        local_servers.up(home, airflow_port=0, mlflow_port=used_port)
    assert home.read_servers() is None


def test_the_servers_listen_on_this_machine_only(home: Home) -> None:
    env = local_servers.environment(home, Servers("http://127.0.0.1:8080", "http://127.0.0.1:5000"))
    assert env["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert env["AIRFLOW__API__PORT"] == "8080"


def add_plate(folder: Path, name: str, role: str = "train") -> Path:
    for part in ("images", "labels"):
        (folder / name / part).mkdir(parents=True)
        (folder / name / part / "1.tif").write_bytes(b"")
    (folder / name / "plate.json").write_text(f'{{"name": "{name}", "role": "{role}"}}')
    return folder / name


def test_a_persons_plates_are_linked_into_the_inbox_and_chosen_by_role(home: Home, tmp_path: Path) -> None:
    add_plate(tmp_path / "mine", "a")
    add_plate(tmp_path / "mine", "b", "test")
    for _ in range(2):
        infos = demo.link_plates(tmp_path / "mine", home)
    assert demo.form_for(infos) == {"train_plates": ["a"], "test_plates": ["b"]}
    assert (home.inbox / "a" / "images" / "1.tif").exists()


def test_a_plate_of_the_inbox_is_not_replaced_by_another_of_its_name(home: Home, tmp_path: Path) -> None:
    add_plate(tmp_path / "mine", "a")
    add_plate(home.inbox, "a")
    with pytest.raises(demo.DemoError, match="is there already and is another plate"):
        demo.link_plates(tmp_path / "mine", home)


def test_a_folder_without_plates_is_refused(home: Home, tmp_path: Path) -> None:
    with pytest.raises(demo.DemoError, match="has no plate"):
        demo.link_plates(tmp_path, home)


def test_only_the_plate_is_copied_from_its_folder(home: Home, tmp_path: Path) -> None:
    plate = add_plate(tmp_path / "mine", "a")
    (plate / "result.json").touch()
    demo.copy_plate(plate, home.inbox / "a")
    assert {path.name for path in (home.inbox / "a").iterdir()} == {"plate.json", "images", "labels"}
