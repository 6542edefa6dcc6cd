"""Run tasks as pods. Imported only where pods are used, because the provider's import takes seconds.

What all pods of a laboratory have in common (image and release, volumes, security, node selector, secrets) stands in
one PodTemplate of the cluster for each container image; see k8s/base/pod-templates.yaml. A task adds what the
manifest says of it: its command, its resources, its priority, and how long it may take.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import TRANSIENT_CONNECTION_ERRORS
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.pod_generator import make_safe_label_value
from airflow.providers.cncf.kubernetes.utils.container import container_is_running
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodManager, PodPhase
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client import ApiException, V1ContainerState, V1ContainerStateTerminated, V1Pod, V1ResourceRequirements

from nucleus_dags.launchers import mounts
from nucleus_dags.launchers.kinds import KINDS, gpu_resource, gpus_of_a_pod, resources_of
from nucleus_dags.launchers.task_operator import TaskOperator, raise_unless_done

if TYPE_CHECKING:
    from airflow.sdk import Context

WAIT_FOR_NODE_S = 30 * 60
"""Of a pod that no node has room for, or that the quota has no room for. It isn't tried again: a person must act."""
WAIT_FOR_START_S = 10 * 60
"""Of a pod that has its node: pulling the image."""
QUOTA_CHECK_EVERY_S = 60
END_GRACE_S = 60
SCRATCH_REQUEST, SCRATCH_LIMIT = "1Gi", "12Gi"
"""Ephemeral storage: logs, /tmp. Results go to the store."""
NOT_FOUND = 404


class EndedPodsSeen(PodManager):
    """Follows the log of a container while its pod lives.

    Of a pod that is past its deadline, the container counts as running for ever, and the provider would follow it for
    ever (compare airflow#58382).
    """

    def container_is_running(self, pod: V1Pod, container_name: str) -> bool:
        remote_pod = self.read_pod(pod)
        return remote_pod.status.phase not in PodPhase.terminal_states and container_is_running(
            remote_pod, container_name
        )


