"""A laboratory's own method, in an installed package, goes through all tasks and changes nothing of the others.

The package is `tests/foreign_method`; it is on the path of the processes that are started here, not of this one.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from mlflow import MlflowClient

from tasks.contract import DONE, Result, execute, parse_params
from tasks.manifest import manifest
from tasks.methods.method import RANDOM
from tasks.methods.registry import found_methods, place_of
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.image_files import read_image, read_label_image
from tasks.nuclei.tables import read_nuclei
from tasks.steps import augment, calibrate, ingest, open_run, register_model, segment, synthesize
from tests.faulty_fields import FAULTS, SIDE_PX
from tests.repository import REPOSITORY
from tests.tracked import track_in

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("power_may_go")]

PACKAGE = REPOSITORY / "tests/foreign_method"
NAME, TASK_NAME = "bright_spots", "train_bright_spots"
FAULTS_OF_FIELDS = ("a hot pixel", "a hot column", "a dead cell, 10 times as bright", "a narrow black border")
LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SEGMENT_ELSEWHERE = """
import importlib.util, json, sys
for name in ("tasks", "laboratory_method"):
    assert importlib.util.find_spec(name) is None, name
import mlflow, numpy as np
np.save("labels.npy", mlflow.pyfunc.load_model("models:/nucleus-segmenter/1").predict(np.load("image.npy")))
assert "tensorflow" not in sys.modules
"""
PRINT_KEYS = """
import json, pathlib, sys
from tests.methods.test_foreign_method import keys_of_methods_here
print(json.dumps(keys_of_methods_here(pathlib.Path(sys.argv[1]))))
"""


@dataclass(frozen=True)
class Laboratory:
    """A store and an MLflow, and what the tasks gave: each from the outputs of those before it."""

    folder: Path
    manifest: dict[str, Any]
    plate: str
    """The one that wasn't trained on."""
    training: Result
    calibration: Result
    segmentation: Result
    scores: Result
    registered: Result
    retraining: Result
    scores_of_faulty: Result
    """Of a plate whose fields have hot pixels, a dead cell and a black edge."""

    @property
    def store(self) -> Path:
        return self.folder / "store"


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory) -> Iterator[Laboratory]:
    folder = tmp_path_factory.mktemp("laboratory")
    with pytest.MonkeyPatch.context() as patch:
        track_in(folder, patch)
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        patch.chdir(folder)
        yield work_through(folder)


def work_through(folder: Path) -> Laboratory:
    """Do once what the DAGs do with a method."""
    store = folder / "store"
    plates = [make_plate(store, name, seed) for seed, name in enumerate(("train", "test"))]
    rois = execute(
        augment.TASK, augment.Params(plates=plates[:1], rois=40, roi_px=128, augmentation="None"), store
    ).outputs["rois"]
    mlflow_run = execute(open_run.TASK, open_run.Params(experiment="e", dag_run_id="d", run_name="r"), store)
    start(folder, "-m", "tasks.manifest", "--output", str(folder / "manifest.json"))
    described = json.loads((folder / "manifest.json").read_text())

    def run(task: str, **params: Any) -> Result:
        arguments = ["--params", json.dumps(params), "--store", str(store), "--result", str(folder / f"{task}.json")]
        environment = {"MLFLOW_RUN_ID": str(mlflow_run.mlflow_run_id)}
        start(folder, "-m", described["tasks"][task]["module"], *arguments, **environment)
        return Result.model_validate_json((folder / f"{task}.json").read_text())

    training = run(TASK_NAME, rois=rois, preset="laptop")
    model: dict[str, Any] = {"method": NAME, "networks": [training.outputs["network"]]}
    calibration = run("calibrate", **model)
    model["settings"] = calibration.values["settings"]
    segmentation = run("segment", **model, plate=plates[1])
    segmented = run("segment", **model, plate=make_plate(store, "faulty", 2, *FAULTS_OF_FIELDS))
    scores_of_faulty = run("score", segmentations=[segmented.outputs["segmentation"]])
    # What was scored last stands on the registered version.
    registered = run("register_model", **model)
    scores = run("score", segmentations=[segmentation.outputs["segmentation"]])
    retraining = run(TASK_NAME, rois=rois, initialisation=training.outputs["network"], cycles=1)
    results = (training, calibration, segmentation, scores, registered, retraining, scores_of_faulty)
    return Laboratory(folder, described, plates[1], *results)


