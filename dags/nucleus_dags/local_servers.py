"""Airflow and MLflow on this machine, for one person: `python -m nucleus_dags.local_servers up|down|status`.

Everything lies in `.nucleus/` of the repository, or in `NUCLEUS_HOME`: `inbox/` (plates to work on),
`store/` (results), `airflow/`, `mlflow/` and `logs/` of the servers, and `servers.json`, which says
what runs. The servers listen on this machine only; they let in everyone who sits at it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from nucleus_dags.airflow_api import AirflowApi, AirflowApiError, without_proxy
from nucleus_dags.catalogue import GPU_POOL, PROCESSING_POOL

REPOSITORY = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
START_TIMEOUT_S = 180
STOP_GRACE_S = 20
AIRFLOW_SERVERS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
STOP_ORDER = ("scheduler", "triggerer", "dag-processor", "api-server", "mlflow")
"""The scheduler's tasks end first, while there is a server to tell: they go on at the next start."""


class ServersError(RuntimeError):
    """A server can't be started or stopped; the message says what to do."""


MARK = "NUCLEUS_STARTED_FOR"
"""Variable in the environment of all that the servers start, by which `down` finds it."""


@dataclass(frozen=True)
class Server:
    """A started process; it leads a process group of its own."""

    pid: int
    started: float
    """Seconds since 1970. Another process may get the same pid later, but not with the same start."""


@dataclass
class Servers:
    """What `servers.json` holds."""

    airflow_url: str
    mlflow_url: str
    processes: dict[str, Server] = field(default_factory=dict)


@dataclass(frozen=True)
class Home:
    """The folder of everything that the servers and tasks write."""

    folder: Path

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def log(self, server: str) -> Path:
        return self.folder / "logs" / f"{server}.log"

    def make_folders(self) -> None:
        for name in ("inbox", "store", "airflow", "mlflow", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def read_servers(self) -> Servers | None:
        path = self._servers_file
        if not path.exists():
            return None
        content = json.loads(path.read_text())
        processes = {name: Server(**server) for name, server in content.pop("processes").items()}
        return Servers(**content, processes=processes)

    def write_servers(self, servers: Servers) -> None:
        beside = self._servers_file.with_suffix(".partial")
        beside.write_text(json.dumps(asdict(servers), indent=1))
        beside.replace(self._servers_file)

    def forget_servers(self) -> None:
        self._servers_file.unlink(missing_ok=True)

    @property
    def _servers_file(self) -> Path:
        return self.folder / "servers.json"


def home_of_environment() -> Home:
    return Home(Path(os.environ.get("NUCLEUS_HOME") or REPOSITORY / ".nucleus").resolve())


def up(home: Home, airflow_port: int = 8080, mlflow_port: int = 5000) -> Servers:
    """Start the servers that don't run and wait until all answer; those that run keep their ports."""
    home.make_folders()
    servers = home.read_servers()
    running = [name for name, server in servers.processes.items() if _runs(server)] if servers else []
    if servers is None or not running:
        _refuse_used_port("Airflow", "AIRFLOW_PORT", airflow_port)
        _refuse_used_port("MLflow", "MLFLOW_PORT", mlflow_port)
        servers = Servers(f"http://{HOST}:{airflow_port}", f"http://{HOST}:{mlflow_port}")
    elif len(running) == len(STOP_ORDER):
        print("Already up.", flush=True)
        return servers
    try:
        for name in set(servers.processes) - set(running):
            # Of a scheduler that was killed, idle workers are left.
            _stop(name, servers.processes.pop(name))
        _start(home, servers, [name for name in STOP_ORDER if name not in running])
    except BaseException:
        down(home)
        raise
    return servers


def down(home: Home) -> None:
    """End all servers and all that they started; does nothing when nothing runs."""
    servers = home.read_servers()
    if servers is None:
        return
    for name in STOP_ORDER:
        if server := servers.processes.get(name):
            print(f"Stopping {name} ...", flush=True)
            _stop(name, server)
    orphans = _started_for(home)
    _end("what the servers started", orphans, lambda: _terminate(orphans))
    home.forget_servers()


def status(home: Home) -> bool:
    """Print what runs; True if everything does."""
    servers = home.read_servers()
    if servers is None:
        print("Nothing runs. `make up` starts Airflow and MLflow.")
        return False
    running = {name: _runs(server) for name, server in servers.processes.items()}
    for name, runs in running.items():
        print(f"{name:<14} {'runs' if runs else f'ended; see {home.log(name)}'}")
    print(f"Airflow {servers.airflow_url}\nMLflow  {servers.mlflow_url}\nInbox   {home.inbox}")
    return all(running.values())


def environment(home: Home, servers: Servers) -> dict[str, str]:
    """Give the environment of the servers, which is also that of the tasks."""
    no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), HOST, "localhost"]))
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home.folder / "airflow"),
        "AIRFLOW__API__BASE_URL": servers.airflow_url,
        "NUCLEUS_AIRFLOW": servers.airflow_url,
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(_port(servers.airflow_url)),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{servers.airflow_url}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # The default asks a name server, which keeps a machine without network waiting.
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # compare_models maps over versions x plates; the default is 1024.
        "AIRFLOW__CORE__MAX_MAP_LENGTH": "10000",
        "AIRFLOW__CORE__PARALLELISM": str(max(4, _cores())),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        # A task of which nothing was heard for so many seconds is tried again; the default is 300.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "90",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home.folder}/airflow/airflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Workers for MLflow's own jobs, which nothing here uses, take 1.4 GB.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_TRACKING_URI": servers.mlflow_url,
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        MARK: str(home.folder),
        "NUCLEUS_COMMIT": _commit(),
        "NUCLEUS_INBOX": str(home.inbox),
        "NUCLEUS_PROGRAMS": str(home.folder / "programs"),
        # The triggerer loads the watcher of the inbox by its name.
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY / "dags"), os.environ.get("PYTHONPATH")])),
        "NUCLEUS_STORE": str(home.store),
    }


