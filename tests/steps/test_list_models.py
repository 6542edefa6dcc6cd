"""The registered versions, with what the store holds of them."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tasks import tracking
from tasks.contract import Result, execute
from tasks.methods.fpn2_ws.method import Settings
from tasks.steps.list_models import TASK, Params
from tasks.store.registered_model import REGISTERED_MODEL
from tests.stored_results import add_model
from tests.stored_results import register as register_stored
from tests.tracked import track_in


def register(store: Path, number: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store and register a model whose keys are this digit 16 times."""
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("e", f"run {number}", "name"))
    register_stored(store, add_model(store, number * 16))
    monkeypatch.delenv("MLFLOW_RUN_ID")


def segments_by(number: str) -> dict[str, Any]:
    """How a version of this digit segments."""
    return {
        "method": "fpn2_ws",
        "networks": [f"train_fpn2_ws/{number * 16}"],
        "settings": Settings().model_dump(mode="json"),
    }


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with two registered versions, of the keys 1… and 2…."""
    track_in(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    for number in "12":
        register(tmp_path, number, monkeypatch)
    return tmp_path


def list_models(store: Path, dag_run_id: str = "asks") -> tuple[Result, list[dict]]:
    result = execute(TASK, Params(dag_run_id=dag_run_id), store)
    return result, result.values["versions"]


def test_every_version_has_its_model_and_aliases_the_oldest_first(store: Path) -> None:
    for alias in ("challenger", "champion"):
        tracking.set_alias(alias, 2, {})
    result, models = list_models(store)
    assert models == [
        {"version": 1, "model": segments_by("1"), "aliases": []},
        {"version": 2, "model": segments_by("2"), "aliases": ["challenger", "champion"]},
    ]
    assert result.counts == {"versions": 2, "lacking": 0}


@pytest.mark.parametrize("lost", ["register_model", "train_fpn2_ws"])
def test_a_version_of_which_the_store_lost_something_has_no_model(
    store: Path, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    (store / lost / ("1" * 16)).rename(store / "elsewhere")
    with caplog.at_level("INFO"):
        result, models = list_models(store)
    assert [model["model"] for model in models] == [None, segments_by("2")]
    assert result.counts == {"versions": 2, "lacking": 1}
    assert "version 1 is left out: the store lacks its model or a network of it" in caplog.messages


def test_a_version_whose_method_is_not_installed_has_no_model(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = store / "register_model" / ("1" * 16) / "result.json"
    result.write_text(result.read_text().replace('"fpn2_ws"', '"u_net"'))
    with caplog.at_level("INFO"):
        _, models = list_models(store)
    assert [model["model"] for model in models] == [None, segments_by("2")]
    assert "version 1 is left out: There is no method 'u_net'" in caplog.text


def test_a_version_that_a_person_registered_has_no_model(store: Path) -> None:
    MlflowClient().create_model_version(REGISTERED_MODEL, str(store / "files_of_model"))
    assert list_models(store)[1][2] == {"version": 3, "model": None, "aliases": []}


def test_a_dag_run_keeps_the_versions_that_it_began_with(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list_models(store, "comparison")[1]) == 2
    register(store, "3", monkeypatch)
    assert len(list_models(store, "comparison")[1]) == 2
    assert len(list_models(store, "the next one")[1]) == 3


def test_without_a_registered_model_the_list_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    track_in(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    result, models = list_models(tmp_path)
    assert (models, result.counts) == ([], {"versions": 0, "lacking": 0})
