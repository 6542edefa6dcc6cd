import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from nucleus_dags.airflow_api import AirflowApi, AirflowApiError
from nucleus_dags.launchers.kinds import GPU_POOL, PROCESSING_POOL
from nucleus_dags.local import processes, servers
from nucleus_dags.local.airflow_plugins import known_hosts
from nucleus_dags.local.airflow_plugins.known_hosts import KnownHosts
from nucleus_dags.local.environment import environment
from nucleus_dags.local.home import Home, Servers
from nucleus_dags.local.processes import Server, ServersError, started_server

FAMILY = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, {handler})
children = [subprocess.Popen(["sleep", "600"]), subprocess.Popen(["sleep", "600"], start_new_session=True)]
print(*[child.pid for child in children], flush=True)
time.sleep(600)
"""


def test_airflow_may_be_too_busy_to_answer_when_it_has_just_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pool is there after a few tries, whatever became of those that had no answer."""
    made: list[str] = []
    busy = iter([True, False])

    def call(api: AirflowApi, method: str, path: str, body: dict[str, Any]) -> None:
        assert (method, path) == ("POST", "pools")
        if body["name"] in made:
            raise AirflowApiError("is there", 409)
        made.append(body["name"])
        if next(busy):
            raise AirflowApiError("no answer (timed out)")

    monkeypatch.setattr(AirflowApi, "call", call)
    api = AirflowApi("http://127.0.0.1:1", ("admin", "password"))
    assert [servers._pools_are_set(api) for _ in range(3)] == [False, True, True]
    assert sorted(made) == sorted([GPU_POOL, PROCESSING_POOL])


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
        env=environment(home, Servers("http://127.0.0.1:1", "http://127.0.0.1:2")),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    children = [int(pid) for pid in process.stdout.readline().split()]
    home.write_servers(Servers("http://127.0.0.1:1", "http://127.0.0.1:2", {"scheduler": started_server(process.pid)}))
    return [process.pid, *children]


def living(pids: list[int]) -> list[int]:
    return [p for p in pids if psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE]


def test_the_servers_are_read_back_as_they_were_written(home: Home) -> None:
    written = Servers("http://127.0.0.1:1", "http://127.0.0.1:2", {"mlflow": Server(3, 4.5)})
    home.write_servers(written)
    assert home.read_servers() == written


