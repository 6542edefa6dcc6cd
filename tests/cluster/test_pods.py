"""Tasks as pods of a real cluster: `make test-cluster`, with KUBECONFIG and the image nucleus-cpu:dev loaded.

The cluster's node must see this machine's folders, as kind, minikube with a mount and a cluster on this machine do.
"""

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from nucleus_dags.catalogue import CATALOGUE, CatalogueEntry
from nucleus_dags.pods import TaskPodOperator

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).parents[2]
USER = 10001
TINY_PLATE = {"name": "tiny", "cell_line": "MCF10A", "fovs": 1, "height_px": 128, "width_px": 128}


@dataclass
class TaskInstance:
    """What the operator uses of Airflow's."""

    task_id: str
    dag_id: str = "train_models"
    run_id: str = "manual__2026-01-02T03:04:05+00:00"
    map_index: int = -1
    try_number: int = 1
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    command = ["kubectl", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The namespace with its claim bound to a folder of this machine."""
    folder = tmp_path_factory.mktemp("nucleus")
    for path in (folder, *(folder / name for name in ("store", "inbox", "weights"))):
        path.mkdir(exist_ok=True)
        os.chown(path, USER, USER)
        path.chmod(0o755)
    for parent in folder.parents[:3]:
        parent.chmod(0o755)
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "nucleus-test"},
        "spec": {
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "hostPath": {"path": str(folder), "type": "Directory"},
            "claimRef": {"namespace": "nucleus", "name": "nucleus"},
        },
    }
    kubectl("apply", "-k", str(REPOSITORY / "k8s/base"))
    kubectl("apply", "-f", "-", stdin=json.dumps(volume))
    yield folder
    kubectl("delete", "--wait=true", "-k", str(REPOSITORY / "k8s/base"))
    kubectl("delete", "--wait=true", "pv", "nucleus-test")


@pytest.fixture
def store(shared_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The store as the pods have it, which is where the operator looks for it too."""
    monkeypatch.setenv("NUCLEUS_POD_TEMPLATES", str(REPOSITORY / "k8s/base/pods"))
    monkeypatch.setenv("NUCLEUS_STORE", "/nucleus/store")
    connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": os.environ["KUBECONFIG"]}}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
    here = Path("/nucleus/store")
    if not here.exists():
        here.parent.mkdir(exist_ok=True)
        here.symlink_to(shared_folder / "store")
    yield here
    here.unlink()


def run(task: str, settings: dict[str, Any]) -> tuple[dict[str, Any], TaskInstance]:
    instance = TaskInstance(task)
    operator = TaskPodOperator(task_id=task, task=task, settings=settings)
    context = {"ti": instance, "run_id": instance.run_id, "dag": object()}
    return operator.execute(context), instance  # type: ignore[arg-type]


def pods() -> list[str]:
    return kubectl("get", "pods", "-n", "nucleus", "-o", "name").split()


def no_pod_is_left() -> bool:
    """A pod that was deleted may take its grace period to go."""
    deadline = time.monotonic() + 90
    while pods() and time.monotonic() < deadline:
        time.sleep(1)
    return pods() == []


def test_a_task_runs_as_a_pod_and_its_result_is_read_back(store: Path) -> None:
    result, instance = run("synthesize", TINY_PLATE)
    assert (store / result["outputs"]["plate"] / "plate.json").exists()
    assert instance.xcoms["plate"] == result["outputs"]["plate"]
    assert no_pod_is_left()


def test_bad_input_fails_without_a_retry_and_with_the_tasks_own_line(store: Path) -> None:
    with pytest.raises(AirflowFailException, match=r"cell_line: Input should be 'MCF10A'.* got 'HeLa'"):
        run("synthesize", TINY_PLATE | {"cell_line": "HeLa"})
    assert no_pod_is_left()


def test_out_of_memory_names_the_limit(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, "synthesize", CatalogueEntry("tasks.synthesize", memory_gib=0.25))
    with pytest.raises(AirflowException, match=r"needed more memory than its limit of 0\.25 GiB; raise"):
        run("synthesize", TINY_PLATE | {"height_px": 5000, "width_px": 5000})
    assert no_pod_is_left()


def test_a_pod_that_finds_no_gpu_says_so_in_bounded_time(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CATALOGUE, "synthesize", CatalogueEntry("tasks.synthesize", gpu=1))
    monkeypatch.setattr("nucleus_dags.pods.WAIT_FOR_NODE_S", 8)
    with pytest.raises(AirflowException, match=r"synthesize could not start: .*Insufficient nvidia\.com/gpu"):
        run("synthesize", TINY_PLATE)
    assert no_pod_is_left()


def test_an_image_that_is_missing_is_named(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = (REPOSITORY / "k8s/base/pods/cpu.yaml").read_text()
    template = template.replace("nucleus-cpu:dev", "nucleus-cpu:missing").replace("IfNotPresent", "Never")
    (tmp_path / "cpu.yaml").write_text(template)
    monkeypatch.setenv("NUCLEUS_POD_TEMPLATES", str(tmp_path))
    with pytest.raises(AirflowException, match=r"could not start: ErrImageNeverPull: .*nucleus-cpu:missing"):
        run("synthesize", TINY_PLATE)
    assert no_pod_is_left()


def test_a_pod_deleted_while_it_runs_fails_and_the_next_try_does_the_work(store: Path) -> None:
    many_fields = TINY_PLATE | {"name": "many", "fovs": 300, "height_px": 512, "width_px": 512}
    failures: list[BaseException] = []

    def first_try() -> None:
        try:
            run("synthesize", many_fields)
        except AirflowException as error:
            failures.append(error)

    thread = threading.Thread(target=first_try)
    thread.start()
    deadline = time.monotonic() + 120
    while "Running" not in kubectl("get", "pods", "-n", "nucleus"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    time.sleep(5)
    kubectl("delete", "-n", "nucleus", "--wait=false", *pods())
    thread.join(120)
    assert len(failures) == 1
    assert not isinstance(failures[0], AirflowFailException)
    result, _ = run("synthesize", many_fields | {"fovs": 2})
    assert result["counts"]["fovs"] == 2
    assert no_pod_is_left()
