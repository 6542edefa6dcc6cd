"""Single tasks as pods of a real cluster: `make test-cluster`, with KUBECONFIG and the image nucleus-cpu:dev loaded.

The cluster's node must see this machine's folders, as kind, minikube with a mount and a cluster on this machine do.
"""

import itertools
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from nucleus_dags.launchers import pods
from nucleus_dags.launchers.kinds import KINDS, resources_of
from nucleus_dags.launchers.pods import TaskPodOperator
from tests.cluster.conftest import NAMESPACE, REPOSITORY, TASK_USER, Cluster, apply, gpu_template, kubectl, wait_until
from tests.dags.task_instance import TaskInstance

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600), pytest.mark.usefixtures("connection", "paths_of_pods")]

TINY_PLATE = {"name": "tiny", "cell_line": "MCF10A", "fovs": 1, "height_px": 128, "width_px": 128}
# Some seconds of work, long enough to be disturbed.
LARGE_PLATE = TINY_PLATE | {"name": "large", "fovs": 300, "height_px": 512, "width_px": 512}

MAP_INDICES = itertools.count()


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the settings of Airflow say in the cluster, but for a program outside of it, which is another user."""
    settings = json.loads(kubectl("get", "configmap", "airflow-settings", "-o", "json"))["data"]
    for name in ("NUCLEUS_STORE", "NUCLEUS_INBOX", "NUCLEUS_MOST_CPUS", "NUCLEUS_MOST_MEMORY_GIB", "NUCLEUS_GPUS"):
        monkeypatch.setenv(name, settings[name])
    extra = {"kube_config_path": os.environ["KUBECONFIG"], "namespace": NAMESPACE}
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps({"conn_type": "kubernetes", "extra": extra}))
    # Folders that it makes for tasks are to be written to by them.
    before = os.umask(0)
    yield
    os.umask(before)


def run(task: str, settings: dict[str, Any]) -> tuple[dict[str, Any], TaskInstance]:
    """Run a task as a task instance of its own."""
    instance = TaskInstance(task, next(MAP_INDICES))
    operator = TaskPodOperator(task_id=task, task=task, settings=settings)
    context = {"ti": instance, "run_id": instance.run_id, "dag": object()}
    return operator.execute(context), instance  # type: ignore[arg-type]


def runs_synthesize_with(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
    """Change what the manifest says of the resources of `synthesize`."""
    for name, value in changed.items():
        monkeypatch.setitem(resources_of("synthesize"), name, value)


def changed_template(name: str, change: Any) -> None:
    """Make a PodTemplate of the one for `cpu`; `change` gets its pod."""
    content = json.loads(kubectl("get", "podtemplate", "cpu", "-o", "json"))
    change(content["template"])
    apply({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": name}, "template": content["template"]})


class Attempt(threading.Thread):
    """A task that runs beside the test."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self._settings = settings
        self.failure: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            run("synthesize", self._settings)
        except Exception as error:
            self.failure = error


def wait_for_running_pods(cluster: Cluster, amount: int = 1) -> list[str]:
    def running() -> list[str]:
        return [pod["metadata"]["name"] for pod in cluster.task_pods() if pod["status"]["phase"] == "Running"]

    wait_until(lambda: len(running()) >= amount, f"{amount} pods run", 120)
    return running()


def test_a_task_runs_as_a_pod_and_its_result_is_read_back(cluster: Cluster) -> None:
    result, instance = run("synthesize", TINY_PLATE)
    assert (cluster.store / result["outputs"]["plate"] / "plate.json").exists()
    assert instance.xcoms["plate"] == result["outputs"]["plate"]
    assert cluster.no_task_pod_is_left()


def test_a_pod_says_whose_it_is(cluster: Cluster) -> None:
    attempt = Attempt(LARGE_PLATE)
    wait_for_running_pods(cluster)
    [pod] = cluster.task_pods()
    labels = pod["metadata"]["labels"]
    assert (labels["nucleus-task"], labels["dag_id"], labels["task_id"]) == ("synthesize", "train_models", "synthesize")
    assert labels["run_id"].startswith("manual__2026-01-02")
    kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=1")
    attempt.join()
    assert cluster.no_task_pod_is_left()


def test_bad_input_fails_without_a_retry_and_with_the_tasks_own_line(cluster: Cluster) -> None:
    with pytest.raises(AirflowFailException, match=r"cell_line: Input should be 'MCF10A'.* got 'HeLa'"):
        run("synthesize", TINY_PLATE | {"cell_line": "HeLa"})
    assert cluster.no_task_pod_is_left()


