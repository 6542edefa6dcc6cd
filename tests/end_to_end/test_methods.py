"""Several methods in one DAG run, with a real Airflow and a real MLflow."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.laboratory import Laboratory, laboratory
from tests.synthetic_plates import make_synthetic_plate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Laboratory]:
    with laboratory(tmp_path / "nucleus") as started:
        for random_seed, role in enumerate(("train", "test")):
            make_synthetic_plate(started.home.inbox / f"tiny-{role}", role=role, random_seed=random_seed)
        started.switch("train_models", on=True)
        yield started


def test_two_methods_are_trained_scored_and_compared_in_one_report(lab: Laboratory) -> None:
    run_id = lab.run("train_models", methods=["fpn2_ws", "mask_rcnn"], rois=100, cycles=1)

    note = lab.api.dag_run("train_models", run_id)["note"]
    assert note.startswith("fpn2_ws: F1 at 0.7: ")
    assert "| mask_rcnn | MCF10A " in note

    experiment = lab.mlflow.get_experiment_by_name("experiments")
    assert experiment is not None
    runs = {run.info.run_name.split(",")[0]: run for run in lab.mlflow.search_runs([experiment.experiment_id])}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    (of_dag_run,) = (run for run in runs.values() if "mlflow.parentRunId" not in run.data.tags)
    for method in ("fpn2_ws", "mask_rcnn"):
        assert runs[method].data.tags["mlflow.parentRunId"] == of_dag_run.info.run_id
        assert len(lab.mlflow.get_metric_history(runs[method].info.run_id, "f1/MCF10A")) == 19
        (version,) = lab.mlflow.search_model_versions(f"run_id = '{runs[method].info.run_id}'")
        assert "f1_at_0.7/all" in version.tags

    (receipt,) = (lab.home.store / "dag_runs" / "train_models" / run_id / "report").glob("*.json")
    figures = lab.home.store / json.loads(receipt.read_text())["outputs"]["figures"]
    assert sorted(path.name for path in figures.iterdir()) == ["f1.png", "fpn2_ws", "mask_rcnn"]
