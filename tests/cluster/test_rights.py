"""What Airflow and the pods of tasks may do in a real cluster, and what they may not: `make test-cluster`, as in
test_pods.
"""

import json
import subprocess
from typing import Any

import pytest

from tests.cluster.conftest import NAMESPACE, Cluster, apply, kubectl, wait_until

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


def in_a_pod(program: str, **security: Any) -> str:
    """What a Python program prints in a pod of the template `cpu`."""
    template = json.loads(kubectl("get", "podtemplate", "cpu", "-o", "json"))["template"]
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
