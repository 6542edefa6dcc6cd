"""Airflow and MLflow on this machine, for one person: `python -m nucleus_dags.local.servers up|down|status`.

Everything that they write lies in `nucleus-data/` of the repository, or in `NUCLEUS_HOME`. The servers
listen on this machine only, and let in who knows the password in `login.json` there.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nucleus_dags.airflow_api import AirflowApi, AirflowApiError, without_proxy
from nucleus_dags.launchers.kinds import GPU_POOL, PROCESSING_POOL
from nucleus_dags.local import migrations
from nucleus_dags.local.environment import HOST, cores, environment, environment_of_mlflow, port_of
from nucleus_dags.local.home import HIDDEN, REPOSITORY, VISIBLE, Home, Servers, home_of_environment
from nucleus_dags.local.migrations import AIRFLOW, MLFLOW
from nucleus_dags.local.processes import ServersError, runs, started_server, stop_orphans, stop_server
from nucleus_dags.mlflow_pages import training_pages

START_TIMEOUT_S = 180
AIRFLOW_SERVERS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
INSTALLATION = "tasks.recipes.install_base_model"
"""Makes the model that comes with the pipeline the first version, where there is none yet."""
STOP_ORDER = ("scheduler", "triggerer", "dag-processor", "api-server", "mlflow")
"""The scheduler's tasks end first, while there is a server to report to: they resume at the next start."""


def up(home: Home, airflow_port: int = 8080, mlflow_port: int = 5000) -> Servers:
    """Start the servers that don't run and wait until all answer; those that run keep their ports."""
    if home.is_half_restored:
        raise ServersError(f"{home.folder} isn't restored whole; run `make restore` again first.")
    home.make_folders()
    servers = home.read_servers()
    running = [name for name, server in servers.processes.items() if runs(server)] if servers else []
    if servers is None or not running:
        if servers is not None:
            stop_orphans(home.folder)
        _refuse_used_port("Airflow", "AIRFLOW_PORT", airflow_port)
        _refuse_used_port("MLflow", "MLFLOW_PORT", mlflow_port)
        servers = Servers(f"http://{HOST}:{airflow_port}", f"http://{HOST}:{mlflow_port}")
    elif len(running) == len(STOP_ORDER):
        print("Already up.", flush=True)
        return servers
    try:
        for name in set(servers.processes) - set(running):
            # A scheduler that was killed leaves idle workers behind.
            stop_server(name, servers.processes.pop(name))
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
            stop_server(name, server)
    stop_orphans(home.folder)
    home.forget_servers()


def status(home: Home) -> bool:
    """Print what runs; give True if everything does."""
    servers = home.read_servers()
    if servers is None:
        print("Nothing runs. `make up` starts Airflow and MLflow.")
        return False
    if not servers.processes:
        print("It isn't known what runs. `make up` ends it, and starts Airflow and MLflow.")
        return False
    running = {name: runs(server) for name, server in servers.processes.items()}
    for name, is_running in running.items():
        print(f"{name:<14} {'runs' if is_running else f'ended; see {home.log(name)}'}")
    print(f"{where_to_go(home, servers)}\nInbox   {home.inbox}")
    return all(running.values())


def where_to_go(home: Home, servers: Servers) -> str:
    """Say where data and pages are, and how to log in."""
    name, password = home.login()
    pages = {
        "Nuclei": f"{servers.airflow_url}/plugin/nuclei",
        "Airflow": servers.airflow_url,
        "MLflow": training_pages(servers.mlflow_url),
        "Data": f"{home.folder}{_if_hidden(home)}",
        "Login": f"{name}, password {password}",
    }
    return "\n".join(f"{page:<7} {where}" for page, where in pages.items())


def _if_hidden(home: Home) -> str:
    if home.folder.name != HIDDEN:
        return ""
    return f", as in earlier versions; to see it in file managers: `make down`, `mv {HIDDEN} {VISIBLE}`, `make up`"


