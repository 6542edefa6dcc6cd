"""Train a feature pyramid network of FPN2-WS for one target, or one network for both."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from tasks import tracking
from tasks.contract import Outcome, Result, Task, TaskParams, Workspace
from tasks.nuclei.errors import InputError
from tasks.nuclei.files import written_whole
from tasks.nuclei.roi_file import RoiReader
from tasks.nuclei.targets import TARGETS, Target

if TYPE_CHECKING:
    from tasks.nuclei.models.fpn import Fpn, Precision
    from tasks.nuclei.models.training import Batch, Cycle

log = logging.getLogger("nucleus")

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    # What reached the highest F1 for CPU minutes on two cores; see "Measured" in README.md.
    "laptop": {
        "encoder": "mobilenetv2",
        "decoder_filters": 64,
        "initialisation": "random",
        "precision": "bfloat16",
        "cycles": 4,
        "warmup_cycles": 0,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "schedule": "cosine",
        "loss": "binary_crossentropy",
    },
}


Encoder = Literal[
    "densenet121",
    "densenet169",
    "densenet201",
    "efficientnetb0",
    "efficientnetb1",
    "efficientnetb2",
    "efficientnetb3",
    "efficientnetb4",
    "efficientnetb5",
    "efficientnetb6",
    "efficientnetb7",
    "inceptionresnetv2",
    "inceptionv3",
    "mobilenet",
    "mobilenetv2",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50",
    "resnext101",
    "senet154",
    "seresnet18",
    "seresnet34",
    "seresnet50",
    "seresnet101",
    "seresnet152",
    "seresnext50",
    "seresnext101",
    "vgg16",
    "vgg19",
]


class Params(TaskParams):
    rois: str
    """ROI file: output of `augment`."""
    target: Literal["distance_map", "blurred_border", "both"]
    """What the network predicts."""
    preset: Literal["paper", "laptop"] = "paper"
    """Values of the fields that aren't given: the paper's, or those for minutes on a CPU."""
    encoder: Encoder = "inceptionresnetv2"
    """Any encoder of segmentation-models."""
    decoder_filters: int = pydantic.Field(256, ge=8, le=1024, multiple_of=8)
    """Channels of the pyramid."""
    initialisation: str = "imagenet"
    """"imagenet", "random", or an earlier network: an output of this task."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the layers; weights, output and loss are always float32. "auto": bfloat16 on GPUs that have it (NVIDIA's
    since Ampere), else float32; network.json and result.json say which it was."""
    cycles: int = pydantic.Field(25, ge=1, le=10_000)
    """Passes over the training ROIs."""
    warmup_cycles: int = pydantic.Field(2, ge=0, le=10_000)
    """First cycles with a frozen encoder; not used with random weights."""
    batch_size: int = pydantic.Field(16, ge=1, le=1024)
    """ROIs of one step. Several GPUs share them, so each needs at least one."""
    learning_rate: float = pydantic.Field(1e-3, gt=0, le=1)
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate over the cycles: the paper's constant, or falling to 0 along a cosine."""
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    loss: Literal["mse", "mae", "binary_crossentropy"] = "mse"
    """The paper's "mse" hardly sees errors in the low values along a nucleus's outline; cross-entropy does."""
    random_seed: int = pydantic.Field(0, ge=0, lt=2**31)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("preset", "paper") in PRESETS:
            return {**PRESETS[values.get("preset", "paper")], **values}
        return values

    @property
    def targets(self) -> tuple[Target, ...]:
        return TARGETS if self.target == "both" else (self.target,)


@dataclass
class FpnTraining:
    """A network and its loss, for the training loop."""

    network: Fpn
    loss_name: str

    def __post_init__(self) -> None:
        import tf_keras as keras

        self.model = self.network.model
        self._loss = keras.losses.get(self.loss_name)

    def loss(self, batch: Any, training: bool) -> Any:
        import tensorflow as tf

        images, targets = batch
        expected = tf.cast(targets, tf.float32) / 255.0
        return tf.reduce_mean(self._loss(expected, self.network(images, training=training)))

    def frozen_layers(self) -> list[Any]:
        return self.network.encoder_layers()


class RoiBatches:
    """ROIs of a file with the targets of this training."""

    def __init__(self, path: Path, targets: tuple[Target, ...]) -> None:
        self._reader, self._targets = RoiReader(path), targets
        self.zoom = self._reader.zoom
        self.training_rows: NDArray[np.integer] = self._reader.training_rows
        self.validation_rows: NDArray[np.integer] = self._reader.validation_rows

    def batch(self, rows: list[int]) -> Batch:
        return self._reader.batch(rows, self._targets)


