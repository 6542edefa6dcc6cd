"""Airflow's values: the chart takes them, and makes nothing of them that nobody uses."""

import json
from importlib import import_module
from typing import Any

import jsonschema
import pytest
import yaml
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

from tests.manifests import K8S
from tests.repository import REPOSITORY

SCHEMA = REPOSITORY.parent / "shared/cluster/airflow-chart-1.22.0.values.schema.json"
OVERLAYS = ("local", "gpu-cluster")


def read(path: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((K8S / path).read_text())
    return values


def merged(values: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Values as helm puts them together: objects by their keys, anything else is replaced."""
    both = {
        key: merged(values[key], value) if isinstance(values.get(key), dict) and isinstance(value, dict) else value
        for key, value in above.items()
    }
    return values | both


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    if not SCHEMA.exists():
        pytest.skip(f"the chart's schema isn't here: {SCHEMA}")
    content: dict[str, Any] = json.loads(SCHEMA.read_text())
    return content


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_chart_takes_the_values_with_those_of_each_overlay(schema: dict[str, Any], overlay: str) -> None:
    values = merged(read("airflow/values.yaml"), read(f"overlays/{overlay}/airflow.yaml"))
    found = jsonschema.Draft7Validator(schema).iter_errors(values)
    assert [f"{error.json_path}: {error.message}" for error in found] == []


def test_the_share_of_a_microscope_is_mounted_where_folders_may_be_named(schema: dict[str, Any]) -> None:
    text = (K8S / "overlays/gpu-cluster/airflow.yaml").read_text()
    before, _, share = text.partition("# apiServer:\n")
    uncommented = yaml.safe_load(before + "apiServer:\n" + share.replace("#   ", "  "))
    values = merged(read("airflow/values.yaml"), uncommented)
    assert list(jsonschema.Draft7Validator(schema).iter_errors(values)) == []
    server, known = values["apiServer"], read("airflow/values.yaml")["apiServer"]
    for part in ("extraVolumes", "extraVolumeMounts"):
        assert server[part][:-1] == known[part]
        assert server[part][-1]["name"] == "microscope"
    mount = server["extraVolumeMounts"][-1]
    [folders] = [mount["mountPath"] for mount in values["volumeMounts"] if mount.get("subPath") == "folders"]
    assert mount["mountPath"].startswith(f"{folders}/")
    assert mount["readOnly"]


def test_the_chart_would_refuse_a_key_that_it_does_not_know(schema: dict[str, Any]) -> None:
    values = merged(read("airflow/values.yaml"), {"dagProcessor": {"startupProbe": {"failureThreshold": 30}}})
    [error] = jsonschema.Draft7Validator(schema).iter_errors(values)
    assert error.json_path == "$.dagProcessor"


def test_the_scheduler_gets_no_claim_of_its_own_for_logs() -> None:
    values = read("airflow/values.yaml")
    assert values["executor"] == "LocalExecutor"
    assert values["workers"]["celery"]["persistence"]["enabled"] is False
    assert values["triggerer"]["persistence"]["enabled"] is False
    environment = {variable["name"]: variable["value"] for variable in values["env"]}
    mounts = {mount["mountPath"]: mount.get("subPath") for mount in values["volumeMounts"]}
    assert mounts[environment["AIRFLOW__LOGGING__BASE_LOG_FOLDER"]] == "logs"


def test_only_the_server_that_people_log_in_to_has_the_accounts_and_only_the_scheduler_the_login_for_notes() -> None:
    values = read("airflow/values.yaml")
    secrets = {
        name: [volume["secret"]["secretName"] for volume in part["extraVolumes"]]
        for name, part in values.items()
        if isinstance(part, dict) and "extraVolumes" in part
    }
    assert secrets == {"scheduler": ["airflow-login"], "apiServer": ["accounts", "oidc"]}
    environment = {variable["name"]: variable["value"] for variable in values["env"]}
    module, _, manager = environment["AIRFLOW__CORE__AUTH_MANAGER"].rpartition(".")
    assert issubclass(getattr(import_module(module), manager), SimpleAuthManager)
    [accounts] = [env["value"] for env in values["apiServer"]["env"] if env["name"] == "NUCLEUS_ACCOUNTS"]
    assert accounts == f"{values['apiServer']['extraVolumeMounts'][0]['mountPath']}/accounts.json"


def test_of_airflows_servers_only_that_of_its_pages_logs_in_to_mlflow_by_an_account_of_its_own() -> None:
    values = read("airflow/values.yaml")
    logins = {
        name: {
            variable["name"]: variable["valueFrom"]["secretKeyRef"]
            for variable in part["env"]
            if "mlflow" in str(variable.get("valueFrom", {}))
        }
        for name, part in values.items()
        if isinstance(part, dict) and part.get("env")
    }
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    assert {name: login for name, login in logins.items() if login} == {
        "apiServer": {name: {"name": "mlflow-page-login", "key": name} for name in names}
    }
    script = (K8S / "create-secrets.sh").read_text()
    assert f"| create mlflow-page-login {' '.join(names)}\n" in script


def test_pods_that_ended_unseen_are_removed_beside_the_scheduler_and_not_by_a_job_of_the_chart() -> None:
    values = read("airflow/values.yaml")
    assert "cleanup" not in values
    [cleanup] = values["scheduler"]["extraContainers"]
    assert "airflow kubernetes cleanup-pods" in cleanup["args"][0]
    mounts = {volume["name"] for volume in values["volumes"]}
    assert {mount["name"] for mount in cleanup["volumeMounts"]} <= mounts


def test_an_autoscaler_is_told_once_whether_it_may_move_the_scheduler() -> None:
    scheduler = read("airflow/values.yaml")["scheduler"]
    # The chart writes the same annotation by itself unless it is told not to.
    assert scheduler["safeToEvict"] is False
    assert scheduler["podAnnotations"] == {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
