"""Pods of tasks: what is asked of Kubernetes, and what the end of a pod means. No cluster is needed."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from kubernetes.client import ApiClient, V1Pod, V1PodCondition

from nucleus_dags.launchers import launch, mounts
from nucleus_dags.launchers.command_line import arguments_of
from nucleus_dags.launchers.kinds import KINDS, TRAIN, resources_of
from nucleus_dags.launchers.pods import TaskPodOperator, raise_for_end
from nucleus_dags.manifest import manifest
from tests import manifests
from tests.dags.task_instance import TaskInstance

STORE = Path("/nucleus/store")
RECEIPT = STORE / "dag_runs/train_models/manual__1/augment/-1.json"


def pod_template(name: str) -> V1Pod:
    """The pod of a template of k8s/base."""
    pod: V1Pod = PodGenerator.deserialize_model_dict(manifests.pod_template(name)["template"])
    return pod


CONTEXT: Any = {"ti": SimpleNamespace(dag_id="train_models", run_id="manual__1")}


def requested_pod(task: str, part: dict[str, Any] | None = None) -> dict[str, Any]:
    """Give the pod that is asked for when a task runs, for one part of it if it is a mapped one."""
    settings = {"task": "segment"} if task == "find_stored" else {}
    operator = TaskPodOperator(task_id=task, task=task, each=part, settings=settings)
    params = operator._remembered(cast(dict[str, Any], operator._given()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operator, "_template", lambda: pod_template(resources_of(operator.task)["container_image"]))
        patch.setattr(operator, "_execute_when_the_quota_has_room", lambda context: None)
        patch.setattr(mounts, "make_folders", lambda *_: None)
        operator.run_command(params, arguments_of(operator.task, params, STORE, RECEIPT), CONTEXT)
    pod = operator.build_pod_request_obj(dry_run=True)
    content: dict[str, Any] = ApiClient().sanitize_for_serialization(pod)
    return content


@pytest.mark.parametrize("task", manifest()["tasks"])
def test_a_pod_asks_for_what_the_manifest_says_and_no_more(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_GPUS", "4")
    spec = requested_pod(task)["spec"]
    [container] = spec["containers"]
    needed = resources_of(task)
    bounded = {"memory": f"{needed['memory_gib']:g}Gi"} | ({"nvidia.com/gpu": "1"} if needed["gpu"] else {})
    assert container["resources"]["requests"] == bounded | {"cpu": str(needed["cpu"]), "ephemeral-storage": "1Gi"}
    assert container["resources"]["limits"] == bounded | {"ephemeral-storage": "12Gi"}
    assert container["image"].startswith(f"nucleus-{needed['container_image']}:")
    assert spec["priorityClassName"] == ("nucleus-training" if task.startswith("train_") else "nucleus-processing")
    assert spec["activeDeadlineSeconds"] == KINDS[needed["kind"]].most_hours * 3600


def test_a_part_of_a_mapped_task_gets_the_pod_of_the_task_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_GPUS", "4")
    monkeypatch.setitem(resources_of("train_jacobkie"), "memory_gib", 12)
    pod = requested_pod(TRAIN, {"task": "train_jacobkie", "mlflow_run_id": "0123abcd", "cycles": 3})
    [container] = pod["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "12Gi"
    assert {"name": "MLFLOW_RUN_ID", "value": "0123abcd"} in container["env"]
    assert pod["metadata"]["labels"]["nucleus-task"] == "train_jacobkie"
    assert pod["metadata"]["name"].startswith("train-jacobkie")


@pytest.mark.parametrize("name", ["nvidia.com/mig-1g.10gb", "nvidia.com/gpu.shared"])
def test_parts_of_gpus_are_asked_for_by_the_name_that_the_nodes_give_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUCLEUS_GPUS", "4")
    monkeypatch.setenv("NUCLEUS_GPU_RESOURCE", name)
    [container] = requested_pod("train_fpn2_ws")["spec"]["containers"]
    assert container["resources"]["requests"][name] == container["resources"]["limits"][name] == "1"
    assert "nvidia.com/gpu" not in container["resources"]["limits"]


def test_segment_runs_on_a_gpu_where_it_is_told_to_and_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_GPUS", "4")
    monkeypatch.setenv("NUCLEUS_ON_GPU", "segment")
    spec = requested_pod("segment")["spec"]
    [container] = spec["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["image"].startswith("nucleus-gpu:")
    assert spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert (launch("segment").pool, launch("score").pool) == ("gpu", "processing")
    monkeypatch.setenv("NUCLEUS_GPUS", "0")
    assert requested_pod("segment")["spec"]["containers"][0]["image"].startswith("nucleus-cpu:")
    assert launch("segment").pool == "processing"


def test_a_cluster_without_gpus_is_not_asked_for_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_GPUS", "0")
    [container] = requested_pod("train_fpn2_ws")["spec"]["containers"]
    assert "nvidia.com/gpu" not in container["resources"]["requests"] | container["resources"]["limits"]


def test_no_pod_asks_for_more_cores_than_a_node_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_MOST_CPUS", "2.5")
    assert requested_pod("augment")["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "2.5"
    assert requested_pod("ingest")["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "1"


def test_a_task_works_on_as_many_cores_as_its_memory_is_made_for_whatever_its_node_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NUCLEUS_MOST_CPUS", "0.2")
    [container] = requested_pod("augment")["spec"]["containers"]
    said = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert (said["NUCLEUS_CORES"], said["OMP_NUM_THREADS"]) == ("8", "8")


@pytest.mark.parametrize("task", ["ingest", "train_fpn2_ws"])
def test_a_pod_has_no_more_rights_than_it_needs(task: str) -> None:
    spec = requested_pod(task)["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def mounts_of(task: str, part: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """What a pod gets of the volume, by the path at which it has it."""
    [container] = requested_pod(task, part)["spec"]["containers"]
    return {mount.pop("mountPath"): mount for mount in container["volumeMounts"] if mount["name"] == "nucleus"}


@pytest.mark.parametrize("task", manifest()["tasks"])
def test_a_task_writes_to_its_own_results_and_its_receipt_alone(task: str) -> None:
    found = mounts_of(task)
    asked_for = {"find_stored": ["segment"], "find_experiments": mounts.tasks_of_experiments()}.get(task, [])
    marked_as_in_use = {f"/nucleus/store/{name}": f"store/{name}" for name in asked_for}
    assert {path: mount["subPath"] for path, mount in found.items() if not mount.get("readOnly")} == {
        f"/nucleus/store/{task}": f"store/{task}",
        str(RECEIPT.parent): f"store/{RECEIPT.parent.relative_to(STORE)}",
    } | marked_as_in_use
    assert found["/nucleus/store"] == {"name": "nucleus", "subPath": "store", "readOnly": True}


def test_a_part_of_a_mapped_task_writes_to_the_results_of_the_task_that_it_names() -> None:
    found = mounts_of(TRAIN, {"task": "train_external"})
    assert not found["/nucleus/store/train_external"].get("readOnly")


def test_only_what_reads_the_inbox_or_pretrained_weights_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_INBOX", "/nucleus/inbox")
    found = {task: mounts_of(task) for task in manifest()["tasks"]}
    assert [task for task in found if "/nucleus/inbox" in found[task]] == []
    trainings = {method["task"] for method in manifest()["methods"].values()}
    # A matrix of experiments is planned by the pretrained weights that there are.
    assert {task for task in found if "/nucleus/weights" in found[task]} == trainings | {"find_experiments"}
    of_arrival = mounts_of("ingest", {"folder": "/nucleus/inbox/plate"})
    assert of_arrival["/nucleus/inbox"] == {"name": "nucleus", "subPath": "inbox", "readOnly": True}
    assert "/nucleus/inbox" not in mounts_of("ingest", {"folder": "/nucleus/store/receive_annotation/1/plate"})
    of_upload = mounts_of("inspect_plate", {"folder": "/nucleus/inbox/.uploads/0123456789abcdef/p", "values": {}})
    assert of_upload["/nucleus/inbox"]["readOnly"]


def test_a_store_that_the_template_has_read_only_stays_so() -> None:
    pod = pod_template("cpu")
    [container] = pod.spec.containers
    [of_store] = [mount for mount in container.volume_mounts if mount.mount_path == str(STORE)]
    of_store.read_only = True
    mounts.narrow(container, "augment", {}, STORE, RECEIPT)
    assert all(mount.read_only for mount in container.volume_mounts if mount.mount_path.startswith(str(STORE)))


def test_the_folders_that_a_pod_writes_to_are_there_before_it_and_belong_to_airflow(tmp_path: Path) -> None:
    mounts.make_folders("augment", {}, tmp_path, tmp_path / "dag_runs/a/b/c/-1.json")
    assert (tmp_path / "augment").is_dir()
    assert (tmp_path / "dag_runs/a/b/c").is_dir()


def test_a_pod_has_time_to_end_and_shows_its_last_words() -> None:
    spec = requested_pod("train_fpn2_ws")["spec"]
    assert spec["terminationGracePeriodSeconds"] >= 30
    assert spec["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert spec["restartPolicy"] == "Never"


def ended(exit_code: int, reason: str = "Error", message: str = "") -> V1Pod:
    """A pod as the API server gives it."""
    state = {"terminated": {"exitCode": exit_code, "reason": reason, "message": message}}
    statuses = [{"name": "base", "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": state}]
    content = {"metadata": {}, "status": {"phase": "Failed", "containerStatuses": statuses}}

    class Answer:
        data = json.dumps(content)

    pod: V1Pod = ApiClient().deserialize(Answer, V1Pod)
    return pod


def test_bad_input_fails_without_a_retry_and_with_the_tasks_own_line() -> None:
    pod = ended(2, message="12:00:00 ingest: reading\n12:00:01 ingest: plate.json: role is missing; add it.\n")
    with pytest.raises(AirflowFailException, match=r"plate\.json: role is missing; add it\."):
        raise_for_end("ingest", pod)


def test_nothing_to_do_is_a_skipped_task() -> None:
    with pytest.raises(AirflowSkipException):
        raise_for_end("ingest", ended(99))


def test_a_fault_may_be_retried() -> None:
    with pytest.raises(AirflowException, match=r"score ended with status 1; its last line: a fault") as raised:
        raise_for_end("score", ended(1, message="a fault"))
    assert not isinstance(raised.value, AirflowFailException | AirflowSkipException)


def test_out_of_memory_names_the_limit_and_what_raises_it() -> None:
    with pytest.raises(AirflowException, match=r"limit of 16 GiB; raise memory_gib of its TASK's .*tasks\.manifest"):
        raise_for_end("train_fpn2_ws", ended(137, "OOMKilled"))


def test_an_eviction_is_named_as_such() -> None:
    pod = ended(143)
    pod.status.reason, pod.status.message = "Evicted", "The node was low on resource: memory."
    with pytest.raises(AirflowException, match=r"was lost: Evicted: The node was low on resource"):
        raise_for_end("train_fpn2_ws", pod)


def test_a_pod_that_waits_for_a_node_says_what_the_scheduler_says() -> None:
    pod = ended(0)
    pod.status.phase, pod.status.container_statuses = "Pending", None
    pod.status.conditions = [
        V1PodCondition(
            type="PodScheduled", status="False", message="0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
        )
    ]
    with pytest.raises(AirflowFailException, match=r"could not start: 0/1 nodes .*Insufficient nvidia\.com/gpu"):
        raise_for_end("train_fpn2_ws", pod)


def test_a_pod_that_made_room_for_another_says_so_and_is_tried_again() -> None:
    pod = ended(143)
    pod.metadata.deletion_timestamp = "2026-01-02T03:04:05Z"
    because = {"reason": "PreemptionByScheduler", "message": "preempting to accommodate a higher priority pod"}
    pod.status.conditions = [V1PodCondition(type="DisruptionTarget", status="True", **because)]
    with pytest.raises(AirflowException, match="was lost: PreemptionByScheduler: preempting to accommodate") as raised:
        raise_for_end("train_fpn2_ws", pod)
    assert not isinstance(raised.value, AirflowFailException)


def test_a_task_that_asks_for_more_gpus_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_GPUS", "2")
    monkeypatch.setitem(resources_of("train_fpn2_ws"), "gpu", 4)
    with pytest.raises(ValueError, match="train asks for 4 GPUs, but NUCLEUS_GPUS says there are 2"):
        launch(TRAIN)


def test_a_pod_that_is_gone_was_deleted() -> None:
    with pytest.raises(AirflowException, match="train_fpn2_ws was deleted while it ran; the next try resumes"):
        raise_for_end("train_fpn2_ws", None)


def test_airflow_pushes_the_result_of_a_pod_itself_so_that_tasks_are_mapped_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUCLEUS_STORE", str(tmp_path))
    operator = TaskPodOperator(task_id="list_models", task="list_models", hand_on=lambda result, known: [1, 2])
    pushed_by_the_provider = []
    monkeypatch.setattr(operator, "run_command", lambda *_: pushed_by_the_provider.append(operator.do_xcom_push))
    monkeypatch.setattr(operator, "_result_of", lambda *_: {"outputs": {}, "values": {}, "mlflow_run_id": None})
    instance = TaskInstance()
    assert operator.execute({"ti": instance}) == [1, 2]  # type: ignore[typeddict-item]
    assert pushed_by_the_provider == [False]
    assert operator.do_xcom_push
    assert "return_value" not in instance.xcoms
