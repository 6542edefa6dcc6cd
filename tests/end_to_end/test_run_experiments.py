"""A matrix of experiments in small, with a real Airflow and a real MLflow: planned, run, one failed, started again."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from nucleus_dags.local import servers as local_servers
from nucleus_dags.local.environment import port_of
from tests.end_to_end.laboratory import Laboratory, laboratory, running_servers
from tests.repository import REPOSITORY
from tests.synthetic_plates import make_synthetic_plate

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

DAG_ID = "run_experiments"
MOST_SECONDS = 3000
MATRIX = """
title: In small
all: {preset: laptop, augment: {rois: 40}}
columns:
  train_set:
    words: {U2OS: {cell_lines: [U2OS]}, all: {}}
  model:
    axis: Model
    words:
      base: {train: {initialisation: base, cycles: 0}, calibrate: {search: []}}
      trained: {train: {cycles: 1}, calibrate: {search: [marker_threshold]}}
      lost: {train: {initialisation: train_fpn2_ws/0123456789abcdef}}
      coco: {method: mask_rcnn, train: {initialisation: coco, cycles: 1}}
without_weights: {model: base}
prices: {currency: CHF, core_hour: 0.05}
published: paper
tables:
  Table 3:
    title: One cell line against all
    rows: [{train_set: [U2OS, all], model: base}]
    by: [model, train_set]
    figures: {Fig. 3B: dots}
  Table 8:
    title: The best of each
    rows: [{model: [trained, lost, coco]}]
    by: [model]
    at: [0.7, 0.9]
    figures: {Fig. 5A: panels, Fig. 5B: curves, Fig. S3: errors}
findings:
  - paper: Training on all cell lines changes little.
    table: Table 3
    of: {train_set: all, model: base}
    against: {train_set: U2OS}
    expected: same
"""
REPLICATES = 3
TO_BE_KILLED = f"""
title: Replicates
all: {{preset: laptop, augment: {{rois: 40}}, train: {{initialisation: random, cycles: 2}}, calibrate: {{search: []}}}}
columns: {{train_set: {{words: {{U2OS: {{cell_lines: [U2OS]}}}}}}}}
experiments: [{{train_set: U2OS, replicates: {REPLICATES}}}]
"""
MISSED = "0123456789abcdee"
TO_BE_CLEARED = f"""
title: Cleared
all: {{preset: laptop, augment: {{rois: 40}}}}
columns:
  train_set: {{words: {{U2OS: {{cell_lines: [U2OS]}}}}}}
  model:
    words:
      base: {{train: {{initialisation: base, cycles: 0}}, calibrate: {{search: []}}}}
      missed: {{train: {{initialisation: train_fpn2_ws/{MISSED}, cycles: 1}}, calibrate: {{search: []}}}}
experiments: [{{train_set: U2OS, model: base}}, {{train_set: U2OS, model: missed}}]
"""
EXPERIMENTS = {"U2OS · base", "all · base", "U2OS · trained", "U2OS · coco"}
LOST = "U2OS · lost"
SECONDS_WITH_NOTHING_TO_DO = 240
"""On a machine that does other things too; by itself it is under a minute."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with laboratory(tmp_path_factory.mktemp("nucleus")) as started:
        (started.home.folder / "experiments" / "small.yaml").write_text(MATRIX)
        (started.home.folder / "experiments" / "replicates.yaml").write_text(TO_BE_KILLED)
        (started.home.folder / "experiments" / "cleared.yaml").write_text(TO_BE_CLEARED)
        for number, (cell_line, role) in enumerate((c, r) for c in ("U2OS", "MCF10A") for r in ("train", "test")):
            name = f"{cell_line}-{role}"
            folder = started.home.folder / "plates" / name
            make_synthetic_plate(folder, cell_line=cell_line, role=role, random_seed=number)
            params = json.dumps({"folder": str(folder), "role": role})
            arguments = ["--params", params, "--store", str(started.home.store)]
            subprocess.run([sys.executable, "-m", "tasks.steps.ingest", *arguments], cwd=REPOSITORY, check=True)
        yield started


