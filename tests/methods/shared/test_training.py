"""Training on several replicas: two logical CPUs stand for two GPUs.

TensorFlow splits a CPU only before its first use, so the trainings run in a process of their own.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from tasks.methods.fpn2_ws.network import load_map_network
from tasks.methods.fpn2_ws.train import MapTraining, Params, build
from tasks.methods.shared.roi_batches import RoiBatches
from tasks.methods.shared.training import Batch, Cycle, Stage, Training, TrainingSettings
from tasks.nuclei.errors import InputError
from tasks.nuclei.view import View
from tests.methods.fpn2_ws.test_train import TINY
from tests.rois import make_roi_file

WHOLE = (Stage(1.0),)
UNEVEN_BATCHES = TrainingSettings(
    cycles=3,
    stages=WHOLE,
    batch_size=3,
    learning_rate=0.5,
    optimiser="sgd",
    schedule="cosine",
    random_seed=0,
    averaging=0.9,
)
"""With ten ROIs, two replicas get 2 and 1 of three batches, and 1 and 0 of the last one."""


class SquareRois:
    """Ten ROIs to train on and five for validation: squares of some brightness, to be found in noise."""

    def __init__(self) -> None:
        self.training_rows: NDArray[np.integer] = np.arange(10)
        self.validation_rows: NDArray[np.integer] = np.arange(10, 15)
        rng = np.random.default_rng(0)
        self._targets = np.zeros((15, 16, 16, 1), np.uint8)
        for target in self._targets:
            y, x = rng.integers(0, 8, 2)
            target[y : y + 8, x : x + 8] = 255
        self._images = self._targets // 2 + rng.integers(0, 60, self._targets.shape, np.uint8)

    def batch(self, rows: list[int]) -> Batch:
        return self._images[rows], self._targets[rows]


class SmallNetwork:
    """Two convolutions, with the given layers in between. The first is what stages may freeze."""

    def __init__(self, *layers: str) -> None:
        keras.utils.set_random_seed(0)
        known = {"batch_norm": keras.layers.BatchNormalization(momentum=0.5), "dropout": keras.layers.Dropout(0.5)}
        between = [known[name] for name in layers]
        first = keras.layers.Conv2D(4, 3, padding="same", activation="relu", input_shape=(None, None, 1))
        last = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")
        self.model = keras.Sequential([first, *between, last])

    def loss(self, batch: Any, training: bool) -> Any:
        images, targets = (tf.cast(part, tf.float32) / 255 for part in batch)
        return tf.reduce_mean((self.model(images, training=training) - targets) ** 2)

    def frozen_layers(self) -> list[Any]:
        return self.model.layers[:1]


@dataclass
class Trained:
    history: list[Cycle]
    weights: list[np.ndarray]
    """Those of the last step."""
    best_weights: list[np.ndarray]


class Stopped(Exception):
    pass


@cache
def strategy_of(replicas: int) -> Any:
    """Give one strategy for all trainings of the process: those of several would disturb each other."""
    if replicas == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(replicas)])


def train(
    folder: Path,
    replicas: int,
    *layers: str,
    settings: TrainingSettings = UNEVEN_BATCHES,
    stop_after: int | None = None,
) -> Trained:
    """Train a small network, or resume the training of this folder."""

    def on_cycle(cycle: Cycle) -> None:
        if cycle.cycle == stop_after:
            raise Stopped

    folder.mkdir(exist_ok=True)
    with strategy_of(replicas).scope():
        network = SmallNetwork(*layers)
        loop = Training(network, SquareRois(), settings, folder)
    with suppress(Stopped):
        loop.run(on_cycle)
    weights = network.model.get_weights()
    network.model.load_weights(loop.best_weights)
    return Trained(loop.history, weights, network.model.get_weights())


def initial_weights() -> list[np.ndarray]:
    return list(SmallNetwork().model.get_weights())


def assert_equal(got: Trained, expected: Trained, atol: float = 0.0) -> None:
    for name in ("weights", "best_weights"):
        for one, other in zip(getattr(got, name), getattr(expected, name), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=atol, err_msg=name)


def validation_loss_of_the_best_weights(folder: Path, *layers: str) -> float:
    """Of the saved weights in a network of its own, on one CPU."""
    network, rois = SmallNetwork(*layers), SquareRois()
    network.model.load_weights(folder / "best.h5")
    return float(network.loss(rois.batch(rois.validation_rows.tolist()), training=False))


def train_maps_on_two(folder: Path) -> list[Cycle]:
    """Train a network for nuclei in bfloat16 and save it."""
    with strategy_of(2).scope():
        keras.utils.set_random_seed(0)
        network = build(Params(**TINY), "bfloat16", View(scaling="robust"))
        rois = RoiBatches(
            make_roi_file(folder / "rois.h5"), lambda reader, rows: reader.batch(rows, network.architecture.targets)
        )
        settings = TrainingSettings(2, WHOLE, 4, 3e-3, "adam", "constant", 0)
        loop = Training(MapTraining(network, "mse"), rois, settings, folder)
    history = loop.run(lambda cycle: None)
    network.load_weights(loop.best_weights)
    network.save(folder)
    return history


def _split_the_cpu() -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    tf.config.experimental.enable_op_determinism()


@pytest.fixture(scope="module")
def on_two_cpus() -> Iterator[Callable[..., Any]]:
    """Calls a function in a process with two logical CPUs."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _split_the_cpu) as process:
        yield lambda function, *args, **options: process.submit(function, *args, **options).result(timeout=600)


