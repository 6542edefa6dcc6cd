"""Which plates a new one is compared with, and what is said of it."""

from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from nucleus_dags.planning import drift
from tasks.steps.close_run import Params as CloseRunParams
from tasks.steps.drift import Params as DriftParams
from tasks.steps.open_run import Params as OpenRunParams
from tests.dags.stored_plates import add_plate
from tests.repository import REPOSITORY

SHOWN = ["2 new plates of 2 that arrived", "", "- **a** is in the store, as ingest/a@000000000000."]


def result(store: Path, plate: str, warnings: str) -> Any:
    """Put the warnings of `drift` into the store; gives what it hands on."""
    path = f"drift/{Path(plate).name.partition('@')[0]}/warnings.txt"
    (store / path).parent.mkdir(parents=True)
    (store / path).write_text(warnings)
    return {"params": {"plate": plate}, "outputs": {"warnings": path}}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    add_plate(tmp_path, "a", "train")
    add_plate(tmp_path, "b", "train")
    add_plate(tmp_path, "b", "train", "1" * 12, day=2)
    add_plate(tmp_path, "t", "test")
    add_plate(tmp_path, "h", "train", cell_line="HCT116")
    return tmp_path


def test_a_plate_is_compared_with_the_newest_training_plates_of_its_cell_line(store: Path) -> None:
    (comparison,) = drift.comparisons(store, ["ingest/t@000000000000"])
    assert comparison["references"] == ["ingest/a@000000000000", "ingest/b@111111111111"]
    DriftParams(**comparison)


def test_a_plate_is_compared_neither_with_itself_nor_with_its_older_version(store: Path) -> None:
    (comparison,) = drift.comparisons(store, ["ingest/b@111111111111"])
    assert comparison["references"] == ["ingest/a@000000000000"]


def test_the_first_plate_of_a_cell_line_is_left_out(store: Path) -> None:
    assert drift.comparisons(store, ["ingest/h@000000000000"]) == []


def test_every_comparison_gets_an_mlflow_run_of_its_own(store: Path) -> None:
    paths = ["ingest/a@000000000000", "ingest/t@000000000000"]
    planned = drift.comparisons(store, paths)
    opening = OpenRunParams(**drift.run_of_arrivals(planned, "manual__2026-11-23T04:18:05"))
    assert opening.children == ["a@000000000000, drift", "t@000000000000, drift"]
    opened: Any = {"values": {"children": ["1", "2"]}, "mlflow_run_id": "above"}
    in_runs = drift.in_runs(opened, {"comparisons": planned})
    assert [(item["plate"], item["mlflow_run_id"]) for item in in_runs] == list(zip(paths, "12", strict=True))


def test_the_note_begins_with_the_outliers_and_has_one_line_per_measure(store: Path) -> None:
    outlier = result(store, "ingest/a@000000000000", "focus 1; perhaps x.\nbackground 2; perhaps y.\n")
    lines = drift.note(store, SHOWN, [outlier, result(store, "ingest/t@000000000000", "")], failed=0)
    assert lines == [
        "2 new plates of 2 that arrived; outliers: a",
        *SHOWN[1:],
        "- **a** is an outlier: focus 1; perhaps x.",
        "- **a** is an outlier: background 2; perhaps y.",
    ]


def test_the_note_stays_as_it_is_without_an_outlier(store: Path) -> None:
    assert drift.note(store, SHOWN, [result(store, "ingest/a@000000000000", "")], failed=0) == SHOWN


def test_the_note_tells_of_comparisons_that_failed(store: Path) -> None:
    *before, last = drift.note(store, SHOWN, [], failed=1)
    assert before == SHOWN
    assert "1 failed" in last


def endings(*done: str) -> list[tuple[list[str], bool]]:
    """Give how the MLflow runs of two comparisons end."""
    opened: Any = [{"mlflow_run_id": "1"}, {"mlflow_run_id": "2"}]
    drifted: Any = [{"mlflow_run_id": run_id} for run_id in done]
    found = drift.endings("parent", opened, drifted)
    return [(params.mlflow_run_ids, params.succeeded) for params in (CloseRunParams(**item) for item in found)]


def test_the_mlflow_run_of_a_comparison_that_failed_is_closed_as_failed_and_so_is_the_one_above() -> None:
    assert endings("1", "2") == [(["1", "2", "parent"], True)]
    assert endings("2") == [(["2"], True), (["1", "parent"], False)]


def test_without_the_runs_of_the_plates_the_run_above_has_failed() -> None:
    assert drift.endings("parent", [], []) == [{"mlflow_run_ids": ["parent"], "succeeded": False}]


def test_whatever_becomes_of_a_comparison_the_plate_is_told_of_and_the_mlflow_runs_are_closed() -> None:
    bag = DagBag(str(REPOSITORY / "dags" / "ingest_plates.py"))
    dag: Any = bag.dags["ingest_plates"]
    of_drift = {"plan_drift", "open_run", "drift", "show_drift", "close_run"}
    for task_id in ("announce", "segment_plate", "keep_record"):
        assert not dag.get_task(task_id).get_flat_relative_ids(upstream=True) & of_drift
    assert dag.get_task("open_run").is_setup
    assert {task.task_id for task in dag.tasks if task.is_teardown} == {"show_drift", "close_run"}
