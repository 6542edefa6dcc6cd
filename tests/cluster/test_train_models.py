"""The DAGs with every task a pod: Airflow, MLflow and PostgreSQL run in the cluster too.

Needs the images nucleus-cpu:dev, nucleus-airflow:dev, nucleus-mlflow:dev and postgres:17-bookworm in the cluster.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from nucleus_dags.airflow_api import AirflowApi, AirflowApiError
from nucleus_dags.launchers.command_line import arguments_of
from nucleus_dags.upkeep.clean_up import DAY_S
from tests.cluster.airflow import PORT, manifests
from tests.cluster.conftest import (
    PASSWORDS,
    REPOSITORY,
    TASK_USER,
    Cluster,
    apply,
    give_account,
    gpu_template,
    kubectl,
    make_volumes,
    wait_until,
)
from tests.stored_results import store_result
from tests.synthetic_plates import make_synthetic_plate

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

DAG_ID = "train_models"
DAG_IDS = {path.stem for path in (REPOSITORY / "dags").glob("*.py")}
PLATES = {"train_plates": ["tiny-train"], "test_plates": ["tiny-test"]}
TRAINING = {"rois": 100, "cycles": 1, "encoder": "mobilenetv2", "initialisation": "random"}
FORM = PLATES | TRAINING | {"experiment": "cluster"}
STEPS = (
    "ingest_train.0",
    "ingest_test.0",
    "augment",
    "train.0",
    "train.1",
    "calibrate.0",
    "segment.0",
    "score.0",
)
"""Tasks with numbers, in the order of the work; behind the point the number of a mapped one."""
TRAINING_TASK, POD_OF_TRAINING = "train_fpn2_ws", "train-fpn2-ws"


class Forward:
    """A port of this machine that leads to a service of the cluster, made anew when it broke."""

    def __init__(self, service: str, port: int) -> None:
        self._service, self._port = service, port
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        if self._process is None or self._process.poll() is not None:
            self._start()
        return self._address

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _start(self) -> None:
        command = ["kubectl", "--namespace", "nucleus", "port-forward", f"service/{self._service}", f":{self._port}"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        found = re.search(r"127\.0\.0\.1:\d+", self._process.stdout.readline())
        assert found, f"{self._service} can't be reached"
        self._address = f"http://{found.group()}"


@dataclass
class System:
    cluster: Cluster
    airflow: Forward
    mlflow_server: Forward

    @property
    def mlflow(self) -> MlflowClient:
        return MlflowClient(self.mlflow_server.address)

    def airflow_as(self, person: str) -> AirflowApi:
        return AirflowApi(self.airflow.address, (person, PASSWORDS[person]))

    def ask(self, question: Callable[[AirflowApi], Any]) -> Any:
        """Ask Airflow, again over a new connection while it is away."""
        for attempt in range(60):
            try:
                return question(self.airflow_as("admin"))
            except (AirflowApiError, AssertionError):
                if attempt == 59:
                    raise
                self.airflow.stop()
                time.sleep(2)
        return None

    def dag_ids(self) -> set[str]:
        return {dag["dag_id"] for dag in self.ask(lambda api: api.call("GET", "dags"))["dags"]}

    def start(self, **form: Any) -> str:
        """Start a run. One with the form of an earlier one finds its training done."""
        dag_run_id: str = self.ask(lambda api: api.trigger(DAG_ID, FORM | form))
        return dag_run_id

    def run(self, dag_id: str, **form: Any) -> dict[str, Any]:
        """Start a run of another DAG, wait for its end, and give it."""
        dag_run_id = self.ask(lambda api: api.trigger(dag_id, form))
        wait_until(lambda: self.dag_run(dag_id, dag_run_id)["state"] in ("success", "failed"), f"{dag_run_id} ends")
        return self.dag_run(dag_id, dag_run_id)

    def dag_run(self, dag_id: str, dag_run_id: str) -> dict[str, Any]:
        dag_run: dict[str, Any] = self.ask(lambda api: api.dag_run(dag_id, dag_run_id))
        return dag_run

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self.ask(lambda api: api.call("GET", f"dags/{dag_id}/dagRuns"))["dag_runs"]
        return runs

    def unpause(self, dag_id: str) -> None:
        self.ask(lambda api: api.call("PATCH", f"dags/{dag_id}", {"is_paused": False}))

    def pause(self, dag_id: str) -> None:
        self.ask(lambda api: api.call("PATCH", f"dags/{dag_id}", {"is_paused": True}))

    def state(self, dag_run_id: str) -> str:
        state: str = self.dag_run(DAG_ID, dag_run_id)["state"]
        return state

    def instances(self, dag_run_id: str) -> list[dict[str, Any]]:
        instances: list[dict[str, Any]] = self.ask(lambda api: api.task_instances(DAG_ID, dag_run_id))
        return instances

    def finish(self, dag_run_id: str) -> str:
        wait_until(lambda: self.state(dag_run_id) in ("success", "failed"), f"{dag_run_id} ends", 900)
        return self.state(dag_run_id)

    def lines(self, dag_run_id: str, task_id: str) -> list[str]:
        """All lines of all tries of a task."""
        lines = []
        for instance in self.instances(dag_run_id):
            if instance["task_id"] == task_id and instance["start_date"]:
                for attempt in range(1, instance["try_number"] + 1):
                    one = instance | {"try_number": attempt}
                    lines += self.ask(partial(AirflowApi.log_lines, task_instance=one))
        return lines

    def outcomes(self, plate: str) -> list[dict[str, Any]]:
        """What became of the arrivals of a plate."""
        return [json.loads(path.read_text()) for path in self.cluster.store.glob(f"arrivals/{plate}/*.json")]

    def is_handled(self, plate: str) -> bool:
        return self.outcomes(plate) != []

    def failures(self, dag_run_id: str) -> str:
        """The last lines of the tasks that failed."""
        failed = [
            i["task_id"] for i in self.instances(dag_run_id) if i["state"] not in ("success", "skipped", "removed")
        ]
        return "\n".join(f"{task_id}: {line}" for task_id in failed for line in self.lines(dag_run_id, task_id)[-12:])

    def wait_for_line(self, dag_run_id: str, task_id: str, text: str) -> None:
        wait_until(lambda: any(text in line for line in self.lines(dag_run_id, task_id)), f"{task_id} says {text}", 400)

    def results(self, dag_run_id: str) -> dict[str, dict[str, Any]]:
        """What each task handed back; the names of mapped ones end in their number."""
        folder = self.cluster.store / "dag_runs" / DAG_ID / dag_run_id
        return {
            f"{path.parent.name}.{path.stem}".removesuffix(".-1"): json.loads(path.read_text())
            for path in folder.glob("*/*.json")
        }


@contextmanager
def forwarded(service: str, port: int) -> Iterator[Forward]:
    forward = Forward(service, port)
    yield forward
    forward.stop()


@pytest.fixture(scope="module")
def system(cluster: Cluster, one_gpu: None) -> Iterator[System]:
    """The local overlay, but with a GPU for trainings."""
    apply(gpu_template("gpu"))
    kubectl("patch", "configmap", "airflow-settings", "--patch", json.dumps({"data": {"NUCLEUS_GPUS": "1"}}))
    for random_seed, role in enumerate(("train", "test")):
        make_synthetic_plate(cluster.inbox / f"tiny-{role}", role=role, random_seed=random_seed)
    apply(*manifests())
    kubectl("rollout", "status", "deployment/mlflow", "--timeout=900s")
    kubectl("rollout", "status", "deployment/airflow", "--timeout=900s")
    kubectl("wait", "--for=condition=complete", "job/install-base-model", "--timeout=600s")
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        environment.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORDS["admin"])
        airflow = stack.enter_context(forwarded("airflow-api-server", PORT))
        system = System(cluster, airflow, stack.enter_context(forwarded("mlflow", 5000)))
        wait_until(lambda: system.dag_ids() == DAG_IDS, "all DAGs are read")
        yield system


Pods = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def first_run_and_its_pods(system: System) -> tuple[str, list[Pods]]:
    """A run with two trainings, and the pods of tasks that there were, by name, as often as they were looked at."""
    dag_run_id, looks = system.start(networks="two"), []
    while system.state(dag_run_id) not in ("success", "failed"):
        looks.append({pod["metadata"]["name"]: pod for pod in system.cluster.task_pods()})
        time.sleep(1)
    assert system.state(dag_run_id) == "success", system.failures(dag_run_id)
    return dag_run_id, looks


@pytest.fixture(scope="module")
def first_run(first_run_and_its_pods: tuple[str, list[Pods]]) -> str:
    return first_run_and_its_pods[0]


def test_a_new_cluster_has_the_base_model_as_champion(system: System) -> None:
    assert system.mlflow.get_model_version_by_alias("nucleus-segmenter", "champion").version == "1"


def status(call: Callable[[], Any]) -> int | None:
    """The HTTP status by which a call is refused; None for one that isn't."""
    try:
        call()
    except AirflowApiError as error:
        return error.status
    return None


