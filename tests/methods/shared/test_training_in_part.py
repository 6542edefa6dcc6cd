"""What it is worth to leave out what isn't annotated: the same nuclei, trained on with ignored/ and without."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from scipy import ndimage

from tasks.contract import execute
from tasks.methods.fpn2_ws.train import MapTraining
from tasks.methods.shared.roi_batches import RoiBatches, annotated_in
from tasks.methods.shared.training import Stage, Training, TrainingSettings
from tasks.nuclei.errors import InputError
from tasks.nuclei.intensity import grey_levels
from tasks.nuclei.scoring import count, f1_score, score_instances
from tasks.steps import augment
from tests.fields import round_nuclei
from tests.plates import make_plate

pytestmark = pytest.mark.usefixtures("rois_in_this_process")

SHAPE = (128, 192)
PATCH = np.s_[16:112, 16:80]
"""Of each field, a quarter."""
SETTINGS = TrainingSettings(
    cycles=8,
    stages=(Stage(1.0),),
    batch_size=8,
    learning_rate=0.02,
    optimiser="adam",
    schedule="constant",
    random_seed=0,
)


class ForegroundNetwork:
    """Two convolutions that predict where nuclei are."""

    def __init__(self) -> None:
        keras.utils.set_random_seed(0)
        self.architecture = SimpleNamespace(targets=("foreground",))
        first = keras.layers.Conv2D(4, 3, padding="same", activation="relu", input_shape=(None, None, 1))
        self.model = keras.Sequential([first, keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")])

    def __call__(self, images: Any, training: bool) -> Any:
        return self.model(tf.cast(images, tf.float32) / 255, training=training)

    def encoder_layers(self) -> list[Any]:
        return []


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two plates of the same fields with labels in a patch only: `in_part` says so, `as_if_whole` doesn't."""
    ignored = np.ones(SHAPE, np.uint8)
    ignored[PATCH] = 0
    fields = {f"f{seed}": round_nuclei(seed, SHAPE, nuclei=24, radius_px=8) for seed in range(3)}
    images = {name: image for name, (image, _) in fields.items()}
    labels = {name: np.where(ignored, 0, label_image).astype(np.uint16) for name, (_, label_image) in fields.items()}
    make_plate(tmp_path / "in_part", images, labels, dict.fromkeys(images, ignored))
    shutil.copytree(tmp_path / "in_part", tmp_path / "as_if_whole")
    shutil.rmtree(tmp_path / "as_if_whole/ignored")
    return tmp_path


def rois_of(store: Path, plate: str) -> Path:
    params = augment.Params(plates=[plate], rois=60, roi_px=64, augmentation="None")
    return store / execute(augment.TASK, params, store).outputs["rois"]


def f1_after_training(store: Path, plate: str) -> float:
    """Train on a plate; gives F1 at 0.7 on a field that nothing is ignored of, seen for the first time."""
    network = ForegroundNetwork()
    rois = RoiBatches(
        rois_of(store, plate),
        lambda reader, rows: reader.batch(rows, ("foreground",)) + annotated_in(reader, rows),
        leaves_out_ignored=True,
    )
    training = MapTraining(network, "binary_crossentropy")  # type: ignore[arg-type]
    (store / f"checkpoint_{plate}").mkdir()
    loop = Training(training, rois, SETTINGS, store / f"checkpoint_{plate}")
    loop.run(lambda cycle: None)
    network.model.load_weights(loop.best_weights)
    image, true_labels = round_nuclei(99, SHAPE, nuclei=24, radius_px=8)
    grey = grey_levels(image, "percentile")[np.newaxis, ..., np.newaxis]
    found, _ = ndimage.label(network(grey, training=False).numpy()[0, ..., 0] > 0.5)
    counts = count(score_instances(true_labels, found), [0.7])
    return float(f1_score(counts.tp, counts.fp, counts.fn)[0])


@pytest.mark.slow
def test_a_few_annotated_nuclei_train_better_when_the_rest_is_not_taken_for_background(store: Path) -> None:
    in_part, as_if_whole = (f1_after_training(store, plate) for plate in ("in_part", "as_if_whole"))
    assert in_part > 0.7
    assert in_part > as_if_whole + 0.3


def test_a_method_that_cannot_leave_anything_out_is_refused_such_rois(store: Path) -> None:
    with pytest.raises(InputError, match=r"annotated in part, and this method can't leave out the rest"):
        RoiBatches(rois_of(store, "in_part"), lambda reader, rows: reader.batch(rows, ("foreground",)))
