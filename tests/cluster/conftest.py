"""The local overlay on the cluster that KUBECONFIG names, with all that it needs, and nothing of it left afterwards."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.manifests import pod_template
from tests.repository import REPOSITORY

NAMESPACE = "nucleus"
TASK_USER, DATABASE_USER = 10001, 999
FOLDERS = {"data": TASK_USER, "postgresql": DATABASE_USER}
OF_TASKS = ("store", "results", "inbox", "folders", "weights", "experiments", "mlflow", "logs")
FOLDERS |= {f"data/{name}": TASK_USER for name in OF_TASKS}
MOST_WAIT_S = 300


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    command = ["kubectl", "--namespace", NAMESPACE, *arguments]
    ended = subprocess.run(command, input=stdin, capture_output=True, text=True)
    assert ended.returncode == 0, f"{' '.join(command)}: {ended.stderr}"
    return ended.stdout


def make_volumes(folder: Path) -> None:
    """Make the empty folders of the cluster's volumes, each for the user of its pods."""
    for name, user in FOLDERS.items():
        (folder / name).mkdir()
        os.chown(folder / name, user, user)


PASSWORDS: dict[str, str] = {}
"""Of the people who were given an account here."""


def give_account(name: str, role: str) -> None:
    """Give a person an account, another role, or none."""
    command = [str(REPOSITORY / "k8s/account.sh"), name, role]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    if role != "none":
        PASSWORDS[name] = ended.stderr.split()[-1]


def apply(*contents: dict[str, Any]) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": contents}))


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = MOST_WAIT_S) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain until {what}\n{kubectl('get', 'pods')}"
        time.sleep(0.5)


@dataclass(frozen=True)
class Cluster:
    """The namespace, with the folder that its volumes lie in."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "data/store"

    @property
    def inbox(self) -> Path:
        return self.folder / "data/inbox"

    def task_pods(self) -> list[dict[str, Any]]:
        selector = "app.kubernetes.io/component=task"
        pods: list[dict[str, Any]] = json.loads(kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
        return pods

    def no_task_pod_is_left(self) -> bool:
        """A pod that was deleted may take its grace period to go."""
        wait_until(lambda: self.task_pods() == [], "no pod of a task is left", 90)
        return True


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    known = subprocess.run(["kubectl", "get", "namespaces", "-o", "name"], capture_output=True, text=True)
    assert known.returncode == 0, f"no cluster answers; set KUBECONFIG: {known.stderr}"
    assert f"namespace/{NAMESPACE}" not in known.stdout.split(), "the tests need a cluster without a namespace nucleus"
    folder = tmp_path_factory.mktemp("nucleus")
    for parent in [folder, *folder.parents[:2]]:
        parent.chmod(parent.stat().st_mode | 0o755)
    make_volumes(folder)
    overlay = kubectl("kustomize", str(REPOSITORY / "k8s/overlays/local")).replace("/srv/nucleus", str(folder))
    # Images of others are made here, where no registry is reached, and so have other digests.
    overlay = re.sub("@sha256:[0-9a-f]{64}", "", overlay)
    kubectl("apply", "-f", "-", stdin=overlay)
    subprocess.run([REPOSITORY / "k8s/create-secrets.sh"], check=True, capture_output=True)
    give_account("admin", "administrate")
    yield Cluster(folder)
    # Servers first: the database would wait for connections that they open again and again.
    kubectl("delete", "--wait=true", "--all", "deployments,statefulsets")
    kubectl("delete", "--wait=true", "--ignore-not-found", "-f", "-", stdin=overlay)


@pytest.fixture
def paths_of_pods(cluster: Cluster) -> Iterator[None]:
    """The store and the inbox at the paths that pods have them at, for programs that run here."""
    here = Path("/nucleus")
    here.symlink_to(cluster.folder / "data")
    yield
    here.unlink()


@pytest.fixture(scope="module")
def one_gpu(cluster: Cluster) -> Iterator[None]:
    """The node says that it has one GPU."""
    [node] = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    patch = ("patch", "node", node["metadata"]["name"], "--subresource=status", "--type=json", "--patch")
    path = "/status/capacity/nvidia.com~1gpu"
    kubectl(*patch, json.dumps([{"op": "add", "path": path, "value": "1"}]))
    kubectl("label", "node", node["metadata"]["name"], "nvidia.com/gpu.present=true")
    yield
    kubectl("label", "node", node["metadata"]["name"], "nvidia.com/gpu.present-")
    kubectl(*patch, json.dumps([{"op": "remove", "path": path}]))


def gpu_template(name: str) -> dict[str, Any]:
    """The PodTemplate of the base for tasks with a GPU, but with the image that is here."""
    template = pod_template("gpu")
    template["metadata"]["name"] = name
    template["template"]["spec"]["containers"][0]["image"] = "nucleus-cpu:dev"
    return template
