"""What Airflow and the pods of tasks may do in a real cluster, and what they may not: `make test-cluster`, as in
test_pods.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
from kubernetes.client import ApiClient

from nucleus_dags.launchers import mounts
from tests.cluster.conftest import NAMESPACE, TASK_USER, Cluster, apply, kubectl, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

RIGHTS_OF_AIRFLOW = {
    ("create", "pods"): True,
    ("delete", "pods"): True,
    ("get", "pods/log"): True,
    ("get", "podtemplates"): True,
    ("create", "pods/exec"): False,
    ("get", "secrets"): False,
    ("patch", "podtemplates"): False,
    ("delete", "persistentvolumeclaims"): False,
}


@pytest.mark.parametrize(("verb", "resource"), RIGHTS_OF_AIRFLOW)
def test_airflow_may_launch_pods_here_and_do_nothing_else(cluster: Cluster, verb: str, resource: str) -> None:
    assert may("airflow", verb, resource, NAMESPACE) == RIGHTS_OF_AIRFLOW[verb, resource]
    assert not may("airflow", verb, resource, "default")


def may(account: str, verb: str, resource: str, namespace: str) -> bool:
    kind, _, subresource = resource.partition("/")
    who = f"--as=system:serviceaccount:{NAMESPACE}:{account}"
    command = ["kubectl", "auth", "can-i", verb, kind, f"--subresource={subresource}", "--namespace", namespace, who]
    asked = subprocess.run(command, capture_output=True, text=True)
    return asked.stdout.strip() == "yes"


def as_launched(template: dict[str, Any], task: str) -> dict[str, Any]:
    """The pod that the launcher makes of a template's for a task; `ingest` is to read the inbox."""
    pod = PodGenerator.deserialize_model_dict(template)
    params = {"folder": "/nucleus/inbox/plate"} if task == "ingest" else {}
    store, receipt = Path("/nucleus/store"), Path("/nucleus/store/dag_runs/a/b/c/-1.json")
    mounts.narrow(pod.spec.containers[0], task, params, store, receipt)
    launched: dict[str, Any] = ApiClient().sanitize_for_serialization(pod)
    return launched


def in_a_pod(program: str, task: str | None = None, **security: Any) -> str:
    """What a Python program prints in a pod of the template `cpu`, or in that of a task."""
    template = json.loads(kubectl("get", "podtemplate", "cpu", "-o", "json"))["template"]
    if task:
        template = as_launched(template, task)
    container = template["spec"]["containers"][0]
    container |= {"args": ["-c", program]}
    container["securityContext"] |= security
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", **template["metadata"]}}
    apply(pod | {"spec": template["spec"]})
    try:
        return _end_of_probe()
    finally:
        kubectl("delete", "pod", "probe", "--wait=true")


def _end_of_probe() -> str:
    end: list[str] = []

    def ended() -> bool:
        status = json.loads(kubectl("get", "pod", "probe", "-o", "json"))["status"]
        waiting = status.get("containerStatuses", [{}])[0].get("state", {}).get("waiting", {})
        if waiting.get("reason") == "CreateContainerConfigError":
            end.append(waiting["message"])
        elif status["phase"] in ("Succeeded", "Failed"):
            end.append(kubectl("logs", "probe"))
        return bool(end)

    wait_until(ended, "the probe has ended", 60)
    return end[0]


@pytest.mark.parametrize("folder", ["/app", "/nucleus/inbox", "/nucleus/weights", "/opt/venv", "/nucleus", "/etc"])
def test_a_task_cannot_write_outside_the_store(cluster: Cluster, folder: str) -> None:
    assert "OSError: [Errno 30] Read-only file system" in in_a_pod(f"open('{folder}/mine', 'w')")


WRITE_EVERYWHERE = """
for folder in ("score", "dag_runs/a/b/c", "dag_runs/a/b", "ingest", "."):
    try:
        open(f"/nucleus/store/{folder}/mine", "w")
        print(folder)
    except OSError as error:
        assert error.errno == 30, error
"""


@pytest.mark.parametrize(("task", "written"), [("score", ["score"]), ("ingest", ["ingest"])])
def test_a_task_changes_nothing_of_the_store_but_its_own(cluster: Cluster, task: str, written: list[str]) -> None:
    for name in ("score", "ingest", "dag_runs", "dag_runs/a", "dag_runs/a/b", "dag_runs/a/b/c"):
        (cluster.store / name).mkdir(exist_ok=True)
        os.chown(cluster.store / name, TASK_USER, TASK_USER)
    assert sorted(in_a_pod(WRITE_EVERYWHERE, task).split()) == sorted([*written, "dag_runs/a/b/c"])


@pytest.mark.parametrize(("task", "reads"), [("score", ["store"]), ("ingest", ["inbox", "store"])])
def test_a_task_sees_only_those_folders_of_the_volume_that_it_needs(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, task: str, reads: list[str]
) -> None:
    monkeypatch.setenv("NUCLEUS_INBOX", "/nucleus/inbox")
    seen = in_a_pod("import os; print(*sorted(os.listdir('/nucleus')))", task)
    assert seen.split() == reads


def test_a_task_has_no_key_to_the_api_of_kubernetes(cluster: Cluster) -> None:
    assert in_a_pod("import os; print(os.path.exists('/var/run/secrets/kubernetes.io'))") == "False\n"
    assert not may("tasks", "get", "pods", NAMESPACE)


def test_a_task_is_nobody_with_rights(cluster: Cluster) -> None:
    program = "import os; print(os.getuid()); print(open('/proc/self/status').read())"
    lines = in_a_pod(program).splitlines()
    assert lines[0] == "10001"
    assert "CapEff:\t0000000000000000" in lines
    assert "NoNewPrivs:\t1" in lines


def test_a_task_cannot_run_as_root(cluster: Cluster) -> None:
    end = in_a_pod("print('was root')", runAsUser=0)
    assert "container's runAsUser breaks non-root policy" in end