def test_out_of_memory_names_the_limit(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    runs_synthesize_with(monkeypatch, memory_gib=0.25)
    with pytest.raises(AirflowException, match=r"needed more memory than its limit of 0\.25 GiB; raise"):
        run("synthesize", TINY_PLATE | {"height_px": 5000, "width_px": 5000})
    assert cluster.no_task_pod_is_left()


@pytest.mark.parametrize(
    ("policy", "reason"), [("Never", "ErrImageNeverPull"), ("IfNotPresent", "(ErrImagePull|ImagePullBackOff)")]
)
def test_an_image_that_is_missing_is_named(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, policy: str, reason: str
) -> None:
    def without_image(pod: dict[str, Any]) -> None:
        pod["spec"]["containers"][0] |= {"image": "nucleus-cpu:missing", "imagePullPolicy": policy}

    changed_template("without-image", without_image)
    runs_synthesize_with(monkeypatch, container_image="without-image")
    with pytest.raises(AirflowException, match=rf"could not start: {reason}: .*nucleus-cpu:missing"):
        run("synthesize", TINY_PLATE)
    assert cluster.no_task_pod_is_left()


def test_a_template_that_is_missing_is_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    runs_synthesize_with(monkeypatch, container_image="tpu")
    with pytest.raises(
        AirflowException, match=r'PodTemplate tpu can\'t be read \(podtemplates "tpu" not found\); apply'
    ):
        run("synthesize", TINY_PLATE)


def test_a_pod_deleted_while_it_runs_fails_and_the_next_try_does_the_work(cluster: Cluster) -> None:
    attempt = Attempt(LARGE_PLATE)
    [pod] = wait_for_running_pods(cluster)
    time.sleep(5)
    kubectl("delete", "pod", pod, "--wait=false")
    attempt.join(120)
    assert "was deleted while it ran; the next try resumes" in str(attempt.failure)
    assert not isinstance(attempt.failure, AirflowFailException)
    result, _ = run("synthesize", LARGE_PLATE | {"fovs": 2})
    assert result["counts"]["fovs"] == 2
    assert cluster.no_task_pod_is_left()


def test_a_pod_that_a_drained_node_evicts_fails_and_may_be_tried_again(cluster: Cluster) -> None:
    attempt = Attempt(LARGE_PLATE | {"name": "drained"})
    [pod] = wait_for_running_pods(cluster)
    # What `kubectl drain` asks for every pod of a node, here for this one alone.
    eviction = {"kind": "Eviction", "metadata": {"name": pod, "namespace": NAMESPACE}}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
    kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction | {"apiVersion": evictions()}))
    attempt.join(120)
    assert re.search("was (deleted while it ran|lost).*; the next try resumes", str(attempt.failure))
    assert not isinstance(attempt.failure, AirflowFailException)
    assert cluster.no_task_pod_is_left()


def test_the_store_of_a_cluster_is_checked_by_hand(cluster: Cluster) -> None:
    run("synthesize", TINY_PLATE)
    kubectl("rollout", "status", "deployment/mlflow", "--timeout=300s")
    command = [str(REPOSITORY / "k8s/run-task.sh"), "tasks.store.check", "--store", "/nucleus/store"]
    checked = subprocess.run(command, capture_output=True, text=True)
    *problems, end = checked.stdout.splitlines()
    assert "results and " in end, checked.stderr
    assert checked.returncode == int(problems != [])
    assert not any("altered" in problem for problem in problems)
    assert cluster.no_task_pod_is_left()


def evictions() -> str:
    """The version of evictions that the cluster has: v1 came with Kubernetes 1.22."""
    resources = json.loads(kubectl("get", "--raw", "/api/v1"))["resources"]
    [kind] = [resource for resource in resources if resource["name"] == "pods/eviction"]
    return f"{kind['group']}/{kind['version']}"


def test_a_pod_that_runs_too_long_is_ended(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = resources_of("synthesize")["kind"]
    monkeypatch.setitem(KINDS, kind, replace(KINDS[kind], most_hours=5 / 3600))
    with pytest.raises(AirflowException, match="was lost: DeadlineExceeded"):
        run("synthesize", LARGE_PLATE)
    assert cluster.no_task_pod_is_left()


@pytest.fixture
def tasks_with_a_gpu(cluster: Cluster, connection: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """`synthesize` asks for a GPU."""
    apply(gpu_template("with-gpu"))
    runs_synthesize_with(monkeypatch, container_image="with-gpu", gpu=1)
    monkeypatch.setenv("NUCLEUS_GPUS", "1")


@pytest.mark.usefixtures("tasks_with_a_gpu")
def test_a_pod_that_finds_no_gpu_says_so_in_bounded_time(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "WAIT_FOR_NODE_S", 8)
    with pytest.raises(AirflowException, match=r"synthesize could not start: .*nodes are available: .*"):
        run("synthesize", TINY_PLATE)
    assert cluster.no_task_pod_is_left()


@pytest.mark.usefixtures("one_gpu", "tasks_with_a_gpu")
def test_two_pods_that_need_the_one_gpu_wait_for_one_another(cluster: Cluster) -> None:
    attempts = [Attempt(LARGE_PLATE | {"name": name, "fovs": 40}) for name in ("first", "second")]
    most_at_once, waited = 0, False
    while any(attempt.is_alive() for attempt in attempts):
        pods_now = cluster.task_pods()
        most_at_once = max(most_at_once, [pod["status"]["phase"] for pod in pods_now].count("Running"))
        conditions = [condition for pod in pods_now for condition in pod["status"].get("conditions", [])]
        waited |= any("Insufficient nvidia.com/gpu" in condition.get("message", "") for condition in conditions)
        time.sleep(0.5)
    assert [attempt.failure for attempt in attempts] == [None, None]
    assert most_at_once == 1
    assert waited
    assert cluster.no_task_pod_is_left()


@pytest.mark.usefixtures("one_gpu", "tasks_with_a_gpu")
def test_a_training_gives_its_gpu_up_to_a_segmentation_and_may_be_tried_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpu = {"container_image": "with-gpu", "gpu": 1}
    runs_synthesize_with(monkeypatch, **with_gpu, kind="training")
    training = Attempt(LARGE_PLATE | {"name": "training"})
    wait_for_running_pods(cluster)
    runs_synthesize_with(monkeypatch, **with_gpu, kind="processing")
    result, _ = run("synthesize", TINY_PLATE | {"name": "segmentation"})
    assert result["counts"]["fovs"] == 1
    training.join(120)
    assert re.search("was (deleted while it ran|lost).*; the next try resumes", str(training.failure))
    assert not isinstance(training.failure, AirflowFailException)
    assert cluster.no_task_pod_is_left()


@pytest.fixture
def quota_for_one_pod() -> Iterator[None]:
    """A quota that leaves room for the servers and one pod of a task."""
    # The pod of the installation counts until it has ended.
    kubectl("wait", "--for=condition=complete", "job/install-base-model", "--timeout=400s")
    pods_there = json.loads(kubectl("get", "pods", "-o", "json"))["items"]
    running = sum(pod["status"]["phase"] not in ("Succeeded", "Failed") for pod in pods_there)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "one-pod"}}
    apply(quota | {"spec": {"hard": {"pods": str(running + 1)}}})
    wait_until(lambda: "status" in json.loads(kubectl("get", "quota", "one-pod", "-o", "json")), "the quota is counted")
    yield
    kubectl("delete", "quota", "one-pod")