def test_a_person_may_do_what_their_role_allows_until_the_account_is_taken_away(system: System) -> None:
    give_account("anna", "train")
    wait_until(lambda: status(lambda: system.airflow_as("anna").call("GET", "dags")) is None, "anna is known")
    anna = system.airflow_as("anna")
    assert status(lambda: anna.call("PATCH", f"dags/{DAG_ID}", {"is_paused": False})) is None
    assert status(lambda: anna.trigger("promote_model", {"version": 1, "reason": "to get in"})) == 403
    assert status(lambda: anna.call("PATCH", "dags/retrain_champion", {"is_paused": False})) == 403
    assert status(lambda: anna.call("GET", "connections")) == 403
    assert status(lambda: AirflowApi(system.airflow.address, ("anna", "guessed")).call("GET", "dags")) == 401
    read, login = "experiments/get?experiment_id=0", ("anna", PASSWORDS["anna"])
    # The server's volume gets the accounts at a time of its own.
    wait_until(lambda: mlflow_status(system, "GET", read, login) == 200, "MLflow knows anna")
    assert mlflow_status(system, "GET", read, None) == 401
    assert mlflow_status(system, "POST", "registered-models/alias", login) == 403
    give_account("anna", "none")
    wait_until(lambda: status(lambda: anna.call("GET", "dags")) == 403, "anna is out, though she was logged in")
    assert status(lambda: system.airflow_as("anna").call("GET", "dags")) == 401
    wait_until(lambda: mlflow_status(system, "GET", read, login) == 401, "MLflow doesn't know anna any more")


