"""MLflow does its work and answers too late, or not at all: everything stands there once."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks import tracking
from tasks.nuclei.errors import InputError
from tasks.store.registered_model import REGISTERED_MODEL
from tests.late_mlflow import LateMlflow, late_mlflow


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LateMlflow]:
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    with late_mlflow(tmp_path, monkeypatch) as late:
        yield late


def runs_of(experiment: str) -> list:
    found = MlflowClient().get_experiment_by_name(experiment)
    assert found is not None
    return list(MlflowClient().search_runs([found.experiment_id]))


@pytest.mark.parametrize("unanswered", ["experiments/create", "runs/create"])
def test_a_run_is_made_once_and_ends(server, unanswered):
    server.unanswered.add(unanswered)
    run_id = tracking.open_run("experiment", "dag run", "name")
    assert server.asked.count(unanswered) == 2
    child = tracking.open_run("experiment", "dag run", "child", run_id)
    assert {run.info.run_id for run in runs_of("experiment")} == {run_id, child}
    for opened in (run_id, child):
        tracking.close_run(opened, succeeded=True)
    assert {run.info.status for run in runs_of("experiment")} == {"FINISHED"}


def test_a_run_that_the_server_made_after_the_task_had_looked_for_it_is_gone_when_the_dag_run_ends(server):
    run_id = tracking.open_run("experiment", "dag run", "name")
    other = tracking.open_run("experiment", "other dag run", "name")
    experiment = MlflowClient().get_run(run_id).info.experiment_id
    MlflowClient().create_run(experiment, tags={tracking.DAG_RUN_TAG: "dag run"}, run_name="name")
    tracking.close_run(run_id, succeeded=False)
    assert {run.info.run_id: run.info.status for run in runs_of("experiment")} == {run_id: "FAILED", other: "RUNNING"}


def test_a_run_that_holds_something_is_never_taken_for_one_that_was_made_by_mistake(server, monkeypatch):
    first = tracking.open_run("experiment", "dag run", "name")
    experiment = MlflowClient().get_run(first).info.experiment_id
    tags = {tracking.DAG_RUN_TAG: "dag run"}
    used = MlflowClient().create_run(experiment, tags=tags, run_name="name").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", used)
    tracking.Run().log_points([tracking.Point("f1", 0.9)])
    assert tracking.open_run("experiment", "dag run", "name") == used
    assert [run.info.run_id for run in runs_of("experiment")] == [used]


@pytest.mark.parametrize("unanswered", ["registered-models/create", "model-versions/create"])
def test_a_model_is_registered_once(server, tmp_path, monkeypatch, unanswered):
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("experiment", "dag run", "name"))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("")
    server.unanswered.add(unanswered)
    for _ in range(2):
        tracking.Run().register_model(tmp_path / "model", "key", {"method": "a method"}, "A model.")
    assert server.asked.count(unanswered) == 2
    (version,) = MlflowClient().search_model_versions(f"name = '{REGISTERED_MODEL}'")
    assert (version.version, version.tags["method"], version.tags["dag_run_id"]) == ("1", "a method", "dag run")


def test_a_version_in_force_stays_when_it_was_registered_twice(server, tmp_path, monkeypatch):
    run_id = tracking.open_run("experiment", "dag run", "name")
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    (tmp_path / "model").mkdir()
    tracking.Run().register_model(tmp_path / "model", "key", {}, "A model.")
    MlflowClient().create_model_version(REGISTERED_MODEL, f"runs:/{run_id}/model", run_id, {"key": "key"})
    tracking.set_alias("champion", 2, {})
    tracking.Run().register_model(tmp_path / "model", "key", {}, "A model.")
    assert [model.version for model in tracking.all_models()] == [2]


def test_six_first_runs_at_once_make_their_experiment_once(server):
    server.together["experiments/get-by-name"] = threading.Barrier(6)
    with ThreadPoolExecutor(6) as threads:
        opened = list(threads.map(lambda n: tracking.open_run("experiment", f"dag run {n}", "name"), range(6)))
    assert sorted(run.info.run_id for run in runs_of("experiment")) == sorted(opened)


def test_a_deleted_experiment_is_named_with_how_to_restore_it(server):
    tracking.open_run("experiment", "dag run", "name")
    experiment = MlflowClient().get_experiment_by_name("experiment")
    assert experiment is not None
    MlflowClient().delete_experiment(experiment.experiment_id)
    message = f"was deleted in MLflow; restore it with `.* restore --experiment-id {experiment.experiment_id}`"
    with pytest.raises(InputError, match=message):
        tracking.open_run("experiment", "dag run", "name")
    MlflowClient().restore_experiment(experiment.experiment_id)
    assert tracking.open_run("experiment", "dag run", "name")
