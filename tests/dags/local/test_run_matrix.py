"""A matrix without Airflow: which tasks are run, in which order, and what a failure keeps back."""

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException

from nucleus_dags.errors import FormError
from nucleus_dags.local.run_matrix import processes_in, run_matrix
from tests.dags.stored_plates import add_plate

MATRIX = """
all: {preset: laptop, augment: {rois: 100}, train: {cycles: 1}}
columns:
  start:
    words: {base: {train: {initialisation: base}}, random: {train: {initialisation: random}}}
tables:
  T: {rows: [{start: [base, random]}], by: [start]}
"""
STEPS = ["train_fpn2_ws", "calibrate", "segment", "score", "close_run"]


class Tasks:
    """Stands for the tasks: notes what is run, and gives results; `find_experiments` says what is there."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.run: list[tuple[str, dict[str, Any]]] = []
        self.failing: set[str] = set()
        self.scored: set[str] = set()

    def names(self) -> list[str]:
        return [task for task, _ in self.run]

    def __call__(self, task: str, params: dict[str, Any]) -> Any:
        task = params.get("task", task)
        self.run.append((task, params))
        if task in self.failing or params.get("initialisation") in self.failing:
            raise AirflowException(f"{task} ended with status 1")
        values: dict[str, Any] = {}
        outputs = {"network": "n/1", "segmentation": "s/1", "scores": "score/1", "page": "t/1"}
        if task == "find_experiments":
            outputs = {"found": "found.json"}
            (self.store / "found.json").write_text(json.dumps(self.found(params)))
        if task == "open_run":
            values = {"children": [f"run of {name}" for name in params["children"]]}
        if task == "calibrate":
            values = {"settings": {}}
        metrics = {"f1_at_0.7/all": 0.5, "f1_at_0.9/all": 0.1}
        return {
            **{"task": task, "key": "1", "params": params, "outputs": outputs, "values": values, "metrics": metrics},
            **{"counts": {}, "reused": False, "mlflow_run_id": "run of the matrix"},
        }

    def found(self, asked: dict[str, Any]) -> dict[str, Any]:
        experiments = [
            {
                **{
                    "name": one["name"],
                    "is_chosen": one["is_chosen"],
                    "key": "1",
                    "variant": 0,
                    "missing": "",
                    "rois": "r",
                    "plates": {"test": ["ingest/t@0"]},
                },
                **{
                    "trainings": one["variants"][0]["trainings"],
                    "training_keys": [one["name"]],
                    "cycles": [1],
                    "rates": [None],
                },
                **{"model": one["variants"][0]["model"], "trained": [False], "is_calibrated": False, "segmented": 0},
                "scores": "score/0" if one["name"] in self.scored else None,
                "training_scores": None,
                "is_logged": one["name"] in self.scored,
            }
            for one in asked["experiments"]
        ]
        rois = {"params": asked["experiments"][0]["variants"][0]["augment"], "amount": 100, "is_stored": False}
        return {"experiments": experiments, "rois": {"r": rois}, "rates": {}, "free_bytes": 1e12}


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tasks:
    monkeypatch.setenv("NUCLEUS_EXPERIMENTS", str(tmp_path))
    (tmp_path / "small.yaml").write_text(MATRIX)
    for role in ("train", "test"):
        add_plate(tmp_path, role, role)
    return Tasks(tmp_path)


def run(tasks: Tasks, **form: Any) -> Any:
    return run_matrix({"matrix": "small", "scale": 1.0, "stop_after_plan": False, **form}, tasks.store, tasks)


def test_experiments_are_run_one_after_the_other_and_then_all_are_tabulated(tasks: Tasks) -> None:
    done = run(tasks)
    assert tasks.names() == ["find_experiments", "open_run", "augment", *STEPS, *STEPS, "tabulate", "close_run"]
    assert [one["name"] for one in done.scored] == ["base", "random"]
    assert done.failed == {}
    (tabulated,) = (params for task, params in tasks.run if task == "tabulate")
    assert tabulated["mlflow_run_id"] == "run of the matrix"
    ends = [params for task, params in tasks.run if task == "close_run"]
    assert [end["mlflow_run_ids"] for end in ends] == [["run of base"], ["run of random"], ["run of the matrix"]]
    assert all(end["succeeded"] for end in ends)


def test_an_experiment_that_fails_does_not_stop_the_others_and_is_named(tasks: Tasks) -> None:
    tasks.failing = {"base"}
    done = run(tasks)
    assert done.failed == {"base": "train_fpn2_ws ended with status 1"}
    assert [one["name"] for one in done.scored] == ["random"]
    ends = [params["succeeded"] for task, params in tasks.run if task == "close_run"]
    assert ends == [False, True, False]
    assert done.tabulated is not None


def test_a_second_start_does_only_the_rest_and_one_with_nothing_to_do_only_the_tables(tasks: Tasks) -> None:
    tasks.scored = {"base"}
    done = run(tasks)
    assert [one["name"] for one in done.scored] == ["random"]
    (tabulated,) = (params for task, params in tasks.run if task == "tabulate")
    assert [one["scores"] for one in tabulated["experiments"]] == ["score/0", "score/1"]
    tasks.scored, tasks.run = {"base", "random"}, []
    assert run(tasks).tabulated is not None
    assert tasks.names() == ["find_experiments", "open_run", "tabulate", "close_run"]


def test_with_chosen_rows_only_these_are_run_and_the_scores_of_all_are_tabulated(tasks: Tasks) -> None:
    tasks.scored = {"base"}
    done = run(tasks, rows=["random"])
    assert [one["name"] for one in done.scored] == ["random"]
    (tabulated,) = (params for task, params in tasks.run if task == "tabulate")
    assert [one["scores"] for one in tabulated["experiments"]] == ["score/0", "score/1"]


def test_what_is_known_from_elsewhere_is_neither_run_nor_tabulated(tasks: Tasks) -> None:
    form = {"matrix": "small", "scale": 1.0, "stop_after_plan": False}
    done = run_matrix(form, tasks.store, tasks, left_out=lambda found: {found[0]["name"]})
    assert [one["name"] for one in done.scored] == ["random"]
    (tabulated,) = (params for task, params in tasks.run if task == "tabulate")
    assert [one["name"] for one in tabulated["experiments"]] == ["random"]


def test_when_its_time_is_over_no_experiment_begins_and_what_there_is_is_tabulated(tasks: Tasks) -> None:
    tasks.scored = {"base"}
    form = {"matrix": "small", "scale": 1.0, "stop_after_plan": False}
    done = run_matrix(form, tasks.store, tasks, most_hours=-1)
    assert [one["name"] for one in done.not_begun] == ["random"]
    assert tasks.names() == ["find_experiments", "open_run", "close_run", "tabulate", "close_run"]
    assert [params["succeeded"] for task, params in tasks.run if task == "close_run"] == [False, True]


def test_each_start_asks_the_store_anew(tasks: Tasks) -> None:
    run(tasks, stop_after_plan=True)
    run(tasks, stop_after_plan=True)
    assert tasks.names() == ["find_experiments"] * 2
    first, second = (params["dag_run_id"] for _, params in tasks.run)
    assert first != second


def test_a_matrix_without_its_plates_is_refused_before_anything_is_run(tasks: Tasks) -> None:
    (tasks.store / "small.yaml").write_text(MATRIX + "test: {plates: [other]}\n")
    with pytest.raises(FormError, match="the test plate other"):
        run(tasks)
    assert tasks.run == []


def test_a_task_runs_as_a_process_and_leaves_its_result_in_the_store_of_the_folder(tmp_path: Path) -> None:
    run_task = processes_in(tmp_path)
    params = {"name": "a", "cell_line": "U2OS", "fovs": 1, "height_px": 128, "width_px": 128}
    made = run_task("synthesize", params)
    assert (tmp_path / "store" / made["outputs"]["plate"] / "plate.json").exists()
    with pytest.raises(AirflowException, match="see above"):
        run_task("synthesize", params | {"fovs": -1})