def mlflow_status(system: System, method: str, path: str, login: tuple[str, str] | None) -> int:
    address = f"{system.mlflow_server.address}/api/2.0/mlflow/{path}"
    return requests.request(method, address, json={}, auth=login, timeout=60).status_code


def test_every_task_of_a_run_was_a_pod_and_none_is_left(system: System, first_run: str) -> None:
    results = system.results(first_run)
    assert set(STEPS) < set(results)
    for task_id in {name.split(".")[0] for name in results}:
        assert any(line.startswith("Building pod ") for line in system.lines(first_run, task_id)), task_id
    assert system.cluster.no_task_pod_is_left()


def test_the_note_of_a_run_has_the_scores(system: System, first_run: str) -> None:
    assert "F1 at 0.7: " in system.dag_run(DAG_ID, first_run)["note"]


def test_trainings_land_on_the_gpu_one_after_the_other(first_run_and_its_pods: tuple[str, list[Pods]]) -> None:
    trainings = [
        {name: pod for name, pod in look.items() if pod["metadata"]["labels"]["nucleus-task"] == TRAINING_TASK}
        for look in first_run_and_its_pods[1]
    ]
    pods = {name: pod for look in trainings for name, pod in look.items()}
    assert len(pods) == 2
    for pod in pods.values():
        assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert pod["spec"]["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
        assert pod["spec"]["nodeName"]
    assert max(len(look) for look in trainings) == 1


def test_the_lines_of_a_task_are_in_its_log(system: System, first_run: str) -> None:
    assert any("cycle 1 of 1: loss" in line for line in system.lines(first_run, "train"))


def test_mlflow_has_the_curve_the_report_and_the_model(system: System, first_run: str) -> None:
    run_id = system.results(first_run)["open_run"]["mlflow_run_id"]
    assert system.mlflow.get_run(run_id).info.status == "FINISHED"
    curve = system.mlflow.get_metric_history(run_id, "f1_curve/MCF10A")
    assert [point.step for point in curve] == list(range(5, 100, 5))
    assert "report" in [item.path for item in system.mlflow.list_artifacts(run_id)]
    [version] = system.mlflow.search_model_versions(f"name = 'nucleus-segmenter' and run_id = '{run_id}'")
    assert str(version.source).startswith("models:/m-")


@pytest.mark.usefixtures("paths_of_pods")
def test_local_processes_give_the_same_numbers(system: System, first_run: str, tmp_path: Path) -> None:
    in_pods = system.results(first_run)
    for step in STEPS:
        task, params = in_pods[step]["task"], in_pods[step]["params"]
        command = [sys.executable, *arguments_of(task, params, tmp_path, tmp_path / "receipt.json")]
        subprocess.run(command, cwd=REPOSITORY, check=True)
        here = json.loads((tmp_path / "receipt.json").read_text())
        assert here["key"] == in_pods[step]["key"], step
        timeless = [name for name in here["metrics"] if "seconds" not in name]
        assert {name: here["metrics"][name] for name in timeless} == {
            name: in_pods[step]["metrics"][name] for name in timeless
        }, step


def test_plates_that_arrive_are_imported_by_pods_and_a_bad_one_is_told_of(system: System, first_run: str) -> None:
    system.unpause("ingest_plates")
    wait_until(lambda: system.is_handled("tiny-train") and system.is_handled("tiny-test"), "the first are handled")
    faulty = make_synthetic_plate(system.cluster.inbox / "faulty", random_seed=3)
    next((faulty / "labels").iterdir()).write_bytes(b"no image")
    good = make_synthetic_plate(system.cluster.inbox / "arrived", random_seed=4)
    for plate in (good, faulty):
        (plate / "DONE").touch()
    wait_until(lambda: system.is_handled("arrived") and system.is_handled("faulty"), "both plates are handled")

    (outcome,) = system.outcomes("arrived")
    assert (system.cluster.store / outcome["plate"] / "report.json").exists()
    # It belongs to root, so it may not be moved.
    (report,) = (system.cluster.inbox / "rejected").glob("faulty-*.txt")
    assert "is neither TIFF nor PNG by its content" in report.read_text()
    assert faulty.exists()
    wait_until(lambda: {run["state"] for run in system.runs("ingest_plates")} == {"success"}, "all its runs end well")
    assert "asset_triggered" in [run["run_type"] for run in system.runs("ingest_plates")]
    system.pause("ingest_plates")
    assert system.cluster.no_task_pod_is_left()


def test_a_version_is_promoted_and_segments_a_plate(system: System, first_run: str) -> None:
    promoted = system.run("promote_model", version=2, reason="trained here")
    assert promoted["state"] == "success"
    tags = system.mlflow.get_model_version("nucleus-segmenter", "2").tags
    assert any("trained here, promoted by admin (DAG run" in text for text in tags.values())
    segmented = system.run("segment_plate", plate="tiny-test", fovs_per_part=1, ome_zarr=True)
    assert segmented["state"] == "success"
    assert "nuclei in 2 fields" in segmented["note"]
    (assembled,) = (system.cluster.store / "assemble_plate").glob("[0-9a-f]*")
    assert len(list((assembled / "labels").iterdir())) == 2
    named = system.cluster.store.parent / "results/tiny-test/v2"
    assert named.resolve() == assembled.resolve()
    assert "/nucleus/results/tiny-test/v2" in segmented["note"]
    assert system.cluster.no_task_pod_is_left()


def test_what_is_old_is_listed_then_removed_everywhere_and_what_is_in_use_stays(system: System) -> None:
    old, recent = (system.run("promote_model", version=1, reason="refused", unknown=1)["dag_run_id"] for _ in range(2))
    log = system.cluster.folder / f"data/logs/dag_id=promote_model/run_id={old}"
    result = system.cluster.store / "score/0123456789abcdef"
    store_result(system.cluster.store, "score/0123456789abcdef", {})
    deleted, champion = system.mlflow.create_run("0").info.run_id, champion_run(system)
    system.mlflow.log_text(deleted, "scores", "scores.txt")
    for run_id in (deleted, champion):
        system.mlflow.delete_run(run_id)
    make_old(system, old, log, result)

    def is_there() -> list[bool]:
        artefacts = list((system.cluster.folder / "data/mlflow").glob(f"*/{deleted}/artifacts/*"))
        dag_runs = [run["dag_run_id"] for run in system.runs("promote_model")]
        return [log.exists(), result.exists(), artefacts != [], old in dag_runs]

    listed = clean_up(system)
    assert is_there() == [True] * 4
    for name in (f"MLflow's run {deleted}", f"run_id={old}", result.name):
        assert name in listed
    assert champion not in listed
    clean_up(system, "--really")
    assert is_there() == [False] * 4
    assert recent in [run["dag_run_id"] for run in system.runs("promote_model")]
    with pytest.raises(MlflowException, match=deleted):
        system.mlflow.get_run(deleted)
    system.mlflow.restore_run(champion)
    assert problems_in_store(system) == set()


def champion_run(system: System) -> str:
    run_id = system.mlflow.get_model_version_by_alias("nucleus-segmenter", "champion").run_id
    assert run_id is not None
    return run_id


def make_old(system: System, dag_run_id: str, *folders: Path) -> None:
    """Let a DAG run, folders, and the runs that were deleted in MLflow be of 100 days ago."""
    in_postgresql = ("exec", "statefulset/postgresql", "--", "psql", "--username=postgres")
    for table in ("dag_run", "task_instance"):
        columns = ", ".join(f"{name} = {name} - interval '100 days'" for name in ("start_date", "end_date"))
        kubectl(
            *in_postgresql, "--dbname=airflow", f"--command=UPDATE {table} SET {columns} WHERE run_id = '{dag_run_id}'"
        )
    then = int(time.time()) - 100 * DAY_S
    change = f"UPDATE runs SET deleted_time = {then * 1000} WHERE lifecycle_stage = 'deleted'"
    kubectl(*in_postgresql, "--dbname=mlflow", f"--command={change}")
    for folder in folders:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, TASK_USER, TASK_USER)
            os.utime(path, (then, then))


