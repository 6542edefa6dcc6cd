"""Train a feature pyramid network of FPN2-WS for one target, or one network for both."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from tasks.contract import Outcome, Result, Task, TaskParams, Workspace
from tasks.methods.shared.training_task import (
    RoiBatches,
    chosen_precision,
    earlier_weights,
    filled_from_preset,
    publish_training,
    train,
)
from tasks.nuclei.targets import TARGETS, Target

if TYPE_CHECKING:
    from tasks.methods.fpn2_ws.network import Fpn

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
        return filled_from_preset(values, PRESETS)

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


def run(params: Params, workspace: Workspace) -> Outcome:
    from tasks.methods.shared import devices

    devices.make_repeatable()
    from tasks.methods.shared.training import Stage, TrainingSettings

    rois = RoiBatches(workspace.input(params.rois), lambda reader, rows: reader.batch(rows, params.targets))
    settings = TrainingSettings(
        cycles=params.cycles,
        stages=(Stage(params.warmup_cycles / params.cycles, is_frozen=True), Stage(1.0)),
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        optimiser=params.optimiser,
        schedule=params.schedule,
        random_seed=params.random_seed,
    )
    return train(
        lambda: FpnTraining(build_network(params, rois.zoom, workspace), params.loss),
        rois,
        settings,
        params.target,
        workspace,
    )


def build_network(params: Params, zoom: float, workspace: Workspace) -> Fpn:
    """Build the network and give it its first weights."""
    import tf_keras as keras

    from tasks.methods.fpn2_ws import network as fpn

    keras.utils.set_random_seed(params.random_seed)
    precision = chosen_precision(params.precision, workspace.checkpoint_dir)
    architecture = fpn.Architecture(params.encoder, params.targets, params.decoder_filters, precision, zoom)
    if params.initialisation == "imagenet":
        folder = os.environ.get("NUCLEUS_WEIGHTS")
        weights = fpn.imagenet_weights(params.encoder, Path(folder) if folder else None)
        return fpn.Fpn(architecture, weights)
    network = fpn.Fpn(architecture)
    if params.initialisation != "random":
        network.load_weights(earlier_weights(params.initialisation, '"imagenet", "random"', "train_fpn", workspace))
    return network


def publish(params: Params, result: Result, store: Path) -> None:
    publish_training(params.model_dump(exclude={"target"}), "train_fpn", params.target, result, store)


TASK = Task(name="train_fpn", version=2, params_type=Params, run=run, publish=publish)

if __name__ == "__main__":
    sys.exit(TASK.main())
