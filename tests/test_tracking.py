"""What is logged to MLflow, into a real SQLite store; and what happens when MLflow is away."""

import os
import socket
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from mlflow import MlflowClient

from tasks import tracking
from tasks.tracking import Point, Run, TrackingError
from tests.tracked import track_in


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    track_in(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("experiment", "dag run 1", "name"))
    return Run()


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's address is a port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)


def test_a_dag_run_has_one_mlflow_run_that_can_be_ended_and_opened_again(run):
    tracking.close_run(os.environ["MLFLOW_RUN_ID"], succeeded=False)
    assert MlflowClient().get_run(os.environ["MLFLOW_RUN_ID"]).info.status == "FAILED"
    assert tracking.open_run("experiment", "dag run 1", "name") == run.id
    assert MlflowClient().get_run(os.environ["MLFLOW_RUN_ID"]).info.status == "RUNNING"
    assert tracking.open_run("experiment", "dag run 2", "name") != run.id


def test_what_is_logged_twice_stands_there_once(run):
    for points in ([Point("f1/U2OS", 0.9, 5)], [Point("f1/U2OS", 0.9, 5), Point("f1/U2OS", 0.8, 10)]):
        run.log_points(points)
    assert [(m.step, m.value) for m in MlflowClient().get_metric_history(run.id, "f1/U2OS")] == [(5, 0.9), (10, 0.8)]
    for _ in range(2):
        run.log_params({"cycles": 25}, "train_fpn")
    assert MlflowClient().get_run(run.id).data.params == {"train_fpn.cycles": "25"}


def test_plates_are_datasets_of_the_run_with_their_role(run):
    run.log_plate("plate", "abc", "ingest/plate@abc", "train", "{}")
    inputs = MlflowClient().get_run(run.id).inputs
    assert inputs is not None
    (logged,) = inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest, logged.tags[0].value) == ("plate", "abc", "training")


def test_without_a_run_nothing_is_logged_and_nothing_fails(monkeypatch):
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    Run().log_points([Point("f1", 1.0)])
    Run().log_params({"cycles": 1}, "task")
    with Run().system_metrics("node"):
        pass


@pytest.mark.usefixtures("away")
def test_a_server_that_is_away_is_named_with_what_to_do():
    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:\d+ doesn't answer.*run the task again"):
        Run().log_points([Point("f1", 1.0)])


@pytest.mark.usefixtures("away")
def test_a_training_is_not_stopped_by_a_server_that_is_away_at_its_start():
    trained = []
    with Run().system_metrics("node"):
        trained.append("cycle 1")
    assert trained == ["cycle 1"]


def test_system_metrics_are_logged_once_a_minute(run, monkeypatch):
    monitor = MagicMock()
    monkeypatch.setattr("tasks.tracking.current_run.SystemMetricsMonitor", monitor)
    with run.system_metrics("node"):
        pass
    _, sampled_every_s, samples = monitor.call_args.args
    assert sampled_every_s * samples == 60


def test_the_description_of_a_run_leads_to_the_dag_run_that_made_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUCLEUS_RUN_PAGE", "http://airflow/runs/train_models/manual__1")
    link = "[The run that made it](http://airflow/runs/train_models/manual__1)"
    monkeypatch.setenv("MLFLOW_RUN_ID", tracking.open_run("experiment", "dag run 3", "name"))
    opened = Run()
    assert opened.id is not None
    assert MlflowClient().get_run(opened.id).data.tags["mlflow.note.content"] == link
    opened.set_note("F1 is high.")
    assert MlflowClient().get_run(opened.id).data.tags["mlflow.note.content"] == f"F1 is high.\n\n{link}"