@pytest.fixture(scope="module")
def planned(lab: Laboratory) -> str:
    return lab.run(DAG_ID, matrix="small")


@pytest.fixture(scope="module")
def first(lab: Laboratory, planned: str) -> str:
    dag_run_id = lab.api.trigger(DAG_ID, {"matrix": "small", "stop_after_plan": False})
    assert lab.finish(DAG_ID, dag_run_id, MOST_SECONDS) == "failed"
    return dag_run_id


def by_part(lab: Laboratory, dag_run_id: str, task_id: str) -> dict[str, str]:
    """Give the states of the parts of a mapped task by their names."""
    instances = lab.api.task_instances(DAG_ID, dag_run_id)
    return {i["rendered_map_index"]: i["state"] for i in instances if i["task_id"] == task_id}


def artifacts(lab: Laboratory, run_id: str, folder: str) -> set[str]:
    return {Path(item.path).name for item in lab.mlflow.list_artifacts(run_id, folder)}


def runs_of_matrix(lab: Laboratory) -> tuple[Any, dict[str, Any]]:
    """Give the MLflow run of the matrix, and those of its experiments by name."""
    experiment = lab.mlflow.get_experiment_by_name("experiments")
    assert experiment is not None
    runs = lab.mlflow.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, {child.info.run_name.rpartition(", ")[0]: child for child in children}


def test_the_plan_says_what_there_is_to_do_and_spends_nothing(lab: Laboratory, planned: str) -> None:
    states = lab.states(DAG_ID, planned)
    assert {states["show_plan"], states["open_run"], states["train"], states["tabulate"]} == {"skipped"}
    note = lab.note(DAG_ID, planned)
    assert note.startswith("5 of 5 experiments to run")
    assert "| trainings | 4 | 0 | 4 |" in note
    assert "1 run without their pretrained weights" in note
    assert not (lab.home.store / "augment").exists()


def test_a_failed_experiment_does_not_stop_the_others(lab: Laboratory, first: str) -> None:
    assert by_part(lab, first, "train") == {**dict.fromkeys(EXPERIMENTS, "success"), LOST: "failed"}
    scored = by_part(lab, first, "score")
    # A part that never began has no name yet.
    assert {name for name, state in scored.items() if state == "success"} == EXPERIMENTS
    note = lab.note(DAG_ID, first)
    assert "is no network of the store" in note.splitlines()[0]
    assert "4 experiments are scored, 4 of them in this run; 1 failed" in note


def test_the_roi_sets_are_made_once_for_all_experiments_that_share_them(lab: Laboratory, first: str) -> None:
    assert len(list((lab.home.store / "augment").glob("*/result.json"))) == 2


def test_mlflow_has_a_run_for_the_matrix_with_tables_and_figures_and_one_below_for_each_experiment(
    lab: Laboratory, first: str
) -> None:
    parent, children = runs_of_matrix(lab)
    assert set(children) == {*EXPERIMENTS, LOST}
    assert {name for name, run in children.items() if run.info.status == "FINISHED"} == EXPERIMENTS
    tags = children["U2OS · trained"].data.tags
    assert (tags["train_set"], tags["model"], tags["replicate"], tags["weights"]) == ("U2OS", "trained", "1", "base")
    assert "mask_rcnn_coco.h5" in children["U2OS · coco"].data.tags["weights_missing"]
    assert artifacts(lab, parent.info.run_id, "report") == {"experiments.html"}
    assert artifacts(lab, parent.info.run_id, "tables") == {
        "Table_3.csv",
        "Table_8.csv",
        "Fig._S3.csv",
        "Costs.csv",
        "Findings.csv",
        "images.csv",
    }
    assert {"Fig._3B.svg", "Fig._5A.svg", "Fig._5B.png", "Fig._S3A.svg", "F1_and_CPU_hours.png"} <= artifacts(
        lab, parent.info.run_id, "figures"
    )