@pytest.mark.usefixtures("quota_for_one_pod")
def test_a_pod_waits_for_the_quota_and_then_runs(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "QUOTA_CHECK_EVERY_S", 1)
    attempt = Attempt(LARGE_PLATE | {"fovs": 30})
    wait_for_running_pods(cluster)
    result, _ = run("synthesize", TINY_PLATE | {"name": "waited"})
    assert result["counts"]["fovs"] == 1
    attempt.join()
    assert attempt.failure is None
    assert cluster.no_task_pod_is_left()


@pytest.mark.usefixtures("quota_for_one_pod")
def test_a_quota_that_stays_full_is_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "QUOTA_CHECK_EVERY_S", 1)
    monkeypatch.setattr(pods, "WAIT_FOR_NODE_S", 3)
    attempt = Attempt(LARGE_PLATE | {"name": "in-the-way"})
    [pod] = wait_for_running_pods(cluster)
    with pytest.raises(AirflowException, match=r"Kubernetes refuses the pod of synthesize: .*exceeded quota: one-pod"):
        run("synthesize", TINY_PLATE | {"name": "refused"})
    kubectl("delete", "pod", pod, "--grace-period=1")
    attempt.join()
    assert cluster.no_task_pod_is_left()


def test_a_store_that_is_read_only_is_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_store_read_only(pod: dict[str, Any]) -> None:
        [store] = [m for m in pod["spec"]["containers"][0]["volumeMounts"] if m["mountPath"] == "/nucleus/store"]
        store["readOnly"] = True

    changed_template("read-only", with_store_read_only)
    runs_synthesize_with(monkeypatch, container_image="read-only")
    with pytest.raises(
        AirflowException, match=r"/nucleus/store/.*: user 10001 may not use it \(Read-only file system\); correct"
    ):
        run("synthesize", TINY_PLATE | {"name": "not-written"})
    assert cluster.no_task_pod_is_left()


@pytest.fixture
def small_volume(cluster: Cluster) -> Iterator[Path]:
    """A file system of 1 MB that pods may mount."""
    kubelets = [process.pid for process in psutil.process_iter() if process.name() == "kubelet"]
    if not kubelets:
        pytest.skip("the kubelet of this cluster runs on another machine")
    folder = cluster.folder / "small"
    folder.mkdir()
    for_kubelet = ["nsenter", f"--target={kubelets[0]}", "--mount"]
    options = f"size=1m,uid={TASK_USER}"
    subprocess.run([*for_kubelet, "mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    yield folder
    subprocess.run([*for_kubelet, "umount", folder], check=True)


def test_a_store_that_is_full_is_named(cluster: Cluster, small_volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_little_room(pod: dict[str, Any]) -> None:
        pod["spec"]["volumes"].append({"name": "full", "hostPath": {"path": str(small_volume), "type": "Directory"}})
        [store] = [m for m in pod["spec"]["containers"][0]["volumeMounts"] if m["mountPath"] == "/nucleus/store"]
        store["name"] = "full"
        del store["subPath"]

    changed_template("full", with_little_room)
    runs_synthesize_with(monkeypatch, container_image="full")
    with pytest.raises(AirflowException, match="no space left in the store /nucleus/store; free some"):
        run("synthesize", LARGE_PLATE | {"name": "too-large"})
    assert cluster.no_task_pod_is_left()