def clean_up(system: System, *options: str) -> str:
    """Run `make clean-up` with VOLUME; gives what it prints."""
    return upkeep("clean_up", *options, "--volume", str(system.cluster.store.parent))


def training_pod(system: System) -> str:
    names = [pod["metadata"]["name"] for pod in system.cluster.task_pods() if pod["status"]["phase"] == "Running"]
    [name] = [name for name in names if name.startswith(POD_OF_TRAINING)]
    return name


KILL_THE_TASK = """
import os, pathlib, signal
for path in pathlib.Path("/proc").glob("[0-9]*"):
    if b"tasks.methods.fpn2_ws.train" in (path / "cmdline").read_bytes().split(b"\\0"):
        os.kill(int(path.name), signal.SIGKILL)
"""


def test_a_training_resumes_after_its_last_cycle_after_its_pod_is_deleted_and_after_its_process_is_killed(
    system: System, first_run: str
) -> None:
    dag_run_id = system.start(cycles=7)
    system.wait_for_line(dag_run_id, "train", "cycle 1 of 7: loss")
    run_id = system.results(dag_run_id)["open_run"]["mlflow_run_id"]
    deleted, done = training_pod(system), cycles_in_mlflow(system, run_id)
    kubectl("delete", "pod", deleted, "--wait=false")
    # The log of a task may be minutes behind, and the training over before it says so.
    wait_until(lambda: cycles_in_mlflow(system, run_id) > done + 1, "another cycle is done")
    assert training_pod(system) != deleted
    kubectl("exec", training_pod(system), "--container=base", "--", "python", "-c", KILL_THE_TASK)
    assert system.finish(dag_run_id) == "success", system.failures(dag_run_id)

    [training] = [instance for instance in system.instances(dag_run_id) if instance["task_id"] == "train"]
    assert training["try_number"] == 3
    assert any(" of an earlier attempt" in line for line in system.lines(dag_run_id, "train"))
    assert cycles_done(system, dag_run_id) == Counter(range(1, 8))
    losses = system.mlflow.get_metric_history(run_id, "all/loss")
    assert [point.step for point in losses] == list(range(1, 8))
    assert system.cluster.no_task_pod_is_left()


