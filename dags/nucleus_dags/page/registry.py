"""What MLflow knows of versions of the model: which is champion, and which were trained on a plate."""

from __future__ import annotations

import base64
import os
from typing import Any, NamedTuple
from urllib.parse import urlencode

from nucleus_dags.airflow_api import AirflowApiError, request_json
from nucleus_dags.manifest import manifest
from nucleus_dags.mlflow_pages import mlflow_page, runs_on_plate

ANSWERS_WITHIN_S = 3
"""A page must not wait for long for what it can do without."""


class Version(NamedTuple):
    """A version of the registered model."""

    number: int
    model: str
    """Its key under register_model/ of the store."""
    tags: dict[str, str]


class Unknown(Exception):
    """MLflow doesn't answer; says so."""


def champion() -> Version | None:
    """Give the model in force; None if there is none yet. Raises Unknown."""
    try:
        answer = _get("registered-models/alias", name=_name(), alias="champion")
    except AirflowApiError as error:
        if error.status == 404:
            return None
        raise Unknown("MLflow doesn't answer now, so that it isn't known which model is the champion.") from error
    return _version_of(answer["model_version"])


def versions_trained_on(plate: str) -> list[Version]:
    """Give the versions that were trained on a plate, the newest first. Raises Unknown."""
    trained_on = f"name = '{_name()}' AND tags.`plate/{plate}` LIKE '%'"
    try:
        answer = _get("model-versions/search", filter=trained_on, max_results=1000)
    except AirflowApiError as error:
        raise Unknown("MLflow doesn't answer now, so that it isn't known which models were trained on it.") from error
    versions = [_version_of(one) for one in (answer or {}).get("model_versions", [])]
    return sorted(versions, key=lambda version: -version.number)


def page_of_runs(plate: str) -> str | None:
    """Give the address of MLflow's list of the runs that were about a plate; None where MLflow doesn't know any."""
    try:
        answer = _get("experiments/get-by-name", experiment_name="plates")
    except AirflowApiError:
        return None
    return runs_on_plate(mlflow_page(), answer["experiment"]["experiment_id"], plate)


def _name() -> str:
    name: str = manifest()["registered_model"]
    return name


def _get(path: str, **query: Any) -> Any:
    address = f"{os.environ['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/{path}?{urlencode(query)}"
    login = ":".join(os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD"))
    headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    return request_json("GET", address, headers=headers, timeout_s=ANSWERS_WITHIN_S)


def _version_of(answer: dict[str, Any]) -> Version:
    tags = {tag["key"]: tag["value"] for tag in answer.get("tags", [])}
    return Version(int(answer["version"]), tags.get("key", ""), tags)