def make_plate(store: Path, name: str, seed: int, *faults: str) -> str:
    """Import a synthetic plate, one fault in each field; gives its path in the store."""
    side_px = SIDE_PX if faults else 320
    role = "train" if name == "train" else "test"
    params = synthesize.Params(
        name=name, cell_line="MCF10A", fovs=4, height_px=side_px, width_px=side_px, role=role, random_seed=seed
    )
    made = execute(synthesize.TASK, params, store)
    for image, fault in zip(sorted((store / made.outputs["plate"] / "images").iterdir()), faults, strict=False):
        tifffile.imwrite(image, FAULTS[fault](tifffile.imread(image)))
    return execute(ingest.TASK, ingest.Params(folder=str(store / made.outputs["plate"])), store).outputs["plate"]


def start(folder: Path, *arguments: str, **environment: str) -> str:
    """Run Python with the laboratory's package on its path; gives what it prints."""
    variables = os.environ | environment | {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{PACKAGE}"}
    command = [sys.executable, *arguments]
    ended = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert ended.returncode == DONE, ended.stdout + ended.stderr
    return ended.stdout


def keys_of_methods_here(store: Path) -> dict[str, str]:
    """Give the keys of training, calibration, segmentation and model of every method of the repository."""
    keys = {}
    for name, method in found_methods().items():
        if not place_of(method).startswith("tasks.") or not method.has_networks:
            continue
        tool = {method.candidates.param: method.candidates.known[0]} if method.candidates else {}
        network = f"{method.task}/0123456789abcdef"
        (store / network).mkdir(parents=True, exist_ok=True)
        (store / network / "network.json").write_text(json.dumps({"method": name, **tool}))
        training = importlib.import_module(method.training).TASK
        params: dict[str, Any] = {**method.presets["laptop"].params, **method.networks[0].trainings[0], **tool}
        params |= {"rois": "augment/0123456789abcdef/rois.h5", "initialisation": RANDOM, "random_seed": 1}
        keys[f"{name}: train"] = training.output_key(training.params_type(**params), store)
        model: dict[str, Any] = {"method": name, "networks": [network]}
        keys[f"{name}: calibrate"] = calibrate.TASK.output_key(calibrate.Params(**model), store)
        keys[f"{name}: segment"] = segment.TASK.output_key(segment.Params(**model, plate="ingest/plate@1"), store)
        keys[f"{name}: register"] = register_model.TASK.output_key(register_model.Params(**model), store)
    return keys


def test_the_method_stands_in_the_manifest_with_its_threshold_its_task_and_its_networks(laboratory):
    method, task = laboratory.manifest["methods"][NAME], laboratory.manifest["tasks"][TASK_NAME]
    assert method["title"] == "Bright spots: a classifier of pixels, seconds on a CPU"
    level = method["settings"]["properties"]["level"]
    assert (level["title"], level["default"]) == ("Level", 0.5)
    assert (level["exclusiveMinimum"], level["exclusiveMaximum"]) == (0, 1)
    assert level["description"].startswith("Pixels that are more probably part of a nucleus than this")
    assert (method["search"], method["task"]) == (["level"], TASK_NAME)
    assert method["networks"] == {"one": {"title": "one network", "trainings": [{}]}}
    assert list(method["initial_weights"]) == [RANDOM]
    assert task["module"] == "laboratory_method.train"
    assert task["params"]["properties"]["cycles"]["title"] == "Epochs"


def test_the_package_changes_nothing_else_in_the_manifest(laboratory):
    without = manifest(found_methods())
    others = {**laboratory.manifest}
    for part, name in (("methods", NAME), ("tasks", TASK_NAME), ("thresholds", NAME)):
        others[part] = {known: said for known, said in others[part].items() if known != name}
    assert others == without


def test_no_key_of_another_method_changes_with_the_package(laboratory, tmp_path):
    without = keys_of_methods_here(tmp_path)
    assert len(without) == 4 * len(list(REPOSITORY.glob("tasks/methods/*/train.py")))
    assert json.loads(start(tmp_path, "-c", PRINT_KEYS, str(tmp_path))) == without


def test_without_its_package_the_method_is_refused_by_name():
    params = json.dumps({"method": NAME, "networks": ["train_bright_spots/0123456789abcdef"]})
    with pytest.raises(InputError, match=r"There is no method 'bright_spots'; there are .* Is its package installed\?"):
        parse_params(calibrate.Params, params)


def test_it_trains_on_rois_with_the_values_of_the_preset(laboratory):
    assert laboratory.training.params["cycles"] == 10
    assert laboratory.training.metrics["validation_loss"] < 0.2
    network = json.loads((laboratory.store / laboratory.training.outputs["network"] / "network.json").read_text())
    assert network["method"] == NAME
    assert 20 < network["radius_px"] < 40, "nuclei of MCF10A cells have a radius of 30 px"


def test_its_threshold_is_calibrated_and_handed_on(laboratory):
    chosen = laboratory.calibration.values["settings"]["level"]
    assert chosen == laboratory.calibration.metrics["level"]
    assert chosen in LEVELS
    assert chosen != 0.5, "the default would be there without a search"
    others: dict[str, Any] = {"min_area_px": 20, "max_area_px": None, "min_confidence": 0, "for_cell_lines": {}}
    assert laboratory.segmentation.params["settings"] == {**others, "level": chosen}


def test_its_confidences_stand_in_the_table_of_nuclei(laboratory):
    table = read_nuclei(laboratory.store / laboratory.segmentation.outputs["segmentation"] / "nuclei.csv")
    assert table["confidence"].between(laboratory.calibration.values["settings"]["level"] / 2, 1).all()
    assert table["confidence"].median() > 0.8


def test_it_finds_the_nuclei_of_a_plate_that_it_has_not_seen(laboratory):
    assert laboratory.scores.counts["fovs"] == laboratory.segmentation.counts["fovs"] == 4
    assert laboratory.scores.metrics["f1_at_0.7/all"] > 0.75


def test_it_finds_the_nuclei_whatever_hot_pixels_dead_cells_and_borders_do(laboratory):
    assert laboratory.scores_of_faulty.metrics["f1_at_0.7/all"] > 0.7


def test_its_registered_model_segments_in_a_fresh_process_without_the_repository_and_the_package(laboratory, tmp_path):
    fov = open_plate(laboratory.store / laboratory.plate).fovs[0]
    np.save(tmp_path / "image.npy", read_image(fov.image_path))
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MLFLOW_RUN_ID")}
    subprocess.run([sys.executable, "-c", SEGMENT_ELSEWHERE], cwd=tmp_path, env=variables, check=True, timeout=200)
    written = laboratory.store / laboratory.segmentation.outputs["segmentation"] / "labels" / f"{fov.name}.tif"
    assert np.array_equal(np.load(tmp_path / "labels.npy"), read_label_image(written))


def test_its_registered_version_says_the_method_the_plates_and_the_scores(laboratory):
    (version,) = MlflowClient().search_model_versions("name = 'nucleus-segmenter'")
    described = "Bright spots: a classifier of pixels, seconds on a CPU. Trained on train."
    assert str(version.description).startswith(described)
    assert (version.tags["method"], version.tags["key"]) == (NAME, laboratory.registered.key)
    assert "plate/train" in version.tags
    assert float(version.tags["f1_at_0.7/all"]) == pytest.approx(laboratory.scores.metrics["f1_at_0.7/all"], abs=1e-4)


def test_trained_again_it_begins_where_its_earlier_network_ended(laboratory):
    assert laboratory.retraining.params["initialisation"] == laboratory.training.outputs["network"]
    assert laboratory.retraining.key != laboratory.training.key
    # From random weights, one epoch leaves several times this loss.
    assert laboratory.retraining.metrics["validation_loss"] < 1.1 * laboratory.training.metrics["validation_loss"]


def test_an_earlier_network_of_another_method_is_refused(laboratory):
    keys_of_methods_here(laboratory.store)
    other = next(method.task for method in found_methods().values())
    params = {"rois": laboratory.training.params["rois"], "initialisation": f"{other}/0123456789abcdef"}
    arguments = ["--params", json.dumps(params), "--store", str(laboratory.store)]
    with pytest.raises(AssertionError, match=rf"is a network of \w+, not of {NAME}"):
        start(laboratory.folder, "-m", "laboratory_method.train", *arguments)
