"""The project's regression test: six small experiments, from the matrix to the tables, with bounds on F1.

All of it but Airflow: the plan's functions give the params, the tasks run in this process.
"""

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nucleus_dags.forms.run_experiments import run_experiments_form
from nucleus_dags.planning import candidates, run_experiments
from tasks.contract import Task, execute
from tasks.methods.registry import found_methods
from tasks.steps import augment, calibrate, find_experiments, ingest, score, segment, tabulate
from tests.dags.forms.filled import filled
from tests.synthetic_plates import make_synthetic_plate
from tests.tracked import track_in

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600), pytest.mark.usefixtures("rois_in_this_process")]

STEPS: dict[str, Task[Any]] = {
    task.name: task for task in (augment.TASK, calibrate.TASK, segment.TASK, score.TASK, tabulate.TASK)
}
GOOD = 0.9
"""F1 at 0.7 on both cell lines of what begins from the base model, trained further or not."""
GAIN = 0.05
"""By how much a training from the base model is better than one as short from random weights: the paper's Table 2."""


def run(task: Task[Any], params: dict[str, Any], store: Path) -> Any:
    """Run a task as the DAG does, and give its result as JSON."""
    given = {name: value for name, value in params.items() if name not in ("task", "mlflow_run_id")}
    return execute(task, task.params_type.model_validate(given), store).model_dump(mode="json")


def training(name: str) -> Task[Any]:
    from importlib import import_module

    method = next(method for method in found_methods().values() if method.task == name)
    task: Task[Any] = import_module(method.training).TASK
    return task


def one_experiment(experiment: dict[str, Any], store: Path) -> dict[str, Any]:
    """Go the way of the DAG's group for one experiment."""
    experiment = {**experiment, "mlflow_run_id": None}
    trainings = run_experiments.trainings_of_experiment(experiment, {})
    networks = run_experiments.networks_of([run(training(t["task"]), t, store) for t in trainings], {})
    calibration = run_experiments.calibration_of_experiment(experiment, {"networks": networks})
    model = candidates.calibrated_model(run(calibrate.TASK, calibration, store), {})
    segmented = [run(segment.TASK, p, store) for p in run_experiments.segmentations_of(experiment, {"model": model})]
    known = {"segmented": run_experiments.segmented_plates(segmented, {}), "experiment": experiment}
    scored = [run(score.TASK, p, store) for p in run_experiments.scorings_of(experiment, known)]
    return run_experiments.scored_experiment(scored, known)


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


def test_six_small_experiments_reach_the_f1_that_they_reached(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> None:
    track_in(tmp_path, monkeypatch)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    assert "NUCLEUS_EXPERIMENTS" not in os.environ
    planned = run_experiments.plan(filled(run_experiments_form(), matrix="regression"), store, "regression")
    asked = run(find_experiments.TASK, planned["find"], store)
    found = run_experiments.read_found(store, asked["outputs"]["found"])
    experiments = run_experiments.to_do(found)
    assert len(experiments) == 6
    for params in run_experiments.rois_to_make(found):
        run(augment.TASK, params, store)
    scored = [one_experiment({**one}, store) for one in experiments]
    made = run(tabulate.TASK, run_experiments.tables_of(planned["tabulate"], found, scored), store)
    for one in scored:
        record_property(f"F1 at 0.7, {one['name']}", round(one["metrics"]["f1_at_0.7/all"], 3))
    tables = store / made["outputs"]["tables"]
    weights = pd.read_csv(tables / "Initial_weights.csv")
    at_07 = weights[weights["iou_threshold"] == 0.7].set_index(["Initialization", "Training Set", "cell_line"])["f1"]
    augmented = pd.read_csv(tables / "Augmentation.csv", keep_default_na=False)
    begun_from_base = augmented[augmented["iou_threshold"] == 0.7]["f1"]
    assert (begun_from_base >= GOOD).all()
    assert (at_07["Base"] >= GOOD).all()
    assert (at_07["Base"].groupby("Training Set").mean() - at_07["Random"].groupby("Training Set").mean() >= GAIN).all()

    again = run(find_experiments.TASK, {**planned["find"], "dag_run_id": "again"}, store)
    assert (again["counts"]["stored"], again["counts"]["to_do"]) == (6, 0)
