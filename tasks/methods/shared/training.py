"""The training loop of every network: cycles, checkpoints, best weights, resuming.

A cycle is one pass over the training ROIs. After every cycle the whole state is saved, and a cycle's
order of ROIs depends on the seed and the cycle alone. So a training that was stopped anywhere resumes
at its last whole cycle, and sees the same ROIs as one that was never stopped. Its weights are the same as far
as `devices.make_repeatable` goes; on GPUs only nearly, because gradients are summed there in no fixed order.

The loop trains on the replicas of the strategy in whose scope it is made. They share every batch; loss
and gradients are those of the whole batch. Batch normalisation takes the statistics of a replica's
part of the batch, so a network that has it trains somewhat differently on several GPUs.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from tasks.files import flush_all, held_together, of_earlier_try, read_json, written_whole
from tasks.methods.shared.averaged_weights import AveragedWeights
from tasks.methods.shared.optimisers import Optimisers
from tasks.methods.shared.weights_file import read_weights
from tasks.nuclei.errors import InputError

OptimiserName = Literal["adam", "adamw", "sgd", "momentum"]
Schedule = Literal["constant", "cosine"]
Batch = tuple[NDArray[Any], ...]
"""Arrays of the same length, images first."""

PROGRESS_EVERY_S = 15.0
BATCHES_READ_AHEAD = 4
MOMENTUM = 0.9
CHECKPOINTS_KEPT = 2
"""TensorFlow removes an earlier one before the new one is on the disk."""

log = logging.getLogger("nucleus")


class Trainable(Protocol):
    """What the loop needs of a network."""

    model: Any
    """The Keras model."""

    def loss(self, batch: Any, training: bool) -> Any:
        """Mean loss of a batch; a scalar tensor."""

    def frozen_layers(self) -> list[Any]:
        """Layers that don't learn in stages that freeze them."""


class Rois(Protocol):
    """Where the ROIs come from."""

    training_rows: NDArray[np.integer]
    validation_rows: NDArray[np.integer]

    def batch(self, rows: list[int]) -> Batch:
        """ROIs of the given rows."""


@dataclass(frozen=True)
class Stage:
    """A part of a training."""

    until: float
    """Share of the whole training at which it ends; the last one's is 1."""
    is_frozen: bool = False
    """Whether the network's frozen layers don't learn."""
    rate: float = 1.0
    """Factor of the learning rate."""


@dataclass(frozen=True)
class TrainingSettings:
    cycles: int
    stages: tuple[Stage, ...]
    batch_size: int
    """ROIs of a step on all replicas together."""
    learning_rate: float
    optimiser: OptimiserName
    schedule: Schedule
    """"constant" as in the paper, or "cosine": from the learning rate down to 0 over all cycles."""
    random_seed: int
    clip_norm: float | None = None
    """Longer gradients of a variable are shortened to this."""
    averaging: float = 0.0
    """Momentum of the mean of the weights over the steps, which is validated and kept; 0 for the last weights."""


@dataclass(frozen=True)
class Cycle:
    """What is known of a cycle when it is over."""

    cycle: int
    """Counted from 1."""
    loss: float
    validation_loss: float
    seconds: float
    cpu_seconds: float
    rois_per_second: float


