"""Train the classifier of bright spots on the pixels of the ROIs."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pydantic
from numpy.typing import NDArray
from skimage.segmentation import clear_border

from laboratory_method.classifier import FEATURES, Classifier, features, load_classifier, logistic
from laboratory_method.method import METHOD
from tasks import tracking
from tasks.contract import TRAINING, Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.methods.method import RANDOM, PresetName
from tasks.methods.shared.initial_weights import earlier_network
from tasks.methods.shared.training_params import Cycles, Initialisation, filled_in
from tasks.nuclei.errors import InputError
from tasks.nuclei.roi_file import RoiReader

PIXELS_OF_A_ROI = 1000
LEARNING_RATE = 0.1
DAMPING = 1e-2

log = logging.getLogger("nucleus")


class Params(TaskParams):
    rois: str
    """ROI file: output of `augment`."""
    preset: PresetName = "paper"
    """Values of the params that aren't given."""
    initialisation: Initialisation = RANDOM
    cycles: Annotated[Cycles, pydantic.Field(ge=1)] = 30
    random_seed: int = pydantic.Field(0, ge=0, lt=2**31)
    """Seed of the initial weights, of the pixels that are taken and of the order of the ROIs."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        return filled_in(values, METHOD, RANDOM)


class Pixels(NamedTuple):
    """Some pixels of a ROI."""

    features: NDArray[np.float32]
    """(pixels, features)"""
    is_nucleus: NDArray[np.bool_]
    """(pixels,)"""


def run(params: Params, workspace: Workspace) -> Outcome:
    started = time.monotonic()
    reader = RoiReader(workspace.input(params.rois))
    rng = np.random.default_rng(params.random_seed)
    training, validation = (
        [pixels_of(reader, int(row), rng) for row in rows] for rows in (reader.training_rows, reader.validation_rows)
    )
    weights = initial_weights(params, workspace, rng)
    for cycle in range(1, params.cycles + 1):
        for number in rng.permutation(len(training)):
            weights = step(weights, training[number])
        log.info(
            "%s: epoch %d of %d, validation loss %.4f", METHOD.name, cycle, params.cycles, loss(weights, validation)
        )
    radius_px = typical_radius_px(reader.label_image(int(row)) for row in reader.training_rows)
    Classifier(weights, radius_px, reader.view).save(workspace.output_dir)
    metrics = {"validation_loss": loss(weights, validation), "training_seconds": round(time.monotonic() - started, 1)}
    return Outcome({"network": "."}, metrics, {"weights": FEATURES})


def initial_weights(params: Params, workspace: Workspace, rng: np.random.Generator) -> NDArray[np.float64]:
    """Give random weights, or those of an earlier network of the store."""
    if params.initialisation == RANDOM:
        return rng.normal(0, 0.1, FEATURES)
    return load_classifier(earlier_network(params.initialisation, METHOD, workspace)).weights


def pixels_of(reader: RoiReader, row: int, rng: np.random.Generator) -> Pixels:
    """Take some pixels of a ROI at random."""
    chosen = rng.integers(0, reader.roi_px**2, PIXELS_OF_A_ROI)
    seen = features(reader.image(row)).reshape(-1, FEATURES)
    return Pixels(seen[chosen], reader.label_image(row).ravel()[chosen] > 0)


def step(weights: NDArray[np.float64], pixels: Pixels) -> NDArray[np.float64]:
    """Give the weights after a part of a Newton step on the pixels of one ROI."""
    probability = logistic(pixels.features @ weights)
    gradient = pixels.features.T @ (probability - pixels.is_nucleus)
    certainty = probability * (1 - probability)
    curvature = (pixels.features * certainty[:, np.newaxis]).T @ pixels.features
    damping = DAMPING * len(probability) * np.eye(FEATURES)
    return np.asarray(weights - LEARNING_RATE * np.linalg.solve(curvature + damping, gradient), np.float64)


def loss(weights: NDArray[np.float64], rois: Sequence[Pixels]) -> float:
    """Give the mean cross-entropy of pixels."""
    seen, is_nucleus = (np.concatenate(part) for part in zip(*rois, strict=True))
    wrong_way = np.where(is_nucleus, -1, 1) * (seen @ weights)
    return float(np.logaddexp(0, wrong_way).mean())


def typical_radius_px(label_images: Iterable[NDArray[np.integer]]) -> float:
    """Give the radius of a disk with the median area of the nuclei that no edge of a ROI cuts."""
    areas_px = np.concatenate([np.bincount(clear_border(labels).ravel())[1:] for labels in label_images])
    if not areas_px.any():
        raise InputError("The training ROIs have no whole nucleus; make larger ROIs, or annotate more fields.")
    return float(np.sqrt(np.median(areas_px[areas_px > 0]) / np.pi))


def log_training(params: Params, result: Result, store: Path) -> None:
    run = tracking.Run()
    run.log_params(params.model_dump(), METHOD.task)
    run.log_points([tracking.Point(f"{METHOD.name}/{name}", value) for name, value in result.metrics.items()])


TASK = Task(
    name=METHOD.task,
    version=1,
    params_type=Params,
    run=run,
    log=log_training,
    resources=Resources(TRAINING, cpu=1, memory_gib=4),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
