"""The versions of the registered model, as MLflow has them."""

from __future__ import annotations

import base64
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlencode

from nucleus_dags.airflow_api import AirflowApiError, request_json
from nucleus_dags.manifest import manifest
from nucleus_dags.plates.names import is_result_key

CHAMPION = "champion"
KEPT_S = 1
"""What MLflow answered counts for so many seconds from then on, also that it didn't."""
PATIENCE_S = 5
PAGE_SIZE = 10_000
PLATE, PROMOTION, REJECTION = "plate/", "promotion/", "rejection/"
"""How names of tags begin: with a plate that was trained on, or a time in UTC."""


@dataclass(frozen=True)
class Event:
    """A promotion or a rejection of a version."""

    at: datetime
    kind: str
    """`promotion` or `rejection`."""
    text: str
    """As the task wrote it, such as `champion in place of version 1: ... (DAG run ...)`."""

    @property
    def reason(self) -> str:
        """The text without the run that wrote it."""
        return self.text.partition(" (DAG run ")[0]

    @property
    def dag_run_id(self) -> str | None:
        found = re.search(r" \(DAG run (.+)\)$", self.text)
        return found[1] if found else None


@dataclass(frozen=True)
class Version:
    """A version of the registered model."""

    number: int
    aliases: tuple[str, ...]
    created_at: datetime
    mlflow_run_id: str
    description: str
    tags: Mapping[str, str]

    @property
    def key(self) -> str | None:
        """Key of the output of `register_model`; None where a person registered the version, or changed the tag."""
        key = self.tags.get("key", "")
        return key if is_result_key(key) else None

    @property
    def is_champion(self) -> bool:
        return CHAMPION in self.aliases

    @property
    def plates(self) -> list[str]:
        """Keys of the plates that it was trained on, as in the store."""
        names = sorted(name for name in self.tags if name.startswith(PLATE))
        return [f"{name.removeprefix(PLATE)}@{self.tags[name]}" for name in names]

    @property
    def events(self) -> list[Event]:
        """Promotions and rejections, the last one first."""
        found = [
            Event(at, begins.rstrip("/"), text)
            for begins in (PROMOTION, REJECTION)
            for name, text in self.tags.items()
            if name.startswith(begins) and (at := _time(name.removeprefix(begins)))
        ]
        return sorted(found, key=lambda event: event.at, reverse=True)


@dataclass(frozen=True)
class Registry:
    """What MLflow answered."""

    versions: tuple[Version, ...]
    """The newest first; empty without an answer."""
    problem: str = ""
    """Why there is no answer, and what to do, in sentences."""

    def version(self, number: int) -> Version | None:
        return next((version for version in self.versions if version.number == number), None)

    @property
    def champion(self) -> Version | None:
        return next((version for version in self.versions if version.is_champion), None)


class _Kept(NamedTuple):
    answer: Registry
    at: float
    """Seconds, when it came."""


_ASKING = threading.Lock()
_kept: dict[str, _Kept] = {}
"""By the address of MLflow."""


def registry() -> Registry:
    """Ask MLflow for all versions. Without an answer there are none, and `problem` says why."""
    mlflow = os.environ.get("MLFLOW_TRACKING_URI", "")
    # Who asks meanwhile waits for the same answer.
    with _ASKING:
        if mlflow not in _kept or time.monotonic() - _kept[mlflow].at > KEPT_S:
            answer = _asked(mlflow)
            _kept.clear()
            _kept[mlflow] = _Kept(answer, time.monotonic())
        return _kept[mlflow].answer


def _asked(mlflow: str) -> Registry:
    if not mlflow:
        return Registry((), "It isn't known where MLflow is: MLFLOW_TRACKING_URI isn't set for Airflow's API server.")
    try:
        return Registry(tuple(_versions(mlflow)))
    except AirflowApiError as error:
        return Registry((), _in_words(error, mlflow))
    except (ValueError, LookupError, TypeError, AttributeError, HTTPException) as error:
        reason = f"{type(error).__name__}: {error}"
        return Registry((), f"MLflow at {mlflow} doesn't answer as it should ({reason:.200}); is it MLflow's address?")


def _versions(mlflow: str) -> Iterator[Version]:
    name = f"name='{manifest()['registered_model']}'"
    models = _get(mlflow, "registered-models/search", {"filter": name}).get("registered_models", [])
    aliases: dict[str, list[str]] = {}
    for alias in (alias for model in models for alias in model.get("aliases", [])):
        aliases.setdefault(str(alias["version"]), []).append(alias["alias"])
    asked = {"filter": name, "max_results": PAGE_SIZE, "order_by": "version_number DESC"}
    for found in _get(mlflow, "model-versions/search", asked).get("model_versions", []):
        yield Version(
            number=int(found["version"]),
            aliases=tuple(sorted(aliases.get(str(found["version"]), []))),
            created_at=datetime.fromtimestamp(int(found["creation_timestamp"]) / 1000, UTC),
            mlflow_run_id=found.get("run_id", ""),
            description=found.get("description", ""),
            tags={tag["key"]: tag.get("value", "") for tag in found.get("tags", [])},
        )


def _get(mlflow: str, call: str, asked: Mapping[str, Any]) -> Any:
    name, password = (os.environ.get(f"MLFLOW_TRACKING_{part}", "") for part in ("USERNAME", "PASSWORD"))
    login = base64.b64encode(f"{name}:{password}".encode()).decode()
    address = f"{mlflow}/api/2.0/mlflow/{call}?{urlencode(asked)}"
    return request_json("GET", address, headers={"Authorization": f"Basic {login}"}, timeout_s=PATIENCE_S)


def _in_words(error: AirflowApiError, mlflow: str) -> str:
    if error.status in (401, 403):
        return (
            f"MLflow at {mlflow} doesn't let Airflow's API server in (status {error.status}). In a cluster, run "
            "k8s/create-secrets.sh and restart the API server."
        )
    what = f"answers with status {error.status}" if error.status else "doesn't answer"
    return f"MLflow at {mlflow} {what}. Start it (on one machine by make up), and reload this page."


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