@pytest.mark.parametrize("handler", ["signal.SIG_DFL", "signal.SIG_IGN"])
def test_down_ends_a_server_and_all_that_it_started(home: Home, handler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_GRACE_S", 1)
    pids = start_family(home, handler)
    assert living(pids) == pids
    servers.down(home)
    assert living(pids) == []
    assert home.read_servers() is None


def test_down_ends_what_a_dead_server_left(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_GRACE_S", 1)
    leader, *children = start_family(home, "signal.SIG_DFL")
    os.kill(leader, signal.SIGKILL)
    os.waitpid(leader, 0)
    servers.down(home)
    assert living(children) == []


def test_down_ends_the_servers_though_the_record_of_them_is_damaged(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "STOP_GRACE_S", 1)
    pids = start_family(home, "signal.SIG_DFL")
    (home.folder / "servers.json").write_text("")
    assert not servers.status(home)
    assert "It isn't known what runs" in capsys.readouterr().out
    servers.down(home)
    assert living(pids) == []
    assert home.read_servers() is None


def test_a_server_that_was_killed_does_not_run_though_what_it_started_does(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "STOP_GRACE_S", 1)
    leader, *children = start_family(home, "signal.SIG_DFL")
    assert servers.status(home)
    os.kill(leader, signal.SIGKILL)
    os.waitpid(leader, 0)
    assert living(children) == children
    assert not servers.status(home)
    assert "scheduler      ended" in capsys.readouterr().out
    servers.down(home)


def test_down_spares_another_process_that_got_the_pid_of_a_server(home: Home) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as other:
        home.write_servers(Servers("", "", {"scheduler": Server(other.pid, time.time() - 86_400)}))
        servers.down(home)
        assert living([other.pid]) == [other.pid]
        other.kill()


def test_down_without_servers_does_nothing(home: Home) -> None:
    servers.down(home)


def test_a_port_in_use_is_refused_with_the_way_to_choose_another(home: Home, used_port: int) -> None:
    with pytest.raises(ServersError, match=f"Port {used_port}.*make up MLFLOW_PORT={used_port + 1}"):
        servers.up(home, airflow_port=0, mlflow_port=used_port)
    assert home.read_servers() is None


def test_the_servers_listen_on_this_machine_only(home: Home) -> None:
    env = environment(home, Servers("http://127.0.0.1:8080", "http://127.0.0.1:5000"))
    assert env["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert env["AIRFLOW__API__PORT"] == "8080"


def test_every_installation_has_a_password_of_its_own_that_stays(home: Home, tmp_path: Path) -> None:
    name, password = home.login()
    assert (name, len(password)) == ("admin", 24)
    assert home.login() == (name, password)
    assert Home(tmp_path / "other").login() != (name, password)


def test_no_other_user_of_the_machine_reads_passwords_keys_and_databases(home: Home) -> None:
    home.login()
    (home.folder / "logs").chmod(0o755)
    home.login_file.chmod(0o644)
    home.make_folders()
    home.login()
    paths = [home.login_file, *(home.folder / name for name in ("airflow", "mlflow", "logs"))]
    assert [path.stat().st_mode & 0o077 for path in paths] == [0, 0, 0, 0]
    # Where somebody may look already, before the file gets its name, it isn't open either.
    assert not (home.folder / "login.partial").exists()


def test_airflow_and_mlflow_ask_for_the_password_and_no_command_has_it_among_its_arguments(home: Home) -> None:
    name, password = home.login()
    its_servers = Servers("http://127.0.0.1:8080", "http://127.0.0.1:5000")
    env = environment(home, its_servers)
    assert env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "False"
    assert env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] == f"{name}:admin"
    assert env["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"] == str(home.login_file)
    assert (env["MLFLOW_TRACKING_USERNAME"], env["MLFLOW_TRACKING_PASSWORD"]) == (name, password)
    arguments = [word for server in servers.STOP_ORDER for word in servers._arguments(server, home, its_servers)]
    assert "--app-name=nucleus-login" in arguments
    assert "--allowed-hosts=127.0.0.1:5000,localhost:5000" in arguments
    assert not any(password in word for word in arguments)


def test_up_status_and_demo_say_how_to_log_in(home: Home) -> None:
    _, password = home.login()
    said = servers.where_to_go(home, Servers("http://127.0.0.1:8080", "http://127.0.0.1:5000"))
    assert said.splitlines()[0] == "Nuclei  http://127.0.0.1:8080/plugin/nuclei"
    assert said.splitlines()[2] == "MLflow  http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"
    assert said.splitlines()[-1] == f"Login   admin, password {password}"


def answer_of_airflow(host: str) -> int:
    """Give the status with which Airflow's server answers a request to a host, by the plugin of one machine."""
    [plugin] = KnownHosts.fastapi_root_middlewares
    page = Starlette(routes=[Route("/", lambda request: Response())])
    page.add_middleware(plugin["middleware"], **plugin["kwargs"])
    return TestClient(page).get("/", headers={"Host": host}).status_code


def test_airflow_answers_under_the_names_of_this_machine_alone(home: Home) -> None:
    answers = {host: answer_of_airflow(host) for host in ("127.0.0.1:8080", "localhost:8080", "evil.example:8080")}
    assert answers == {"127.0.0.1:8080": 200, "localhost:8080": 200, "evil.example:8080": 400}
    folder = environment(home, Servers("http://127.0.0.1:1", "http://127.0.0.1:2"))["AIRFLOW__CORE__PLUGINS_FOLDER"]
    assert Path(known_hosts.__file__).parent == Path(folder)