def _start(home: Home, servers: Servers, names: list[str]) -> None:
    env = environment(home, servers)

    def start(name: str, arguments: list[str]) -> None:
        process = _start_server(home.log(name), arguments, env)
        servers.processes[name] = Server(process.pid, psutil.Process(process.pid).create_time())
        home.write_servers(servers)

    def refuse_ended() -> None:
        for name, server in servers.processes.items():
            if not _runs(server):
                raise ServersError(f"{name} has ended:\n{_tail(home.log(name))}\nAll of it: {home.log(name)}")

    def start_all_of(*wanted: str) -> None:
        for name in wanted:
            if name in names:
                start(name, _arguments(name, home, servers))

    api = AirflowApi(servers.airflow_url)
    start_all_of("mlflow")
    print("Preparing Airflow's database ...", flush=True)
    _migrate(home, env)
    start_all_of("api-server", "dag-processor")
    _wait_until("MLflow answers", lambda: _answers(f"{servers.mlflow_url}/health"), refuse_ended)
    _wait_until("Airflow answers", lambda: _answers(f"{servers.airflow_url}/api/v2/version"), refuse_ended)
    _set_pools(api)
    # Tasks that wait for the scheduler start with it, and need the other servers at once.
    start_all_of("scheduler", "triggerer")
    _wait_until("Airflow is ready", lambda: _is_healthy(api), refuse_ended)
    _wait_until("the DAGs are read", lambda: _dags_are_read(api), refuse_ended)