def cycles_in_mlflow(system: System, run_id: str) -> int:
    return len(system.mlflow.get_metric_history(run_id, "all/loss"))


def cycles_done(system: System, dag_run_id: str) -> Counter[int]:
    """How often each cycle was done. The log may have a line of a pod several times, but with the same time in it."""
    said = (re.search(r"\d+:\d+:\d+ cycle (\d+) of \d+: loss .*", line) for line in system.lines(dag_run_id, "train"))
    lines = {match.group(): int(match.group(1)) for match in said if match}
    return Counter(lines.values())


def test_marking_a_run_failed_leaves_no_pod(system: System, first_run: str) -> None:
    dag_run_id = system.start(cycles=1000)
    system.wait_for_line(dag_run_id, "train", "cycle 1 of 1000: loss")
    path = f"dags/{DAG_ID}/dagRuns/{quote(dag_run_id, safe='')}"
    system.ask(lambda api: api.call("PATCH", path, {"state": "failed"}))
    wait_until(
        lambda: not any(POD_OF_TRAINING in pod["metadata"]["name"] for pod in system.cluster.task_pods()), "it ends"
    )
    assert system.finish(dag_run_id) == "failed"
    assert system.cluster.no_task_pod_is_left()


def test_a_run_resumes_when_airflow_dies_in_its_middle(system: System, first_run: str) -> None:
    dag_run_id = system.start(cycles=5)
    system.wait_for_line(dag_run_id, "train", "cycle 1 of 5: loss")
    # SIGKILL for the scheduler and all else of Airflow. It may lose the log of the try that it died in.
    kubectl("delete", "pod", "-l", "tier=airflow", "--grace-period=0", "--force")
    assert system.finish(dag_run_id) == "success"
    run_id = system.results(dag_run_id)["open_run"]["mlflow_run_id"]
    losses = system.mlflow.get_metric_history(run_id, "all/loss")
    assert [point.step for point in losses] == list(range(1, 6))
    assert system.cluster.no_task_pod_is_left()


