"""Airflow in the cluster, as its Helm chart runs it by k8s/airflow/values.yaml. Helm isn't on every test machine.

All servers share one pod. What the values say (image, environment, secrets, volumes, rights, first steps) is theirs;
what the chart adds of its own is named below.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from tests.repository import REPOSITORY

VALUES = REPOSITORY / "k8s/airflow/values.yaml"
LABELS = {"tier": "airflow", "component": "servers", "release": "airflow"}
PORT = 8080


def manifests() -> list[dict[str, Any]]:
    values = yaml.safe_load(VALUES.read_text())
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "airflow", "namespace": "nucleus"},
        "spec": {
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": _pod(values)},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "airflow-api-server", "namespace": "nucleus"},
        "spec": {"selector": LABELS, "ports": [{"name": "api-server", "port": PORT}]},
    }
    return [deployment, service]


def _pod(values: dict[str, Any]) -> dict[str, Any]:
    pools = [container | {"image": _image(values)} for container in values["scheduler"]["extraInitContainers"]]
    cleanup = [container | {"image": _image(values)} for container in values["scheduler"]["extraContainers"]]
    return {
        "serviceAccountName": values["scheduler"]["serviceAccount"]["name"],
        "priorityClassName": values["scheduler"]["priorityClassName"],
        "securityContext": values["securityContexts"]["pod"],
        "initContainers": [_container(values, "migrate", ["airflow", "db", "migrate"]), *pools],
        "containers": [
            _container(values, "scheduler", ["airflow", "scheduler"], values["scheduler"]),
            _container(values, "dag-processor", ["airflow", "dag-processor"], values["dagProcessor"]),
            _api_server(values),
            _container(values, "triggerer", ["airflow", "triggerer"], values["triggerer"]),
            *cleanup,
        ],
        "volumes": [
            *values["volumes"],
            *values["scheduler"]["extraVolumes"],
            *values["apiServer"]["extraVolumes"],
        ],
    }


def _container(
    values: dict[str, Any], name: str, command: list[str], component: Mapping[str, Any] = {}
) -> dict[str, Any]:
    """`component` is the part of the values for this server."""
    return {
        "name": name,
        "image": _image(values),
        "imagePullPolicy": values["images"]["airflow"]["pullPolicy"],
        "args": command,
        "env": [*values["env"], *_environment_of_the_chart(values), *component.get("env", [])],
        "envFrom": yaml.safe_load(values["extraEnvFrom"]),
        "securityContext": values["securityContexts"]["containers"],
        "volumeMounts": [*values["volumeMounts"], *component.get("extraVolumeMounts", [])],
    }


def _api_server(values: dict[str, Any]) -> dict[str, Any]:
    server = values["apiServer"]
    container = _container(values, "api-server", server["args"], server)
    container["readinessProbe"] = {"httpGet": {"path": "/api/v2/version", "port": PORT}, "periodSeconds": 5}
    return container


def _image(values: dict[str, Any]) -> str:
    image = values["images"]["airflow"]
    return f"{image['repository']}:{image['tag']}"


def _environment_of_the_chart(values: dict[str, Any]) -> list[dict[str, Any]]:
    """What the chart makes of the names of secrets and of the executor."""
    secrets = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": (values["data"]["metadataSecretName"], "connection"),
        "AIRFLOW__CORE__FERNET_KEY": (values["fernetKeySecretName"], "fernet-key"),
        "AIRFLOW__API__SECRET_KEY": (values["apiSecretKeySecretName"], "api-secret-key"),
        "AIRFLOW__API_AUTH__JWT_SECRET": (values["jwtSecretName"], "jwt-secret"),
    }
    plain = {
        "AIRFLOW__CORE__EXECUTOR": values["executor"],
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://airflow-api-server:{PORT}/execution/",
    }
    return [
        *({"name": name, "value": value} for name, value in plain.items()),
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
            for name, (secret, key) in secrets.items()
        ),
    ]