def _start_server(log_path: Path, arguments: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    with log_path.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=env,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _arguments(name: str, home: Home, servers: Servers) -> list[str]:
    """Give the arguments after `python -m`."""
    if name in AIRFLOW_SERVERS:
        return ["airflow", *AIRFLOW_SERVERS[name]]
    folder = home.folder / "mlflow"
    return [
        "mlflow",
        "server",
        f"--backend-store-uri=sqlite:///{folder}/mlflow.db",
        f"--artifacts-destination={folder}/artifacts",
        f"--host={HOST}",
        f"--port={_port(servers.mlflow_url)}",
        "--workers=1",
    ]


def _migrate(home: Home, env: dict[str, str]) -> None:
    with home.log("database").open("wb") as log:
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        ended = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    if ended.returncode != 0:
        raise ServersError(f"Airflow's database can't be prepared:\n{_tail(home.log('database'))}")


def _set_pools(api: AirflowApi) -> None:
    """Let as many trainings, and as many other large tasks, run side by side as the cores can bear."""
    for name in (GPU_POOL, PROCESSING_POOL):
        try:
            api.call("POST", "pools", {"name": name, "slots": max(1, _cores() // 2)})
        except AirflowApiError as error:
            if error.status != 409:
                raise


def _is_healthy(api: AirflowApi) -> bool:
    try:
        health = api.call("GET", "monitor/health")
    except AirflowApiError:
        return False
    components = ("metadatabase", "scheduler", "dag_processor", "triggerer")
    return all(health[component]["status"] == "healthy" for component in components)


def _dags_are_read(api: AirflowApi) -> bool:
    errors = api.call("GET", "importErrors")["import_errors"]
    if errors:
        raise ServersError(f"{errors[0]['filename']} can't be imported:\n{errors[0]['stack_trace']}")
    return any(dag["dag_id"] == "train_models" for dag in api.call("GET", "dags")["dags"])


def _commit() -> str:
    """Give the commit of this repository, with "-dirty" if files differ from it, or "unknown" without git."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    with suppress(OSError):
        described = subprocess.run(command, capture_output=True, text=True)
        if described.returncode == 0:
            return described.stdout.strip()
    return "unknown"


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def _answers(url: str) -> bool:
    with suppress(OSError), without_proxy.open(url, timeout=5):
        return True
    return False


def _wait_until(what: str, is_so: Callable[[], bool], refuse_ended: Callable[[], None]) -> None:
    begun = time.monotonic()
    print(f"Waiting until {what} ...", end="", flush=True)
    while not is_so():
        refuse_ended()
        if time.monotonic() - begun > START_TIMEOUT_S:
            raise ServersError(f"Waited {START_TIMEOUT_S} s in vain until {what}; the logs folder says more.")
        time.sleep(0.5)
    print(f" {time.monotonic() - begun:.0f} s", flush=True)


def _refuse_used_port(program: str, variable: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise ServersError(
                f"Port {port}, meant for {program}, is in use by another program; "
                f"choose another: make up {variable}={port + 1}"
            ) from None


def _stop(name: str, server: Server) -> None:
    _end(name, _processes(server), lambda: os.killpg(server.pid, signal.SIGTERM))


def _terminate(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()


def _end(name: str, processes: list[psutil.Process], ask: Callable[[], None]) -> None:
    """Ask processes to end, and kill those that don't in time."""
    if processes:
        with suppress(ProcessLookupError):
            ask()
    left = _wait_for_end(processes, STOP_GRACE_S)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    if left := _wait_for_end(left, STOP_GRACE_S):
        raise ServersError(f"{name} can't be ended; processes left: {', '.join(str(p.pid) for p in left)}")


def _started_for(home: Home) -> list[psutil.Process]:
    """Give the living processes that the servers of this home started, also those of a server that is dead."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == str(home.folder) and _lives(process):
                found.append(process)
    return found


def _wait_for_end(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Give the processes that still live after this time."""
    deadline = time.monotonic() + seconds
    while (left := [process for process in processes if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _runs(server: Server) -> bool:
    """Whether the process that was started lives; what it started may outlive it."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(server.pid)
        return abs(process.create_time() - server.started) <= 1 and _lives(process)
    return False


def _processes(server: Server) -> list[psutil.Process]:
    """Give the living processes of a server: its process group and all that came from it, tasks too."""
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
    # A zombie has ended; only its parent didn't ask yet.
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _cores() -> int:
    return psutil.cpu_count() or 1


def _tail(path: Path, lines: int = 20) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m nucleus_dags.local_servers", description=__doc__)
    parser.add_argument("action", choices=("up", "down", "status"))
    parser.add_argument("--airflow-port", type=int, default=8080)
    parser.add_argument("--mlflow-port", type=int, default=5000)
    args = parser.parse_args(argv)
    home = home_of_environment()
    try:
        if args.action == "down":
            down(home)
        elif args.action == "up":
            servers = up(home, args.airflow_port, args.mlflow_port)
            print(f"Airflow {servers.airflow_url}\nMLflow  {servers.mlflow_url}\nPut plates into {home.inbox}")
        else:
            return 0 if status(home) else 1
    except ServersError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