class Training:
    """One training, new or resumed from `checkpoint_dir`."""

    def __init__(self, network: Trainable, rois: Rois, settings: TrainingSettings, checkpoint_dir: Path) -> None:
        self._network, self._rois, self._settings = network, rois, settings
        self._strategy = tf.distribute.get_strategy()
        if settings.batch_size < self._strategy.num_replicas_in_sync:
            raise InputError(
                f"batch_size is {settings.batch_size}, too small to be shared by "
                f"{self._strategy.num_replicas_in_sync} GPUs; give at least as many as GPUs, or fewer GPUs."
            )
        self._evaluate = tf.function(
            lambda batch: self._sum_over_replicas(lambda: self._loss_of_part(batch, training=False)),
            reduce_retracing=True,
        )
        self._optimisers = Optimisers(partial(_optimiser, settings), *self._always_and_later())
        self._averaged = AveragedWeights(network.model, settings.averaging, self._optimisers.steps)
        checkpoint = tf.train.Checkpoint(
            model=network.model, averages=self._averaged.averages, **self._optimisers.state
        )
        self._folder = checkpoint_dir
        _forget_damaged_list(checkpoint_dir)
        self._checkpoints = tf.train.CheckpointManager(checkpoint, checkpoint_dir, CHECKPOINTS_KEPT)
        self.best_weights = checkpoint_dir / "best.h5"
        self._history_file = checkpoint_dir / "history.json"
        self._steps: dict[bool, Callable[[Any], Any]] = {}
        self.history = self._restore(checkpoint)

    def run(self, on_cycle: Callable[[Cycle], None]) -> list[Cycle]:
        """Train to the last cycle; `on_cycle` gets every cycle, also those of an earlier attempt."""
        for done in self.history:
            on_cycle(done)
        while len(self.history) < self._settings.cycles:
            on_cycle(self._run_cycle(len(self.history) + 1))
        return self.history

    def _always_and_later(self) -> tuple[list[Any], list[Any]]:
        """Give the variables that learn in every stage, and those that some stage freezes."""
        freezes = any(stage.is_frozen for stage in self._settings.stages)
        layers = self._network.frozen_layers() if freezes else []
        frozen = {id(variable) for layer in layers for variable in layer.trainable_variables}
        always: list[Any] = []
        later: list[Any] = []
        for variable in self._network.model.trainable_variables:
            (later if id(variable) in frozen else always).append(variable)
        return always, later

    def _restore(self, checkpoint: Any) -> list[Cycle]:
        """Take up the last cycle of an earlier try whose state is whole; gives the cycles up to it."""
        history = of_earlier_try(self._history_file, _read_history)
        numbers = sorted((int(path.stem.rsplit("-", 1)[1]) for path in self._folder.glob("ckpt-*.index")), reverse=True)
        if not numbers or history is None or of_earlier_try(self.best_weights, read_weights) is None:
            return []
        for done in (number for number in numbers if number <= len(history)):
            if of_earlier_try(self._folder / f"ckpt-{done}.index", _read_all) is not None:
                checkpoint.restore(str(self._folder / f"ckpt-{done}")).assert_consumed()
                log.info("resuming after cycle %d of an earlier attempt", done)
                return history[:done]
        return []

    def _run_cycle(self, number: int) -> Cycle:
        started, cpu_started = time.monotonic(), time.process_time()
        keras.utils.set_random_seed(_seed_of_cycle(self._settings.random_seed, number))
        if _has_dropout(self._network.model):
            # It keeps a random state inside its trace: a resumed training would continue with other random numbers.
            self._steps.clear()
        loss = self._train(number)
        self._unite_replicas()
        seconds = time.monotonic() - started
        validation_loss = self._validate(number)
        cycle = Cycle(
            number,
            loss,
            validation_loss,
            round(time.monotonic() - started, 2),
            round(time.process_time() - cpu_started, 2),
            round(len(self._rois.training_rows) / seconds, 2),
        )
        with held_together():
            self._save(cycle)
        log.info(
            "cycle %d of %d: loss %.5f, validation loss %.5f, %.0f s, %.1f ROIs/s",
            *(number, self._settings.cycles, loss, validation_loss, cycle.seconds, cycle.rois_per_second),
        )
        return cycle

    def _train(self, number: int) -> float:
        order = np.random.default_rng([self._settings.random_seed, number]).permutation(self._rois.training_rows)
        steps = math.ceil(len(order) / self._settings.batch_size)
        total, reported = tf.Variable(0.0), time.monotonic()
        for i, (batch, size) in enumerate(self._batches(order)):
            progress = ((number - 1) * steps + i) / (self._settings.cycles * steps)
            stage = next(stage for stage in self._settings.stages if progress < stage.until)
            self._optimisers.set_learning_rate(self._learning_rate(progress) * stage.rate)
            total.assign_add(self._step_function(stage.is_frozen)(batch) * size)
            if time.monotonic() - reported > PROGRESS_EVERY_S:
                reported, done = time.monotonic(), (i + 1) * self._settings.batch_size
                mean = _finite(total.numpy() / done, number)
                log.info(
                    "cycle %d of %d: %d of %d ROIs, loss %.5f", number, self._settings.cycles, done, len(order), mean
                )
        return _finite(total.numpy() / len(order), number)

    def _validate(self, number: int) -> float:
        """Mean loss over the validation ROIs in inference mode."""
        total = 0.0
        with self._averaged.in_force():
            for batch, size in self._batches(self._rois.validation_rows):
                total += float(self._evaluate(batch)) * size
        return _finite(total / len(self._rois.validation_rows), number)

    def _step_function(self, is_frozen: bool) -> Callable[[Any], Any]:
        """Give the traced step, traced once."""
        if is_frozen not in self._steps:
            self._steps[is_frozen] = self._new_step_function(is_frozen)
        return self._steps[is_frozen]

    def _new_step_function(self, is_frozen: bool) -> Callable[[Any], Any]:
        for layer in self._network.frozen_layers():
            layer.trainable = not is_frozen
        variables = self._network.model.trainable_variables

        def learn(batch: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = self._loss_of_part(batch, training=True)
            gradients = tape.gradient(loss, variables)
            self._optimisers.apply(gradients, variables)
            return loss

        def step(batch: Any) -> Any:
            loss = self._sum_over_replicas(lambda: learn(batch))
            self._averaged.update()
            return loss

        traced: Callable[[Any], Any] = tf.function(step, reduce_retracing=True)
        return traced

    def _loss_of_part(self, batch: Any, training: bool) -> Any:
        """What this replica's ROIs add to the mean loss of the batch; a scalar tensor."""
        part, share = _part_of_this_replica(batch)
        return share * self._network.loss(part, training)

    def _sum_over_replicas(self, on_replica: Callable[[], Any]) -> Any:
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, self._strategy.run(on_replica), axis=None)

    def _unite_replicas(self) -> None:
        """Give all replicas the mean of their moving averages, which is what is saved."""
        for variable in self._network.model.non_trainable_variables:
            variable.assign(tf.identity(variable))
        self._averaged.unite_replicas()

    def _batches(self, rows: NDArray[np.integer]) -> Iterator[tuple[Any, int]]:
        """Batches in the order of `rows`, read ahead in another thread, each with its size."""
        size = self._settings.batch_size
        example = self._rois.batch(rows[:1].tolist())
        signature = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in example)

        def read() -> Iterator[Batch]:
            for first in range(0, len(rows), size):
                yield self._rois.batch(rows[first : first + size].tolist())

        for batch in tf.data.Dataset.from_generator(read, output_signature=signature).prefetch(BATCHES_READ_AHEAD):
            yield batch, len(batch[0])

    def _learning_rate(self, progress: float) -> float:
        if self._settings.schedule == "constant":
            return self._settings.learning_rate
        return self._settings.learning_rate * (1 + math.cos(math.pi * progress)) / 2

    def _save(self, cycle: Cycle) -> None:
        """Keep the best weights, then the state of this cycle; stopped in between, the cycle is done again."""
        if all(cycle.validation_loss < earlier.validation_loss for earlier in self.history):
            with self._averaged.in_force(), written_whole(self.best_weights) as beside:
                self._network.model.save_weights(beside)
        self.history.append(cycle)
        with written_whole(self._history_file) as beside:
            beside.write_text(json.dumps([asdict(done) for done in self.history]))
        try:
            self._checkpoints.save(checkpoint_number=cycle.cycle)
        except tf.errors.ResourceExhaustedError as error:
            raise OSError(errno.ENOSPC, f"no space for the checkpoint: {error.message}") from None
        flush_all(self._folder)