def run(params: Params, workspace: Workspace) -> Outcome:
    from tasks.nuclei.models import devices

    devices.make_repeatable()
    from tasks.nuclei.models import training

    rois = RoiBatches(workspace.input(params.rois), params.targets)
    settings = training.TrainingSettings(
        **{name: getattr(params, name) for name in training.TrainingSettings.__dataclass_fields__}
    )
    strategy = devices.training_strategy()
    with strategy.scope():
        network = build_network(params, rois.zoom, workspace)
        loop = training.Training(FpnTraining(network, params.loss), rois, settings, workspace.checkpoint_dir)
    machine = {
        "gpus": ", ".join(devices.gpu_names()) or "none",
        "replicas": str(strategy.num_replicas_in_sync),
        "precision": network.architecture.precision,
    }
    log.info("GPUs: %s; precision: %s", machine["gpus"], machine["precision"])
    tracked = tracking.Run()
    with tracked.system_metrics(params.target):
        history = loop.run(partial(_log_cycle, params, tracked))
    network.load_weights(loop.best_weights)
    network.save(workspace.output_dir)
    (workspace.output_dir / "history.json").write_text(json.dumps([asdict(cycle) for cycle in history], indent=1))
    best = min(history, key=lambda cycle: cycle.validation_loss)
    metrics = {
        "validation_loss": best.validation_loss,
        "training_seconds": sum(cycle.seconds for cycle in history),
        "training_cpu_seconds": sum(cycle.cpu_seconds for cycle in history),
    }
    counts = {"best_cycle": best.cycle, "weights": network.model.count_params()}
    return Outcome({"network": "."}, metrics, counts, machine)


def build_network(params: Params, zoom: float, workspace: Workspace) -> Fpn:
    """Build the network and give it its first weights."""
    import tf_keras as keras

    from tasks.nuclei.models import fpn

    keras.utils.set_random_seed(params.random_seed)
    precision = _precision(params, workspace.checkpoint_dir)
    architecture = fpn.Architecture(params.encoder, params.targets, params.decoder_filters, precision, zoom)
    if params.initialisation == "imagenet":
        folder = os.environ.get("NUCLEUS_WEIGHTS")
        weights = fpn.imagenet_weights(params.encoder, Path(folder) if folder else None)
        return fpn.Fpn(architecture, weights)
    network = fpn.Fpn(architecture)
    if params.initialisation != "random":
        weights = workspace.store / params.initialisation / "weights.h5"
        if not weights.exists():
            raise InputError(
                f"initialisation: {params.initialisation!r} is no network of the store; "
                'give "imagenet", "random" or an output of train_fpn.'
            )
        network.load_weights(weights)
    return network


def _precision(params: Params, checkpoint_dir: Path) -> Precision:
    """Give the precision asked for; of "auto", that of the first attempt, whose machine may have had another GPU."""
    from tasks.nuclei.models import devices

    if params.precision != "auto":
        return params.precision
    chosen = checkpoint_dir / "precision.json"
    if not chosen.exists():
        with written_whole(chosen) as beside:
            beside.write_text(json.dumps(devices.fastest_precision()))
    precision: Precision = json.loads(chosen.read_text())
    return precision


def _log_cycle(params: Params, run: tracking.Run, cycle: Cycle) -> None:
    """Show a cycle in MLflow while the training runs. A server that is away doesn't stop it: see `publish`."""
    try:
        run.log_points(_points(params.target, asdict(cycle)))
    except tracking.TrackingError as error:
        log.warning("cycle %d is logged at the end of the training: %s", cycle.cycle, error)


def _points(target: str, cycle: dict[str, Any]) -> list[tracking.Point]:
    return [
        tracking.Point(f"{target}/{name}", value, cycle["cycle"]) for name, value in cycle.items() if name != "cycle"
    ]


def publish(params: Params, result: Result, store: Path) -> None:
    run = tracking.Run()
    run.log_params(params.model_dump(exclude={"target"}) | result.machine, f"train_fpn.{params.target}")
    history = json.loads((store / result.outputs["network"] / "history.json").read_text())
    run.log_points([point for cycle in history for point in _points(params.target, cycle)])


TASK = Task(name="train_fpn", version=2, params_type=Params, run=run, publish=publish)

if __name__ == "__main__":
    sys.exit(TASK.main())
