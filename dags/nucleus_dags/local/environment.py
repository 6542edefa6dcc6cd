"""The environment of the servers, which is also that of the tasks they start: every setting of Airflow and MLflow."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from nucleus_dags.local.home import ACCOUNT, REPOSITORY, Home, Servers
from nucleus_dags.local.processes import MARK

HOST = "127.0.0.1"
"""The servers listen on this machine only."""
PLUGINS = Path(__file__).parent / "airflow_plugins"
MLFLOW_LOGIN = REPOSITORY / "images/mlflow/login"
"""Lets MLflow's server ask for a login; only this server gets it."""


def environment(home: Home, servers: Servers) -> dict[str, str]:
    """Give this process's environment with what the servers of this home need."""
    return {**os.environ, **_of_airflow(home, servers), **_of_mlflow(home, servers), **_of_tasks(home, servers)}


def environment_of_mlflow(home: Home, servers: Servers) -> dict[str, str]:
    """Give the environment of MLflow's server, which differs in what it finds besides MLflow."""
    return {
        **environment(home, servers),
        "NUCLEUS_MLFLOW_ACCOUNTS": str(home.login_file),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(MLFLOW_LOGIN), os.environ.get("PYTHONPATH")])),
    }


def cores() -> int:
    """Give the cores that this process may use, counted as the tasks count theirs."""
    command = [sys.executable, "-m", "tasks.cores"]
    return int(subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout)


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def _of_airflow(home: Home, servers: Servers) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home.folder / "airflow"),
        "AIRFLOW__API__BASE_URL": servers.airflow_url,
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(port_of(servers.airflow_url)),
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
        "AIRFLOW__CORE__PARALLELISM": str(max(4, cores())),
        # Refuses requests to foreign names.
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home.login_file),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ACCOUNT}:admin",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home.database('airflow')}",
        # A task that was silent for so many seconds is tried again; the default is 300.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "90",
        # Airflow writes both into its settings at the first start, where they would stay when the home moves.
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home.folder / "airflow" / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home.folder / "airflow/logs/dag_processor"),
        # Tasks wait some two minutes for an API server that starts again; the default, some ten seconds, uses up all
        # tries of a task meanwhile.
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "30",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "10",
    }


def _of_mlflow(home: Home, servers: Servers) -> dict[str, str]:
    name, password = home.login()
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Workers for MLflow's own jobs, which nothing here uses, take 1.4 GB.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_TRACKING_PASSWORD": password,
        "MLFLOW_TRACKING_URI": servers.mlflow_url,
        "MLFLOW_TRACKING_USERNAME": name,
    }


def _of_tasks(home: Home, servers: Servers) -> dict[str, str]:
    no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), HOST, "localhost"]))
    return {
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        MARK: str(home.folder),
        "NUCLEUS_AIRFLOW": servers.airflow_url,
        "NUCLEUS_AIRFLOW_LOGIN": str(home.login_file),
        "NUCLEUS_COMMIT": commit(),
        "NUCLEUS_EXPERIMENTS": str(home.folder / "experiments"),
        "NUCLEUS_INBOX": str(home.inbox),
        "NUCLEUS_MANIFEST": str(home.manifest),
        "NUCLEUS_TOOLS": str(home.folder / "tools"),
        "NUCLEUS_STORE": str(home.store),
        # The triggerer loads the watcher of the inbox by its name.
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY / "dags"), os.environ.get("PYTHONPATH")])),
    }


def commit() -> str:
    """Give the commit of this repository, with "-dirty" if files differ from it, or "unknown" without git."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    with suppress(OSError):
        described = subprocess.run(command, capture_output=True, text=True)
        if described.returncode == 0:
            return described.stdout.strip()
    return "unknown"
