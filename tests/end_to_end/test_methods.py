"""Several methods in one DAG run, with a real Airflow and a real MLflow."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.end_to_end.laboratory import Laboratory, laboratory
from tests.synthetic_plates import make_synthetic_plate
from tests.third_party_tools import make_tool

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

CANDIDATES = ("fpn2_ws", "mask_rcnn", "jacobkie", "threshold")
BASELINE = "classical, without a training"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Laboratory]:
    with laboratory(tmp_path / "nucleus") as started:
        for random_seed, role in enumerate(("train", "test")):
            make_synthetic_plate(started.home.inbox / f"tiny-{role}", role=role, random_seed=random_seed)
        tools = started.home.folder / "tools"
        tools.mkdir()
        (tools / "tools.yaml").write_text(yaml.safe_dump({"threshold": make_tool(tools)}))
        yield started


def test_all_methods_are_trained_scored_and_compared_in_one_report(lab: Laboratory) -> None:
    methods = ["fpn2_ws", "mask_rcnn", "jacobkie", "external"]
    form = {"methods": methods, "tool": ["threshold"], "initialisation": "random", "rois": 100, "cycles": 1}
    run_id = lab.run("train_models", **form)
    states = lab.states("train_models", run_id)
    assert states.pop("first_champion") == "skipped"  # The base model is the champion.
    assert set(states.values()) == {"success"}
    trained = lab.results("train_models", run_id)["train"]
    assert [result["task"] for result in trained] == [f"train_{method}" for method in methods]

    first_line = lab.note("train_models", run_id).splitlines()[0]
    # What so short a training finds too little of stands between its name and its F1.
    assert re.search(".*; ".join(f"{candidate}: .*F1 at 0.7: " for candidate in CANDIDATES), first_line)
    # The note has no room for all of it.
    shown = "\n".join(lab.log_lines("train_models", run_id, "summary"))
    for candidate in (*CANDIDATES, BASELINE):
        assert re.search(rf"\| {candidate} +\| MCF10A ", shown)

    experiment = lab.mlflow.get_experiment_by_name("experiments")
    assert experiment is not None
    runs = {run.info.run_name.partition(" on ")[0]: run for run in lab.mlflow.search_runs([experiment.experiment_id])}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    (of_dag_run,) = (run for run in runs.values() if "mlflow.parentRunId" not in run.data.tags)
    for candidate in CANDIDATES:
        assert runs[candidate].data.tags["mlflow.parentRunId"] == of_dag_run.info.run_id
        assert len(lab.mlflow.get_metric_history(runs[candidate].info.run_id, "f1_curve/MCF10A")) == 19
        (version,) = lab.mlflow.search_model_versions(f"run_id = '{runs[candidate].info.run_id}'")
        assert "f1_at_0.7/all" in version.tags

    (report,) = lab.results("train_models", run_id)["report"]
    figures = lab.home.store / report["outputs"]["figures"]
    assert sorted(path.name for path in figures.iterdir()) == sorted(["f1.png", BASELINE, *CANDIDATES])