def test_every_table_and_figure_is_drawn_again_from_mlflow_alone(lab: Laboratory, first: str, tmp_path: Path) -> None:
    parent, _ = runs_of_matrix(lab)
    command = [sys.executable, "-m", "tasks.recipes.draw_experiments", parent.info.run_id, str(tmp_path / "again")]
    env = {**os.environ, "MLFLOW_TRACKING_URI": lab.servers.mlflow_url}
    subprocess.run(command, cwd=REPOSITORY, env=env, check=True)
    drawn = {path.name for path in (tmp_path / "again/figures").iterdir()}
    assert drawn == artifacts(lab, parent.info.run_id, "figures")


def test_started_again_with_nothing_to_do_it_does_nothing_and_is_soon_done(
    lab: Laboratory, first: str, record_property: Any
) -> None:
    started = time.monotonic()
    again = lab.run(DAG_ID, matrix="small", stop_after_plan=False, rows=["base", "trained", "coco"])
    seconds = time.monotonic() - started
    record_property("seconds with nothing to do", round(seconds))
    assert lab.note(DAG_ID, again).startswith("4 experiments are scored, 0 of them in this run; 0 failed")
    assert lab.states(DAG_ID, again)["train"] == "skipped"
    assert seconds < SECONDS_WITH_NOTHING_TO_DO


def test_a_failed_experiment_is_run_again_alone_when_its_task_is_cleared(lab: Laboratory) -> None:
    dag_run_id = lab.api.trigger(DAG_ID, {"matrix": "cleared", "stop_after_plan": False})
    assert lab.finish(DAG_ID, dag_run_id, MOST_SECONDS) == "failed"
    assert by_part(lab, dag_run_id, "train") == {"base": "success", "missed": "failed"}
    before = set(trainings(lab, set()))
    trained = next(p.parent for p in before if json.loads(p.read_text())["params"]["initialisation"] == "base")
    shutil.copytree(trained, trained.with_name(MISSED))
    instances = lab.api.task_instances(DAG_ID, dag_run_id)
    [failed] = [i["map_index"] for i in instances if i["task_id"] == "train" and i["state"] == "failed"]
    # As the page does it where a person clears a task with all that comes after it.
    clearing = {"dag_run_id": dag_run_id, "task_ids": [["train", failed]], "include_downstream": True}
    lab.api.call("POST", f"dags/{DAG_ID}/clearTaskInstances", {**clearing, "dry_run": False, "only_failed": False})
    assert lab.finish(DAG_ID, dag_run_id, MOST_SECONDS) == "success"
    assert lab.note(DAG_ID, dag_run_id).startswith("2 experiments are scored, 2 of them in this run; 0 failed")
    assert len(trainings(lab, before)) == 2  # What was put there, and the one that was missed.


def trainings(lab: Laboratory, but: set[Path]) -> dict[Path, int]:
    """Give when each stored training was done, but for those of before."""
    paths = set((lab.home.store / "train_fpn2_ws").glob("[!.]*/result.json")) - but
    return {path: path.stat().st_mtime_ns for path in paths}


def test_after_all_processes_were_killed_only_the_rest_is_done_and_a_second_start_does_nothing(
    lab: Laboratory, first: str
) -> None:
    before = set(trainings(lab, set()))
    dag_run_id = lab.api.trigger(DAG_ID, {"matrix": "replicates", "stop_after_plan": False})
    lab.wait_until(lambda: bool(trainings(lab, before)), "a training is done", MOST_SECONDS)
    processes = running_servers(lab.home)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, 60)
    done = trainings(lab, before)
    assert 1 <= len(done) < REPLICATES
    local_servers.up(lab.home, port_of(lab.servers.airflow_url), port_of(lab.servers.mlflow_url))
    assert lab.finish(DAG_ID, dag_run_id, MOST_SECONDS) == "success"
    after = trainings(lab, before)
    assert len(after) == REPLICATES
    assert done.items() <= after.items()
    again = lab.run(DAG_ID, matrix="replicates", stop_after_plan=False)
    assert lab.note(DAG_ID, again).startswith(f"{REPLICATES} experiments are scored, 0 of them in this run; 0 failed")
    assert trainings(lab, before) == after