class TaskPodOperator(TaskOperator, KubernetesPodOperator):
    """Run a task as a pod, its lines in the log of the task instance."""

    # File systems of a network remember for a minute that a file isn't there.
    receipt_is_seen_within_s = 90
    template_fields: Sequence[str] = (*KubernetesPodOperator.template_fields, *TaskOperator.template_fields)

    def __init__(self, *, task: str, **kwargs: Any) -> None:
        kind = KINDS[resources_of(task)["kind"]]
        super().__init__(
            task=task,
            priority_class_name=kind.priority,
            # Whatever becomes of Airflow, no pod runs for ever.
            active_deadline_seconds=int(kind.most_hours * 3600),
            schedule_timeout_seconds=WAIT_FOR_NODE_S,
            startup_timeout_seconds=WAIT_FOR_START_S,
            termination_grace_period=END_GRACE_S,
            # Without a message that the task left, the kubelet keeps the last lines of its log.
            termination_message_policy="FallbackToLogsOnError",
            log_pod_spec_on_failure=False,
            log_events_on_failure=True,
            # Deferred operators lose the state of a pod: airflow#67287, #72716, #71580, #73117.
            deferrable=False,
            **kwargs,
        )

    @cached_property
    def pod_manager(self) -> PodManager:
        return EndedPodsSeen(kube_client=self.client, callbacks=self.callbacks)

    def execute(self, context: Context) -> Any:
        result = super().execute(context)
        # Not before: the provider would start a second container for it. Airflow itself pushes the result then, with
        # its length, without which no task can be mapped over it.
        self.do_xcom_push = True
        return result

    def run_command(self, params: dict[str, Any], arguments: list[str], context: Context) -> None:
        # Each part of a mapped task may be another task.
        self.name = self.task.replace("_", "-")
        self.container_resources = resources(self.task)
        self.labels["nucleus-task"] = self.task
        self.arguments = arguments
        self.env_vars = _threads(self.task) | self.variables(context)
        if plate := params.get("folder") or params.get("plate"):
            self.labels["nucleus-plate"] = make_safe_label_value(Path(plate).name)
        self.full_pod_spec = self._template()
        store, receipt = (Path(arguments[arguments.index(option) + 1]) for option in ("--store", "--result"))
        mounts.make_folders(self.task, params, store, receipt)
        mounts.narrow(self.full_pod_spec.spec.containers[0], self.task, params, store, receipt)
        self._execute_when_the_quota_has_room(context)

    def cleanup(
        self, pod: V1Pod, remote_pod: V1Pod, xcom_result: dict[str, Any] | None = None, context: Context | None = None
    ) -> None:
        """Remove the pod, and say what its end means."""
        latest = self._latest(remote_pod)
        try:
            super().cleanup(pod, remote_pod, xcom_result, context)
        except AirflowException:
            raise_for_end(self.task, latest)
            raise

    def _template(self) -> V1Pod:
        name, namespace = resources_of(self.task)["container_image"], self.hook.get_namespace()
        try:
            template = self.client.read_namespaced_pod_template(name, namespace).template
        except ApiException as error:
            raise AirflowException(
                f"The PodTemplate {name} can't be read ({_message(error)}); apply an overlay of k8s/ to the cluster."
            ) from None
        return V1Pod(metadata=template.metadata, spec=template.spec)

    def _execute_when_the_quota_has_room(self, context: Context) -> None:
        """Pods of other runs end: waiting for them costs none of the task's retries."""
        deadline, told = time.monotonic() + WAIT_FOR_NODE_S, False
        while True:
            try:
                KubernetesPodOperator.execute(self, context)
                return
            except ApiException as error:
                refusal = f"Kubernetes refuses the pod of {self.task}: {_message(error)}"
                if "exceeded quota" not in refusal:
                    raise AirflowException(refusal) from None
                if time.monotonic() > deadline:
                    raise AirflowFailException(refusal) from None
            if not told:
                self.log.info("%s; waiting %d minutes for room", refusal, WAIT_FOR_NODE_S // 60)
                told = True
            time.sleep(QUOTA_CHECK_EVERY_S)

    def _latest(self, pod: V1Pod | None) -> V1Pod | None:
        """The pod as it is now, before it is removed: what is at hand may be from before its start."""
        if pod is None:
            return None
        try:
            return self.client.read_namespaced_pod(pod.metadata.name, pod.metadata.namespace)
        except ApiException as error:
            return None if error.status == NOT_FOUND else pod
        except TRANSIENT_CONNECTION_ERRORS:
            return pod


def raise_for_end(task: str, pod: V1Pod | None) -> None:
    """Raise what the end of a failed pod means; nothing if it doesn't say."""
    if pod is not None and (disruption := _condition(pod, "DisruptionTarget")):
        raise AirflowException(f"The pod of {task} was lost: {disruption}; the next try resumes.")
    if pod is None or pod.metadata.deletion_timestamp:
        raise AirflowException(f"The pod of {task} was deleted while it ran; the next try resumes.")
    end = _base_state(pod).terminated
    if end is not None and end.reason == "OOMKilled":
        raise AirflowException(
            f"{task} needed more memory than its limit of {resources_of(task)['memory_gib']:g} GiB; raise "
            "memory_gib of its TASK's resources and run python -m tasks.manifest, or choose a smaller batch or tile."
        )
    if pod.status.reason:
        raise AirflowException(f"The pod of {task} was lost: {pod.status.reason}: {pod.status.message}")
    if end is not None:
        raise_unless_done(task, end.exit_code, _last_line(end))
    if pod.status.phase == PodPhase.PENDING and (reason := _why_not_started(pod)):
        raise AirflowFailException(f"The pod of {task} could not start: {reason}")


def resources(task: str) -> V1ResourceRequirements:
    """Give requests and limits. CPU has no limit: a task may use what is idle.

    No pod asks for more than `NUCLEUS_MOST_CPUS` cores and `NUCLEUS_MOST_MEMORY_GIB` of memory. Its limit of memory
    is the manifest's all the same.
    """
    needed = resources_of(task)
    cpu = min(needed["cpu"], float(os.environ.get("NUCLEUS_MOST_CPUS", needed["cpu"])))
    memory_gib = min(needed["memory_gib"], float(os.environ.get("NUCLEUS_MOST_MEMORY_GIB", needed["memory_gib"])))
    gpus = gpus_of_a_pod(task)
    gpu = {gpu_resource(): str(gpus)} if gpus else {}
    return V1ResourceRequirements(
        requests={"cpu": f"{cpu:g}", "memory": f"{memory_gib:g}Gi", "ephemeral-storage": SCRATCH_REQUEST, **gpu},
        limits={"memory": f"{needed['memory_gib']:g}Gi", "ephemeral-storage": SCRATCH_LIMIT, **gpu},
    )


def _threads(task: str) -> dict[str, str]:
    """Give the environment that says how many cores a task works on: a node may have many more than it asks for.

    As many as the manifest says, for which the limit of memory is made, also where a small machine lends it fewer.
    `NUCLEUS_CORES` is for tasks/cores.py, the other one for libraries, and for third-party tools.
    """
    cores = str(resources_of(task)["cpu"])
    return {"NUCLEUS_CORES": cores, "OMP_NUM_THREADS": cores}


def _message(error: ApiException) -> str:
    """What the API server says, without its JSON."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def _base_state(pod: V1Pod) -> V1ContainerState:
    """State of the task's container; without content before it is known."""
    statuses = pod.status.container_statuses or []
    states = (status.state for status in statuses if status.name == KubernetesPodOperator.BASE_CONTAINER_NAME)
    return next(states, V1ContainerState())


def _why_not_started(pod: V1Pod) -> str | None:
    """What the kubelet says of the image, or the scheduler of the nodes, such as that none has a free GPU."""
    if waiting := _base_state(pod).waiting:
        return f"{waiting.reason}: {waiting.message}"
    return next((condition.message for condition in pod.status.conditions or [] if condition.message), None)


def _condition(pod: V1Pod, kind: str) -> str | None:
    """What a condition of this kind says, such as that a pod made room for another."""
    conditions = (condition for condition in pod.status.conditions or [] if condition.type == kind)
    return next((f"{condition.reason}: {condition.message}" for condition in conditions), None)


def _last_line(end: V1ContainerStateTerminated) -> str:
    lines = (end.message or "").strip().splitlines()
    return lines[-1] if lines else f"none ({end.reason})"
