"""The calls of Airflow's page that the demo and the summary use."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

RETRIES, RETRY_S = 4, 2
SAFE_TO_REPEAT = ("GET", "PATCH")
"""What reads, or sets something to a value."""
PAGE_SIZE = 100
"""Airflow gives no more task instances at once, unless it is configured to."""

# A proxy of the environment must not stand between two programs of one machine.
without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class AirflowApiError(RuntimeError):
    """Airflow refuses a call or doesn't answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status, or None without an answer."""


@dataclass(frozen=True)
class AirflowApi:
    """Airflow at an address."""

    address: str
    login: tuple[str, str] = field(repr=False)
    """Name and password."""

    @cached_property
    def _token(self) -> str:
        name, password = self.login
        answer = request_json("POST", f"{self.address}/auth/token", {"username": name, "password": password})
        token: str = answer["access_token"]
        return token

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call `path` under /api/v2 and give its JSON answer.

        A call that is safe to repeat is tried again, because a server beside a training may be too busy to answer at
        once.
        """
        for _ in range(RETRIES if method in SAFE_TO_REPEAT else 0):
            try:
                return self._call_once(method, path, body)
            except AirflowApiError as error:
                if error.status is not None:
                    raise
                time.sleep(RETRY_S)
        return self._call_once(method, path, body)

    def _call_once(self, method: str, path: str, body: object) -> Any:
        return request_json(method, f"{self.address}/api/v2/{path}", body, {"Authorization": f"Bearer {self._token}"})

    def trigger(self, dag_id: str, conf: dict[str, Any]) -> str:
        """Start a DAG run with these values of its form; gives its id."""
        dag_run = self.call("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
        dag_run_id: str = dag_run["dag_run_id"]
        return dag_run_id

    def dag_run(self, dag_id: str, dag_run_id: str) -> dict[str, Any]:
        dag_run: dict[str, Any] = self.call("GET", _run_path(dag_id, dag_run_id))
        return dag_run

    def set_note(self, dag_id: str, dag_run_id: str, note: str) -> None:
        self.call("PATCH", _run_path(dag_id, dag_run_id), {"note": note})

    def task_instances(self, dag_id: str, dag_run_id: str) -> list[dict[str, Any]]:
        """Give all task instances of a DAG run, those of a mapped task in the order of their map index."""
        # Later instances have later ids, so that a page that was read doesn't change when a task is mapped.
        path = f"{_run_path(dag_id, dag_run_id)}/taskInstances?order_by=id&limit={PAGE_SIZE}"
        found: list[dict[str, Any]] = []
        while True:
            answer = self.call("GET", f"{path}&offset={len(found)}")
            found += answer["task_instances"]
            if not answer["task_instances"] or len(found) >= answer["total_entries"]:
                return sorted(found, key=lambda instance: int(instance["map_index"]))

    def log_lines(self, task_instance: dict[str, Any]) -> list[str]:
        """Give what the latest try of a task instance has logged so far."""
        run = _run_path(task_instance["dag_id"], task_instance["dag_run_id"])
        attempt = f"{task_instance['task_id']}/logs/{max(1, task_instance['try_number'])}"
        path = f"{run}/taskInstances/{attempt}?full_content=true&map_index={task_instance['map_index']}"
        return [text for line in self.call("GET", path)["content"] for text in (line["event"], *_errors(line))]


def request_json(
    method: str, url: str, body: object = None, headers: dict[str, str] | None = None, timeout_s: float = 30
) -> Any:
    """Send `body` as JSON and give the JSON answer, or None for an empty one."""
    data = None if body is None else json.dumps(body).encode()
    sent_headers = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data, sent_headers, method=method)
    try:
        with without_proxy.open(request, timeout=timeout_s) as response:
            text = response.read()
    except urllib.error.HTTPError as error:
        raise AirflowApiError(f"{method} {url}: {error.code}: {error.read().decode()[:1000]}", error.code) from error
    except OSError as error:
        raise AirflowApiError(f"{method} {url}: no answer ({error})") from error
    return json.loads(text) if text else None


def _errors(line: dict[str, Any]) -> list[str]:
    return [f"{error['exc_type']}: {error['exc_value']}" for error in line.get("error_detail") or []]


def _run_path(dag_id: str, dag_run_id: str) -> str:
    return f"dags/{dag_id}/dagRuns/{quote(dag_run_id, safe='')}"
