"""A real Airflow and a real MLflow on this machine, as `make up` starts them, and what a person does in their pages."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
from mlflow import MlflowClient

from nucleus_dags.airflow_api import AirflowApi
from nucleus_dags.local import servers as local_servers
from nucleus_dags.local.home import Home, Servers
from tests.ports import free_port

MODEL = "nucleus-segmenter"
ENDED = ("success", "failed")
MOST_WAIT_S = 900


@dataclass
class Laboratory:
    home: Home
    servers: Servers

    @property
    def api(self) -> AirflowApi:
        return AirflowApi(self.servers.airflow_url, self.home.login())

    @property
    def mlflow(self) -> MlflowClient:
        return MlflowClient(self.servers.mlflow_url)

    def unpause(self, dag_id: str) -> None:
        self.api.call("PATCH", f"dags/{dag_id}", {"is_paused": False})

    def pause(self, dag_id: str) -> None:
        self.api.call("PATCH", f"dags/{dag_id}", {"is_paused": True})

    def run(self, dag_id: str, **form: Any) -> str:
        """Start a DAG run, wait for its end, which must be a good one, and give its id."""
        return self.finish_well(dag_id, self.api.trigger(dag_id, form))

    def finish_well(self, dag_id: str, dag_run_id: str) -> str:
        assert self.finish(dag_id, dag_run_id) == "success", self.states(dag_id, dag_run_id)
        return dag_run_id

    def finish(self, dag_id: str, dag_run_id: str, seconds: float = MOST_WAIT_S) -> str:
        """Wait for the end of a DAG run and give its state."""
        self.wait_until(lambda: self.state(dag_id, dag_run_id) in ENDED, f"{dag_id} {dag_run_id} ends", seconds)
        return self.state(dag_id, dag_run_id)

    def state(self, dag_id: str, dag_run_id: str) -> str:
        state: str = self.api.dag_run(dag_id, dag_run_id)["state"]
        return state

    def states(self, dag_id: str, dag_run_id: str) -> dict[str, str]:
        """Give the state of each task; of a mapped one, of its first part."""
        instances = self.api.task_instances(dag_id, dag_run_id)
        return {instance["task_id"]: instance["state"] for instance in instances if instance["map_index"] <= 0}

    def note(self, dag_id: str, dag_run_id: str) -> str:
        note: str = self.api.dag_run(dag_id, dag_run_id)["note"]
        return note

    def results(self, dag_id: str, dag_run_id: str) -> dict[str, list[dict[str, Any]]]:
        """Give what each task left for Airflow, by task; of a mapped one, part by part."""
        found: dict[str, list[dict[str, Any]]] = {}
        folder = self.home.store / "dag_runs" / dag_id / dag_run_id
        for path in sorted(folder.glob("*/*.json"), key=lambda path: int(path.stem)):
            found.setdefault(path.parent.name, []).append(json.loads(path.read_text()))
        return found

    def champion(self) -> int:
        return int(self.mlflow.get_model_version_by_alias(MODEL, "champion").version)

    def run_ids(self, dag_id: str) -> list[str]:
        return [run["dag_run_id"] for run in self.api.call("GET", f"dags/{dag_id}/dagRuns")["dag_runs"]]

    def log_lines(self, dag_id: str, dag_run_id: str, task_id: str) -> list[str]:
        instances = self.api.task_instances(dag_id, dag_run_id)
        started = [i for i in instances if i["task_id"] == task_id and i["start_date"]]
        return [line for instance in started for line in self.api.log_lines(instance)]

    def wait_until(self, is_so: Callable[[], bool], what: str, seconds: float = MOST_WAIT_S) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain until {what}"
            time.sleep(1)


@contextmanager
def laboratory(folder: Path) -> Iterator[Laboratory]:
    """Servers whose home is `folder`, until the end of the block."""
    home = Home(folder)
    name, password = home.login()
    # For MLflow's client, here and in the programs that tests start.
    with patch.dict(os.environ, {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password}):
        try:
            yield Laboratory(home, local_servers.up(home, free_port(), free_port()))
        finally:
            local_servers.down(home)


def running_servers(home: Home) -> list[psutil.Process]:
    """Give the servers with all that they started."""
    servers = home.read_servers()
    assert servers is not None
    leaders = [psutil.Process(server.pid) for server in servers.processes.values()]
    return [process for leader in leaders for process in [leader, *leader.children(recursive=True)]]