@pytest.mark.slow
def test_two_replicas_train_as_one_does_also_with_batches_that_cannot_be_halved(on_two_cpus, tmp_path):
    one, two = (on_two_cpus(train, tmp_path / str(replicas), replicas) for replicas in (1, 2))
    for expected, got in zip(one.history, two.history, strict=True):
        assert got.loss == pytest.approx(expected.loss, rel=1e-4)
        assert got.validation_loss == pytest.approx(expected.validation_loss, rel=1e-4)
    assert_equal(two, one, atol=1e-5)
    assert two.history[-1].loss < 0.8 * two.history[0].loss


ONE_STEP_A_CYCLE = replace(UNEVEN_BATCHES, batch_size=10, schedule="constant")


def test_the_best_weights_are_the_mean_over_the_steps_in_which_early_ones_count_less(tmp_path):
    mean = SmallNetwork("batch_norm").model.get_weights()
    for step in (1, 2):
        settings = replace(ONE_STEP_A_CYCLE, cycles=step)
        trained = train(tmp_path / str(step), 1, "batch_norm", settings=settings)
        momentum = (1 + step) / (10 + step)
        pairs = zip(mean, trained.weights, strict=True)
        mean = [momentum * before + (1 - momentum) * last for before, last in pairs]
    assert trained.history[1].validation_loss < trained.history[0].validation_loss
    for got, expected in zip(trained.best_weights, mean, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_a_training_takes_the_same_steps_whether_its_weights_are_averaged_or_not(on_two_cpus, tmp_path):
    averaged = on_two_cpus(train, tmp_path / "averaged", 1, "batch_norm")
    of_last_step = replace(UNEVEN_BATCHES, averaging=0.0)
    plain = on_two_cpus(train, tmp_path / "plain", 1, "batch_norm", settings=of_last_step)
    for one, other in zip(averaged.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    for last, best in zip(plain.weights, plain.best_weights, strict=True):
        np.testing.assert_array_equal(best, last)


class ManyRois(SquareRois):
    def __init__(self, amount: int) -> None:
        super().__init__()
        self.training_rows = np.arange(amount) % 10


def test_the_first_step_of_weights_that_were_frozen_is_as_long_as_the_first_of_a_training(tmp_path):
    """Adam's first step is as long as the learning rate, whatever the gradient."""
    frozen_steps = 1000
    stages = (Stage(frozen_steps / (frozen_steps + 1), is_frozen=True), Stage(1.0))
    settings = TrainingSettings(1, stages, 1, 1e-3, "adam", "constant", 0)
    network = SmallNetwork()
    before = network.model.layers[0].get_weights()
    Training(network, ManyRois(frozen_steps + 1), settings, tmp_path).run(lambda cycle: None)
    for weights, thawed in zip(before, network.model.layers[0].get_weights(), strict=True):
        np.testing.assert_allclose(np.abs(thawed - weights).max(), 1e-3, rtol=0.02)


def test_a_training_that_was_stopped_after_its_weights_were_thawed_ends_with_the_same_weights(on_two_cpus, tmp_path):
    thawed_in_cycle_2 = (Stage(0.5, is_frozen=True), Stage(1.0))
    settings = replace(UNEVEN_BATCHES, stages=thawed_in_cycle_2, optimiser="adam", learning_rate=0.01)
    never_stopped = on_two_cpus(train, tmp_path / "never_stopped", 1, settings=settings)
    on_two_cpus(train, tmp_path / "stopped", 1, settings=settings, stop_after=2)
    resumed = on_two_cpus(train, tmp_path / "stopped", 1, settings=settings)
    assert_equal(resumed, never_stopped)
    initial = on_two_cpus(initial_weights)
    assert all(not np.array_equal(one, other) for one, other in zip(initial, resumed.weights, strict=True))


@pytest.mark.slow
def test_a_training_on_two_replicas_that_was_stopped_ends_with_the_same_weights(on_two_cpus, tmp_path):
    layers = ("batch_norm", "dropout")
    never_stopped = on_two_cpus(train, tmp_path / "never_stopped", 2, *layers)
    stopped = on_two_cpus(train, tmp_path / "stopped", 2, *layers, stop_after=2)
    assert len(stopped.history) == 2
    resumed = on_two_cpus(train, tmp_path / "stopped", 2, *layers)
    assert [cycle.loss for cycle in resumed.history] == [cycle.loss for cycle in never_stopped.history]
    assert_equal(resumed, never_stopped)


def test_a_training_can_be_resumed_on_another_number_of_replicas(on_two_cpus, tmp_path):
    never_stopped = on_two_cpus(train, tmp_path / "never_stopped", 1)
    on_two_cpus(train, tmp_path / "stopped", 2, stop_after=1)
    resumed = on_two_cpus(train, tmp_path / "stopped", 1)
    assert_equal(resumed, never_stopped, atol=1e-5)


def test_the_validation_loss_is_that_of_the_saved_weights_though_replicas_have_batch_norm_of_their_own(
    on_two_cpus, tmp_path
):
    history = on_two_cpus(train, tmp_path, 2, "batch_norm").history
    saved = on_two_cpus(validation_loss_of_the_best_weights, tmp_path, "batch_norm")
    assert saved == pytest.approx(min(cycle.validation_loss for cycle in history), rel=1e-5)


def test_a_batch_that_is_too_small_for_the_gpus_is_refused(on_two_cpus, tmp_path):
    settings = TrainingSettings(1, WHOLE, 1, 0.1, "adam", "constant", 0)
    with pytest.raises(InputError, match="batch_size is 1, too small to be shared by 2 GPUs; give at least"):
        on_two_cpus(train, tmp_path, 2, settings=settings)


@pytest.mark.long
@pytest.mark.slow
def test_a_network_for_nuclei_learns_on_two_replicas_in_bfloat16_and_can_be_used(on_two_cpus, tmp_path):
    history = on_two_cpus(train_maps_on_two, tmp_path)
    assert history[1].loss < history[0].loss
    network = load_map_network(tmp_path)
    rois = RoiBatches(tmp_path / "rois.h5", lambda reader, rows: reader.batch(rows, network.architecture.targets))
    images, targets = rois.batch(rois.validation_rows.tolist())
    error = np.mean((network.predict(images[..., 0]) - targets / 255) ** 2)
    assert error == pytest.approx(min(cycle.validation_loss for cycle in history), rel=0.05)
