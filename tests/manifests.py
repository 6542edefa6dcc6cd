"""The objects under k8s/, as `kubectl kustomize` builds them."""

import copy
import subprocess
from functools import cache
from typing import Any

import yaml

from tests.repository import REPOSITORY

K8S = REPOSITORY / "k8s"


@cache
def contents(folder: str) -> list[dict[str, Any]]:
    """All objects of a kustomization."""
    built = subprocess.run(["kubectl", "kustomize", K8S / folder], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "deprecated" not in built.stderr
    return [content for content in yaml.safe_load_all(built.stdout) if content]


def of_kind(folder: str, kind: str) -> list[dict[str, Any]]:
    return [content for content in contents(folder) if content["kind"] == kind]


def pod_template(name: str) -> dict[str, Any]:
    """A copy of a PodTemplate of the base."""
    [template] = [content for content in of_kind("base", "PodTemplate") if content["metadata"]["name"] == name]
    return copy.deepcopy(template)


def containers_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """All containers of a pod, also those that run before the others."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def keep_rules_of_the_namespace(name: str, spec: dict[str, Any]) -> None:
    """Assert what Pod Security `restricted` asks for, which no schema knows and an old cluster doesn't enforce."""
    assert spec["securityContext"]["runAsNonRoot"], name
    assert spec["securityContext"]["runAsUser"] > 0, name
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
    for volume in spec["volumes"]:
        assert set(volume) - {"name"} <= {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}, name
    for container in containers_of(spec):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
