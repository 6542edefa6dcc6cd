"""The registered versions, with what the store holds of them."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks import tracking
from tasks.contract import Result, execute
from tasks.steps.list_models import TASK, Params
from tests.stored_results import store_result


def register(store: Path, number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store and register a model whose keys are this digit 16 times."""
    key = number * 16
    store_result(store, f"train_fpn/{key}", {})
    store_result(store, f"register_model/{key}", {"networks": [f"train_fpn/{key}"]})
    (store / "model").mkdir(exist_ok=True)
    (store / "model" / "weights").write_text("")
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("e", f"run {number}", "name"))
    tracking.Run().register_model(store / "model", key, {})
    monkeypatch.delenv("MLFLOW_RUN_ID")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with two registered versions, of the keys 1… and 2…."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    for number in "12":
        register(tmp_path, number, monkeypatch)
    return tmp_path


def list_models(store: Path, dag_run_id: str = "asks") -> tuple[Result, list[dict]]:
    result = execute(TASK, Params(dag_run_id=dag_run_id), store)
    return result, json.loads((store / result.outputs["models"]).read_text())


def test_every_version_has_its_model_and_aliases_the_oldest_first(store: Path) -> None:
    for alias in ("challenger", "champion"):
        tracking.set_alias(alias, 2, {})
    result, models = list_models(store)
    assert models == [
        {"version": 1, "model": "register_model/1111111111111111", "aliases": []},
        {"version": 2, "model": "register_model/2222222222222222", "aliases": ["challenger", "champion"]},
    ]
    assert result.counts == {"versions": 2, "lacking": 0}


@pytest.mark.parametrize("lost", ["register_model", "train_fpn"])
def test_a_version_of_which_the_store_lost_something_has_no_model(
    store: Path, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    (store / lost / ("1" * 16)).rename(store / "elsewhere")
    with caplog.at_level("INFO"):
        result, models = list_models(store)
    assert [model["model"] for model in models] == [None, "register_model/2222222222222222"]
    assert result.counts == {"versions": 2, "lacking": 1}
    assert "version 1 is left out: the store lacks its model or a network of it" in caplog.messages


def test_a_version_that_a_person_registered_has_no_model(store: Path) -> None:
    MlflowClient().create_model_version(tracking.REGISTERED_MODEL, str(store / "model"))
    assert list_models(store)[1][2] == {"version": 3, "model": None, "aliases": []}


def test_a_dag_run_keeps_the_versions_that_it_began_with(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list_models(store, "comparison")[1]) == 2
    register(store, "3", monkeypatch)
    assert len(list_models(store, "comparison")[1]) == 2
    assert len(list_models(store, "the next one")[1]) == 3


def test_without_a_registered_model_the_list_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    result, models = list_models(tmp_path)
    assert (models, result.counts) == ([], {"versions": 0, "lacking": 0})