def _forget_damaged_list(folder: Path) -> None:
    """Remove TensorFlow's list of its checkpoints, which it makes again, if it can't be read."""
    path = folder / "checkpoint"
    if of_earlier_try(path, lambda _: tf.train.get_checkpoint_state(folder)) is None:
        path.unlink(missing_ok=True)


def _read_history(path: Path) -> list[Cycle]:
    return [Cycle(**fields) for fields in read_json(path)]


def _read_all(index: Path) -> int:
    """Read all of a checkpoint, which has a check sum for each tensor; gives how many there are."""
    reader = tf.train.load_checkpoint(str(index.with_suffix("")))
    names = reader.get_variable_to_shape_map()
    for name in names:
        reader.get_tensor(name)
    return len(names)


def _part_of_this_replica(batch: Any) -> tuple[Any, Any]:
    """Give every n-th ROI of a batch and their share of it, a scalar float32.

    A replica that is left without a ROI computes one of the others', with a share of 0.
    """
    context = tf.distribute.get_replica_context()
    replica, replicas = context.replica_id_in_sync_group, context.num_replicas_in_sync
    size = tf.shape(batch[0])[0]
    rows = tf.range(replica, tf.maximum(size, replica + 1), replicas) % size
    share = (size - replica + replicas - 1) // replicas / size
    return tuple(tf.gather(values, rows) for values in batch), tf.cast(share, tf.float32)


def _has_dropout(model: Any) -> bool:
    return any(isinstance(layer, keras.layers.Dropout) for layer in model.layers)


def _optimiser(settings: TrainingSettings) -> Any:
    known = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": keras.optimizers.SGD,
        "momentum": partial(keras.optimizers.SGD, momentum=MOMENTUM),
    }
    # On a GPU Keras would have XLA compile every update, which looks for ptxas and libdevice at run time.
    return known[settings.optimiser](settings.learning_rate, clipnorm=settings.clip_norm, jit_compile=False)


def _seed_of_cycle(random_seed: int, cycle: int) -> int:
    return int(np.random.SeedSequence([random_seed, cycle]).generate_state(1)[0])


def _finite(loss: float, cycle: int) -> float:
    if not math.isfinite(loss):
        raise InputError(f"The loss became {loss} in cycle {cycle}; lower learning_rate or use float32.")
    return float(loss)
