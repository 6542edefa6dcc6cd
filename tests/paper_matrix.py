"""A store that has every result of the paper's matrix, on plates of its names: of models that find three nuclei or two.

The networks are empty folders; the scores, and the label images that they are of, are whole.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tifffile

from nucleus_dags.forms.run_experiments import run_experiments_form
from nucleus_dags.launchers.command_line import arguments_of
from nucleus_dags.planning import run_experiments
from nucleus_dags.planning.types import ExperimentsPlan
from tasks import tracking
from tasks.contract import execute
from tasks.recipes.paper_plates import SETS_OF_TABLE_S1, TRAINING
from tasks.steps import calibrate, score, segment
from tests.dags.forms.filled import filled
from tests.repository import REPOSITORY
from tests.stored_results import add_plate, image, store_result, store_result_of

# Three nuclei of 5 px, of which models find all, or two.
TRUTH = [1] * 5 + [0] + [2] * 5 + [0] + [3] * 5
FOUND = (TRUTH, [1] * 5 + [0] + [2] * 5 + [0] * 6)
EXPERIMENTS = 77
PLACE = ("well", "site", "channel", "z")


def _add_plate(store: Path, cell_line: str, kind: str) -> None:
    """Store a plate of the paper's name; one to test on has manual labels too."""
    path = add_plate(store, f"{cell_line}_{kind}", cell_line, {"f1": TRUTH})
    info = store / path / "plate.json"
    role = "train" if kind == TRAINING else "test"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"role": role, "annotation": "semi-automatic"}))
    row = {"fov": "f1", "image": "images/f1.tif", "labels": "labels/f1.tif"} | dict.fromkeys(PLACE, "")
    report: dict[str, Any] = {"frozen_at": "2026-11-01T00:00:00", "fovs": [row]}
    if role == "test":
        report["label_sets"] = {"manual": {"f1": "label_sets/manual/f1.tif"}}
        (store / path / "label_sets/manual").mkdir(parents=True)
        tifffile.imwrite(store / path / "label_sets/manual/f1.tif", image(FOUND[1]))
    (store / path / "report.json").write_text(json.dumps(report))


def plan(store: Path) -> ExperimentsPlan:
    form = filled(run_experiments_form(), matrix="paper")
    return run_experiments.plan(form, store, f"asked at {time.monotonic()}")


def find(store: Path, planned: ExperimentsPlan) -> dict[str, Any]:
    """Run `find_experiments` as a process, as Airflow does."""
    arguments = arguments_of("find_experiments", planned["find"], store, store / "receipt.json")
    subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, check=True)
    return run_experiments.read_found(store, json.loads((store / "receipt.json").read_text())["outputs"]["found"])


def store_paper_matrix(store: Path) -> None:
    """Put plates and every result into a store, and into MLflow all runs as finished."""
    for cell_line, kinds in SETS_OF_TABLE_S1.items():
        for kind in kinds:
            _add_plate(store, cell_line, kind)
    planned = plan(store)
    found = find(store, planned)
    for key, rois in found["rois"].items():
        store_result(store, f"augment/{key}", rois["params"])
    for number, experiment in enumerate(found["experiments"]):
        _store_experiment(store, experiment, FOUND[number % 2])
    parent = tracking.open_run("experiments", planned["find"]["matrix"], "paper")
    for experiment in planned["find"]["experiments"]:
        run = tracking.open_run("experiments", planned["find"]["matrix"], f"{experiment['name']}, paper", parent)
        tracking.close_run(run, succeeded=True)


def _store_experiment(store: Path, found: Mapping[str, Any], nuclei: list[int]) -> None:
    networks = found["training_keys"]
    for network, training in zip(networks, found["trainings"], strict=True):
        store_result(store, network, training, {"network": network})
        (store / network / "network.json").write_text(json.dumps({"method": found["model"]["method"]}))
    model = {**found["model"], "networks": networks}
    calibration = store_result_of(store, calibrate.TASK, model, "calibration", "calibration.csv")
    _give_settings(store / Path(calibration).parent)
    segmenting = {"method": model["method"], "networks": networks, "settings": {}}
    for plates in filter(None, found["plates"].values()):
        segmented = [_segment(store, {**segmenting, "plate": plate}, nuclei) for plate in plates]
        execute(score.TASK, score.Params(segmentations=segmented), store)


def _give_settings(calibration: Path) -> None:
    content = json.loads((calibration / "result.json").read_text())
    (calibration / "result.json").write_text(json.dumps(content | {"values": {"settings": {}}}))


def _segment(store: Path, params: dict[str, Any], nuclei: list[int]) -> str:
    path = store_result_of(store, segment.TASK, params, "segmentation")
    (store / path / "labels").mkdir(exist_ok=True)
    tifffile.imwrite(store / path / "labels/f1.tif", image(nuclei))
    return path
