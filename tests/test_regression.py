"""The project's regression test: six small experiments, from the matrix to the tables, with bounds on F1.

All of it but Airflow: the matrix is run as `nucleus_dags.local.run_matrix` runs it, the tasks in this process.
"""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nucleus_dags.local.run_matrix import MatrixRun, run_matrix
from nucleus_dags.manifest import task_entry
from tasks.contract import execute
from tasks.steps import ingest
from tests.synthetic_plates import make_synthetic_plate
from tests.tracked import track_in

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600), pytest.mark.usefixtures("rois_in_this_process")]

FORM = {"matrix": "regression", "scale": 1.0, "stop_after_plan": False}
GOOD = 0.9
"""F1 at 0.7 on both cell lines of what begins from the base model, trained further or not."""
LEARNED = 0.6
"""F1 at 0.7 on MCF10A after a training from random weights. A network that has learned nothing has 0."""
GAIN = 0.05
"""By how much a training from the base model is better than one from random weights: the paper's Table 2."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regression")
    for number, cell_line in enumerate(("MCF10A", "U2OS")):
        for seed, role in enumerate(("train", "test"), start=2 * number):
            plate = make_synthetic_plate(
                folder / f"{cell_line}-{role}", cell_line=cell_line, role=role, random_seed=seed
            )
            execute(ingest.TASK, ingest.Params(folder=str(plate), role=role), folder / "store")
    return folder / "store"


def run(store: Path) -> MatrixRun:
    def in_this_process(task: str, params: dict[str, Any]) -> Any:
        given = {name: value for name, value in params.items() if name not in ("task", "mlflow_run_id")}
        found = import_module(task_entry(params.get("task", task))["module"]).TASK
        return execute(found, found.params_type.model_validate(given), store).model_dump(mode="json")

    return run_matrix(FORM, store, in_this_process)


def test_six_small_experiments_reach_the_f1_that_they_reached(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    track_in(tmp_path, monkeypatch)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    assert "NUCLEUS_EXPERIMENTS" not in os.environ
    done = run(store)
    assert (len(done.scored), done.failed) == (6, {})
    assert done.tabulated is not None
    for one in done.scored:
        record_property(f"F1 at 0.7, {one['name']}", round(one["metrics"]["f1_at_0.7/all"], 3))
    tables = store / done.tabulated["outputs"]["tables"]
    at_07 = of_table(tables / "Initial_weights.csv").set_index(["Initialization", "Training Set", "cell_line"])["f1"]
    assert (at_07["Base"] >= GOOD).all()
    assert (at_07["Random"].xs("MCF10A", level="cell_line") >= LEARNED).all()
    assert (at_07["Base"].groupby("Training Set").mean() - at_07["Random"].groupby("Training Set").mean() >= GAIN).all()
    assert (of_table(tables / "Augmentation.csv")["f1"] >= GOOD).all()

    again = run(store)
    assert again.scored == []
    assert again.tabulated is not None
    assert again.tabulated["reused"]


def of_table(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, keep_default_na=False)
    return table[table["iou_threshold"] == 0.7]
