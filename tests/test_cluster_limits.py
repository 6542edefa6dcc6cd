"""What runs at once fits what is written down: Airflow's settings, the scheduler's memory, the quota."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from nucleus_dags.launchers.kinds import KINDS, PROCESSING_POOL, TRAIN, resources_of
from nucleus_dags.local import environment as local_environment
from nucleus_dags.local.home import Home, Servers
from nucleus_dags.manifest import manifest
from tests.manifests import K8S, of_kind
from tests.test_airflow_chart import merged, read

TRAININGS = 20
SMALL_TASKS = 8
"""Those of the default pool, which start, find and end things."""
GIB_OF_A_FOLLOWED_TASK = 0.3
"""Measured: a task with the pod operator and its supervisor 174 MiB together."""
GIB_OF_THE_SCHEDULER = 1.0
MOST_HEARTBEATS_A_SECOND = 4.0
MAX_FAILED_HEARTBEATS = 3
"""Airflow's default."""


def settings(folder: str) -> dict[str, str]:
    [content] = [one for one in of_kind(folder, "ConfigMap") if one["metadata"]["name"] == "airflow-settings"]
    data: dict[str, str] = content["data"]
    return data


def values(folder: str) -> dict[str, Any]:
    path = K8S / folder / "airflow.yaml"
    return merged(read("airflow/values.yaml"), yaml.safe_load(path.read_text()) if path.exists() else {})


def environment(folder: str) -> dict[str, str]:
    return {one["name"]: one["value"] for one in values(folder)["env"] if "value" in one}


def gib(quantity: str) -> float:
    return float(quantity[:-2]) * {"Mi": 1 / 1024, "Gi": 1, "Ti": 1024}[quantity[-2:]]


def test_twenty_trainings_run_beside_all_large_tasks_and_some_small_ones() -> None:
    for folder in ("base", "overlays/gpu-cluster"):
        found = settings(folder)
        needed = TRAININGS + int(found["NUCLEUS_PODS"]) + SMALL_TASKS
        assert int(found["AIRFLOW__CORE__PARALLELISM"]) >= needed
        assert "AIRFLOW__CORE__PARALLELISM" not in environment(folder), "it would hide that of the ConfigMap"


@pytest.mark.parametrize("folder", ["base", "overlays/local", "overlays/gpu-cluster"])
def test_the_scheduler_has_memory_to_follow_as_many_tasks_as_it_may(folder: str) -> None:
    needed = GIB_OF_THE_SCHEDULER + GIB_OF_A_FOLLOWED_TASK * int(settings(folder)["AIRFLOW__CORE__PARALLELISM"])
    assert gib(values(folder)["scheduler"]["resources"]["limits"]["memory"]) >= needed


def test_the_api_server_is_not_busy_with_heartbeats_and_a_few_may_be_lost() -> None:
    found, parallelism = environment("base"), int(settings("base")["AIRFLOW__CORE__PARALLELISM"])
    interval = float(found["AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL"])
    assert parallelism / interval <= MOST_HEARTBEATS_A_SECOND
    timeout = float(found["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"])
    assert (MAX_FAILED_HEARTBEATS + 1) * interval <= timeout


@pytest.mark.parametrize("place", ["one machine", "cluster"])
def test_tasks_wait_for_an_api_server_that_starts_again_until_the_scheduler_would_give_them_up(
    place: str, tmp_path: Path
) -> None:
    if place == "cluster":
        found = environment("base")
    else:
        servers = Servers("http://127.0.0.1:1", "http://127.0.0.1:2", {})
        found = local_environment.environment(Home(tmp_path), servers)
    retries = int(found["AIRFLOW__WORKERS__EXECUTION_API_RETRIES"])
    longest = float(found["AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX"])
    # Each time something between a second and twice as much as before, up to the longest.
    expected = sum((1 + min(longest, 2.0**number)) / 2 for number in range(retries - 1))
    assert expected > 1.5 * float(found["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"])


def test_airflow_knows_the_settings_of_how_long_tasks_wait(tmp_path: Path) -> None:
    program = "from airflow.sdk.api import client; print(client.API_RETRIES, client.API_RETRY_WAIT_MAX)"
    # As it starts, Airflow makes its folders, which are to be none of this machine's.
    folders = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(tmp_path / "logs")}
    env = {**os.environ, **environment("base"), **folders}
    asked = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert asked.stdout.split()[-2:] == ["30", "10.0"]


def test_the_quota_has_room_for_twenty_trainings_and_all_large_tasks() -> None:
    found = settings("base")
    most_cpu, most_gib = float(found["NUCLEUS_MOST_CPUS"]), float(found["NUCLEUS_MOST_MEMORY_GIB"])
    large = [
        task["resources"]
        for task in manifest()["tasks"].values()
        if KINDS[task["resources"]["kind"]].pool == PROCESSING_POOL
    ]
    training, pods = resources_of(TRAIN), int(found["NUCLEUS_PODS"])
    cpu = TRAININGS * min(training["cpu"], most_cpu) + pods * min(max(one["cpu"] for one in large), most_cpu)
    memory = TRAININGS * min(training["memory_gib"], most_gib)
    memory += pods * min(max(one["memory_gib"] for one in large), most_gib)
    [quota] = of_kind("base", "ResourceQuota")
    hard = quota["spec"]["hard"]
    assert float(hard["requests.cpu"]) >= cpu + SMALL_TASKS
    assert gib(hard["requests.memory"]) >= memory + 2 * SMALL_TASKS + 32
    assert int(hard["pods"]) >= TRAININGS + pods + SMALL_TASKS
    assert int(hard["requests.nvidia.com/gpu"]) >= TRAININGS * training["gpu"]