def api_server() -> psutil.Process:
    found = [process for process in psutil.process_iter() if process.name() == "kube-apiserver"]
    if not found:
        pytest.skip("the API server of this cluster runs on another machine")
    return found[0]


def test_a_run_resumes_when_the_api_server_of_kubernetes_is_restarted_in_its_middle(
    system: System, first_run: str
) -> None:
    dag_run_id = system.start(cycles=6)
    system.wait_for_line(dag_run_id, "train", "cycle 1 of 6: loss")
    server = api_server()
    in_its_namespaces = ["nsenter", "--target", str(server.ppid()), "--mount", "--pid", "--net", "--"]
    command = server.cmdline()
    server.kill()
    time.sleep(10)
    subprocess.Popen([*in_its_namespaces, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert system.finish(dag_run_id) == "success", system.failures(dag_run_id)
    assert system.cluster.no_task_pod_is_left()


def test_a_backup_made_during_a_training_is_restored_into_an_empty_cluster_where_the_training_goes_on(
    system: System, first_run: str, tmp_path: Path
) -> None:
    dag_run_id = system.start(cycles=4)
    system.wait_for_line(dag_run_id, "train", "cycle 1 of 4: loss")
    known, problems = known_to_servers(system), problems_in_store(system)
    backup("save", tmp_path / "backups", system)
    destroy_all_data(system)

    kubectl("scale", "--replicas=1", "statefulset/postgresql")
    kubectl("rollout", "status", "statefulset/postgresql", "--timeout=300s")
    backup("restore", tmp_path / "backups", system)
    kubectl("scale", "--replicas=1", *SERVERS)
    for server in SERVERS:
        kubectl("rollout", "status", server, "--timeout=600s")

    assert known_to_servers(system) == known
    assert system.finish(dag_run_id) == "success", system.failures(dag_run_id)
    assert cycles_in_mlflow(system, system.results(dag_run_id)["open_run"]["mlflow_run_id"]) == 4
    assert problems_in_store(system) <= problems
    assert system.cluster.no_task_pod_is_left()


SERVERS = ("deployment/mlflow", "deployment/airflow")


def known_to_servers(system: System) -> dict[str, Any]:
    """What Airflow and MLflow know of all that has ended: DAG runs, versions of models, and metrics."""
    versions = system.mlflow.search_model_versions("name = 'nucleus-segmenter'")
    runs = system.mlflow.search_runs([experiment.experiment_id for experiment in system.mlflow.search_experiments()])
    return {
        "DAG runs": {
            (run["dag_run_id"], run["state"], run["note"])
            for dag_id in DAG_IDS
            for run in system.runs(dag_id)
            if run["state"] in ("success", "failed")
        },
        "versions": {version.version: (version.tags, sorted(version.aliases)) for version in versions},
        "metrics": {run.info.run_id: run.data.metrics for run in runs if run.info.status == "FINISHED"},
    }


def problems_in_store(system: System) -> set[str]:
    """Give the lines of `make check-store`, without its sum."""
    command = [sys.executable, "-m", "tasks.store.check", "--store", str(system.cluster.store)]
    environment = os.environ | {"MLFLOW_TRACKING_URI": system.mlflow_server.address}
    checked = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert checked.stdout, checked.stderr
    return set(checked.stdout.splitlines()[:-1])


def backup(action: str, backups: Path, system: System) -> None:
    """Run `make backup` or `make restore` with VOLUME."""
    upkeep("backup", action, str(backups), "--volume", str(system.cluster.store.parent))


def upkeep(module: str, *arguments: str) -> str:
    command = [sys.executable, "-m", f"nucleus_dags.upkeep.{module}", *arguments]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "dags")}
    ended = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def destroy_all_data(system: System) -> None:
    """Stop all pods and empty the volumes, as if disk and cluster were new."""
    kubectl("scale", "--replicas=0", *SERVERS, "statefulset/postgresql")
    kubectl("delete", "pods", "--all", "--wait=true")
    folder = system.cluster.folder
    for name in ("data", "postgresql"):
        shutil.rmtree(folder / name)
    make_volumes(folder)
    system.mlflow_server.stop()
