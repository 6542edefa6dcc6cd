import re
from typing import Any

import pytest

from nucleus_dags import airflow_api
from nucleus_dags.airflow_api import AirflowApi, AirflowApiError


def serve_instances(monkeypatch: pytest.MonkeyPatch, map_indexes: list[int], page_limit: int) -> list[str]:
    """Let Airflow answer with these task instances, no more at once than it may; gives the paths of the calls."""
    paths: list[str] = []

    def call(api: AirflowApi, method: str, path: str) -> dict[str, Any]:
        paths.append(path)
        limit, offset = (int(number) for number in re.findall(r"(?:limit|offset)=(\d+)", path))
        page = map_indexes[offset:][: min(limit, page_limit)]
        return {"task_instances": [{"map_index": index} for index in page], "total_entries": len(map_indexes)}

    monkeypatch.setattr(AirflowApi, "call", call)
    return paths


@pytest.mark.parametrize(("instances", "calls"), [(0, 1), (100, 1), (101, 2), (230, 3)])
def test_all_pages_of_task_instances_are_read(monkeypatch: pytest.MonkeyPatch, instances: int, calls: int) -> None:
    paths = serve_instances(monkeypatch, list(range(instances)), page_limit=100)
    found = AirflowApi("http://127.0.0.1:1", ("admin", "password")).task_instances("train_models", "one run")
    assert [instance["map_index"] for instance in found] == list(range(instances))
    assert len(paths) == calls
    assert paths[0].startswith("dags/train_models/dagRuns/one%20run/taskInstances?")


def test_task_instances_are_all_read_from_a_server_with_smaller_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    serve_instances(monkeypatch, list(range(120)), page_limit=50)
    assert len(AirflowApi("http://127.0.0.1:1", ("admin", "password")).task_instances("train_models", "run")) == 120


def test_task_instances_come_in_the_order_of_their_map_index(monkeypatch: pytest.MonkeyPatch) -> None:
    serve_instances(monkeypatch, [-1, 0, 0, 2, 1], page_limit=100)
    found = AirflowApi("http://127.0.0.1:1", ("admin", "password")).task_instances("train_models", "run")
    assert [instance["map_index"] for instance in found] == [-1, 0, 0, 1, 2]


@pytest.mark.parametrize(("method", "tries"), [("GET", 5), ("PATCH", 5), ("POST", 1)])
def test_a_busy_server_is_asked_again_where_that_does_nothing_twice(
    monkeypatch: pytest.MonkeyPatch, method: str, tries: int
) -> None:
    calls: list[str] = []

    def refuse(method: str, url: str, *_: Any) -> None:
        calls.append(url)
        raise AirflowApiError("no answer")

    monkeypatch.setattr(airflow_api, "request_json", refuse)
    monkeypatch.setattr(airflow_api, "RETRY_S", 0)
    monkeypatch.setattr(AirflowApi, "_token", "token")
    with pytest.raises(AirflowApiError, match="no answer"):
        AirflowApi("http://127.0.0.1:1", ("admin", "password")).call(method, "dags/a")
    assert len(calls) == tries
