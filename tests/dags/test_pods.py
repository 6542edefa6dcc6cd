"""Pods of tasks: what is asked of Kubernetes, and what the end of a pod means. No cluster is needed."""

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from kubernetes.client import ApiClient, V1Pod, V1PodCondition

from nucleus_dags.catalogue import CATALOGUE
from nucleus_dags.pods import TaskPodOperator, raise_for_end
from tests.repository import REPOSITORY


def pod_template(name: str) -> V1Pod:
    """The pod of a template of k8s/base."""
    templates = yaml.safe_load_all((REPOSITORY / "k8s/base/pod-templates.yaml").read_text())
    [template] = [content["template"] for content in templates if content["metadata"]["name"] == name]
    pod: V1Pod = PodGenerator.deserialize_model_dict(template)
    return pod


def requested_pod(task: str) -> dict[str, Any]:
    operator = TaskPodOperator(task_id=task, task=task)
    operator.full_pod_spec = pod_template(CATALOGUE[task].container_image)
    pod = operator.build_pod_request_obj(dry_run=True)
    content: dict[str, Any] = ApiClient().sanitize_for_serialization(pod)
    return content


@pytest.mark.parametrize("task", CATALOGUE)
def test_a_pod_asks_for_what_the_catalogue_says_and_no_more(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_GPUS", "4")
    spec = requested_pod(task)["spec"]
    [container] = spec["containers"]
    entry = CATALOGUE[task]
    bounded = {"memory": f"{entry.memory_gib:g}Gi"} | ({"nvidia.com/gpu": "1"} if entry.gpu else {})
    assert container["resources"]["requests"] == bounded | {"cpu": str(entry.cpu), "ephemeral-storage": "1Gi"}
    assert container["resources"]["limits"] == bounded | {"ephemeral-storage": "12Gi"}
    assert container["image"].startswith(f"nucleus-{entry.container_image}:")
    assert spec["priorityClassName"] == ("nucleus-training" if task.startswith("train_") else "nucleus-processing")
    assert spec["activeDeadlineSeconds"] == entry.most_hours * 3600


def test_a_cluster_without_gpus_is_not_asked_for_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_GPUS", "0")
    [container] = requested_pod("train_fpn")["spec"]["containers"]
    assert "nvidia.com/gpu" not in container["resources"]["requests"] | container["resources"]["limits"]


def test_no_pod_asks_for_more_cores_than_a_node_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_MOST_CPUS", "2.5")
    assert requested_pod("augment")["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "2.5"
    assert requested_pod("ingest")["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "1"


@pytest.mark.parametrize("task", ["ingest", "train_fpn"])
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
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert mounts["/nucleus/inbox"]
    assert not mounts["/nucleus/store"]


def test_a_pod_has_time_to_end_and_shows_its_last_words() -> None:
    spec = requested_pod("train_fpn")["spec"]
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
    with pytest.raises(AirflowException, match=r"limit of 16 GiB; raise memory_gib of train_fpn in dags/.*catalogue"):
        raise_for_end("train_fpn", ended(137, "OOMKilled"))


def test_an_eviction_is_named_as_such() -> None:
    pod = ended(143)
    pod.status.reason, pod.status.message = "Evicted", "The node was low on resource: memory."
    with pytest.raises(AirflowException, match=r"was lost: Evicted: The node was low on resource"):
        raise_for_end("train_fpn", pod)


def test_a_pod_that_waits_for_a_node_says_what_the_scheduler_says() -> None:
    pod = ended(0)
    pod.status.phase, pod.status.container_statuses = "Pending", None
    pod.status.conditions = [
        V1PodCondition(
            type="PodScheduled", status="False", message="0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
        )
    ]
    with pytest.raises(AirflowFailException, match=r"could not start: 0/1 nodes .*Insufficient nvidia\.com/gpu"):
        raise_for_end("train_fpn", pod)


def test_a_pod_that_made_room_for_another_says_so_and_is_tried_again() -> None:
    pod = ended(143)
    pod.metadata.deletion_timestamp = "2026-01-02T03:04:05Z"
    because = {"reason": "PreemptionByScheduler", "message": "preempting to accommodate a higher priority pod"}
    pod.status.conditions = [V1PodCondition(type="DisruptionTarget", status="True", **because)]
    with pytest.raises(AirflowException, match="was lost: PreemptionByScheduler: preempting to accommodate") as raised:
        raise_for_end("train_fpn", pod)
    assert not isinstance(raised.value, AirflowFailException)


def test_a_task_that_asks_for_more_gpus_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_GPUS", "2")
    monkeypatch.setitem(CATALOGUE, "train_fpn", replace(CATALOGUE["train_fpn"], gpu=4))
    with pytest.raises(ValueError, match=r"tasks.methods.fpn2_ws.train asks for 4 GPUs, but NUCLEUS_GPUS says there are 2"):
        TaskPodOperator(task_id="train_fpn", task="train_fpn")


def test_a_pod_that_is_gone_was_deleted() -> None:
    with pytest.raises(AirflowException, match="train_fpn was deleted while it ran; the next try goes on"):
        raise_for_end("train_fpn", None)