def _start(home: Home, servers: Servers, names: list[str]) -> None:
    env = environment(home, servers)

    def start(name: str, arguments: list[str]) -> None:
        of_server = environment_of_mlflow(home, servers) if name == "mlflow" else env
        process = _start_server(home.log(name), arguments, of_server)
        servers.processes[name] = started_server(process.pid)
        home.write_servers(servers)

    def refuse_ended() -> None:
        for name, server in servers.processes.items():
            if not runs(server):
                raise ServersError(f"{name} has ended:\n{_tail(home.log(name))}\nThe whole log: {home.log(name)}")

    def start_all_of(*wanted: str) -> None:
        for name in wanted:
            if name in names:
                start(name, _arguments(name, home, servers))

    api = AirflowApi(servers.airflow_url, home.login())
    migrations.prepare(home, MLFLOW, env)
    start_all_of("mlflow")
    _write_manifest(home, env)
    migrations.prepare(home, AIRFLOW, env)
    start_all_of("api-server", "dag-processor")
    _wait_until("MLflow answers", lambda: _answers(f"{servers.mlflow_url}/health"), refuse_ended)
    installation = _start_server(home.log("base_model"), [INSTALLATION, "--store", str(home.store)], env)
    _wait_until("Airflow answers", lambda: _answers(f"{servers.airflow_url}/api/v2/version"), refuse_ended)
    _wait_until("the pools are set", lambda: _pools_are_set(api), refuse_ended)
    # Tasks that wait for the scheduler start with it, and need the other servers at once.
    start_all_of("scheduler", "triggerer")
    _wait_until("Airflow is ready", lambda: _is_healthy(api), refuse_ended)
    _wait_until("the DAGs are read", lambda: _dags_are_read(api), refuse_ended)
    _wait_until("there is a model", lambda: installation.poll() is not None, refuse_ended)
    if installation.returncode != 0:
        _tell_of_no_model(home)


def _tell_of_no_model(home: Home) -> None:
    """Everything but segmenting with the champion works without the base model."""
    print(
        f"The base model can't be installed:\n{_tail(home.log('base_model'))}\nsegment_plate can segment when a model "
        "was trained and promoted; `make down up` tries the installation again.",
        file=sys.stderr,
    )


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
        f"--backend-store-uri=sqlite:///{home.database('mlflow')}",
        f"--artifacts-destination={folder}/artifacts",
        "--app-name=nucleus-login",
        f"--host={HOST}",
        f"--port={port_of(servers.mlflow_url)}",
        # Under another name, a web page could reach it through a browser of this machine.
        f"--allowed-hosts={_hosts(servers.mlflow_url)}",
        "--workers=1",
    ]


def _hosts(url: str) -> str:
    return ",".join(f"{host}:{port_of(url)}" for host in (HOST, "localhost"))


def _write_manifest(home: Home, env: dict[str, str]) -> None:
    """Let the DAGs know all methods, also those of packages that were installed since."""
    command = [sys.executable, "-m", "tasks.manifest", "--output", str(home.manifest)]
    ended = subprocess.run(command, env=env, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if ended.returncode != 0:
        raise ServersError(f"What the tasks say of themselves can't be written down:\n{ended.stdout}{ended.stderr}")


def _pools_are_set(api: AirflowApi) -> bool:
    """Let as many trainings, and as many other large tasks, run side by side as there are cores for.

    Gives False where Airflow is too busy to answer, as just after its start; it may have done it all the same.
    """
    for name in (GPU_POOL, PROCESSING_POOL):
        try:
            api.call("POST", "pools", {"name": name, "slots": max(1, cores() // 2)})
        except AirflowApiError as error:
            if error.status is None:
                return False
            if error.status != 409:
                raise
    return True


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


def _tail(path: Path, lines: int = 20) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m nucleus_dags.local.servers", description=__doc__)
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
            print(f"{where_to_go(home, servers)}\nPut plates into {home.inbox}")
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
