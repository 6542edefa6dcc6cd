"""What cleaning up asks of databases and of Airflow's and MLflow's programs: on one machine, or in a cluster's pods."""

from __future__ import annotations

import base64
import csv
import io
import json
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from nucleus_dags.local.environment import environment
from nucleus_dags.local.home import REPOSITORY, Home
from nucleus_dags.local.migrations import FOLDER_OF_COPIES
from nucleus_dags.local.processes import runs
from nucleus_dags.upkeep.cluster import environment_with_kubectl, kubectl
from nucleus_dags.upkeep.databases import IN_POD
from nucleus_dags.upkeep.errors import UpkeepError


class OfHome:
    """The programs of one machine, with a home whose servers are up."""

    def __init__(self, home: Home) -> None:
        self.folder, self.inbox = home.folder, home.inbox
        self.artefacts = home.folder / "mlflow/artifacts"
        self.patterns_of_logs = (*patterns_below("airflow/logs"), f"{FOLDER_OF_COPIES}/*.db")
        self._home = home

    def refuse_if_down(self) -> None:
        """UpkeepError unless the servers are up."""
        servers = self._home.read_servers()
        if servers is None or not servers.processes or not all(runs(server) for server in servers.processes.values()):
            raise UpkeepError("The servers must be up, since MLflow removes its artefacts: `make up`, then clean up.")

    def ask_mlflow(self, question: str) -> list[list[str]]:
        """Give the rows of MLflow's database that answer a question in SQL."""
        uri = f"file:{self._home.database('mlflow')}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=60)) as database:
            return [[str(value) for value in row] for row in database.execute(question)]

    def remove_runs(self, run_ids: list[str]) -> None:
        """Remove runs and their artefacts from MLflow, where a person deleted them before."""
        uri = f"sqlite:///{self._home.database('mlflow')}"
        self._call("mlflow", "gc", f"--backend-store-uri={uri}", f"--run-ids={','.join(run_ids)}")

    def airflow(self, *arguments: str) -> str:
        """Give what a command of Airflow printed."""
        return self._call("airflow", *arguments)

    def check_store(self, *arguments: str) -> None:
        """Run `tasks.store.check`, which prints what it finds."""
        self._call("tasks.store.check", "--store", str(self._home.store), *arguments, capture=False)

    def _call(self, *arguments: str, capture: bool = True) -> str:
        servers = self._home.read_servers()
        assert servers is not None
        command = [sys.executable, "-m", *arguments]
        return _run(command, environment(self._home, servers), capture)


class OfCluster:
    """The programs of a cluster's pods, by kubectl, with the folder of the cluster's volume."""

    def __init__(self, volume: Path) -> None:
        self.folder, self.inbox = volume, volume / "inbox"
        self.artefacts = volume / "mlflow"
        self.patterns_of_logs = patterns_below("logs")

    def refuse_if_down(self) -> None:
        """UpkeepError unless the scheduler's pod is up; the others are asked later."""
        self._pod_of_scheduler()

    def ask_mlflow(self, question: str) -> list[list[str]]:
        """Give the rows of MLflow's database that answer a question in SQL."""
        asked = ("psql", "--username=postgres", "--dbname=mlflow", "--csv", "--tuples-only", f"--command={question}")
        return list(csv.reader(io.StringIO(kubectl(*IN_POD, *asked).decode())))

    def remove_runs(self, run_ids: list[str]) -> None:
        """Remove runs and their artefacts from MLflow, where a person deleted them before."""
        secret = json.loads(kubectl("get", "secret", "mlflow-login", "--output=json"))["data"]
        login = {name: base64.b64decode(value).decode() for name, value in secret.items()}
        options = ("--tracking-uri=http://127.0.0.1:5000", f"--run-ids={','.join(run_ids)}")
        in_pod = ("exec", "--stdin", "deployment/mlflow", "--container=mlflow", "--")
        command = ("python", "-c", GC_WITHOUT_SECRETS_IN_ARGUMENTS, *options)
        kubectl(*in_pod, *command, given=json.dumps(login).encode())

    def airflow(self, *arguments: str) -> str:
        """Give what a command of Airflow printed."""
        command = ("exec", self._pod_of_scheduler(), f"--container={CONTAINER}", "--", "airflow", *arguments)
        return kubectl(*command).decode()

    def check_store(self, *arguments: str) -> None:
        """Run `tasks.store.check`, which prints what it finds."""
        command = [str(REPOSITORY / "k8s/run-task.sh"), "tasks.store.check", "--store", "/nucleus/store", *arguments]
        _run(command, environment_with_kubectl(), capture=False)

    def _pod_of_scheduler(self) -> str:
        of_airflow = ("--selector=tier=airflow", "--field-selector=status.phase=Running")
        for pod in json.loads(kubectl("get", "pods", *of_airflow, "--output=json"))["items"]:
            if CONTAINER in [container["name"] for container in pod["spec"]["containers"]]:
                return f"pod/{pod['metadata']['name']}"
        raise UpkeepError(
            f"No pod of Airflow with a container {CONTAINER} runs; `kubectl -n nucleus get pods` says why."
        )


Programs = OfHome | OfCluster

CONTAINER = "cleanup"
"""Of the scheduler's pod: it has memory of its own."""
GC_WITHOUT_SECRETS_IN_ARGUMENTS = """
import json, os, sys
os.environ.update(json.load(sys.stdin))
from mlflow.cli import gc
gc(["--backend-store-uri=" + os.environ["MLFLOW_BACKEND_STORE_URI"], *sys.argv[1:]])
"""


def patterns_below(logs: str) -> tuple[str, ...]:
    """Give what a log of Airflow may be: all of a DAG run, or a day of a server."""
    return tuple(f"{logs}/{name}" for name in ("dag_id=*/run_id=*", "dag_processor/*", "scheduler/*"))


def _run(command: list[str], env: Mapping[str, str], capture: bool) -> str:
    ended = subprocess.run(
        command, env=env, cwd=REPOSITORY, capture_output=capture, text=True, stdin=subprocess.DEVNULL
    )
    if ended.returncode != 0:
        raise UpkeepError(f"{' '.join(command[:4])} failed:\n{(ended.stderr or '')[-2000:]}")
    return ended.stdout or ""
