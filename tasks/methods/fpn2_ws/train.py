"""Train a feature pyramid network of FPN2-WS for one target, or one network for both."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pydantic

from tasks.methods.fpn2_ws.method import METHOD
from tasks.methods.shared.initial_weights import weights_folder
from tasks.methods.shared.training_params import (
    BatchSize,
    Cycles,
    Initialisation,
    LearningRate,
    NetworkTrainingParams,
    Optimiser,
    filled_in,
    refuse_another_network,
    refuse_what_cannot_learn,
)
from tasks.methods.shared.training_task import Differences, training_task
from tasks.nuclei.targets import TARGETS, Target

if TYPE_CHECKING:
    from tasks.methods.fpn2_ws.network import Fpn
    from tasks.methods.shared.devices import Precision
    from tasks.methods.shared.training import Stage
    from tasks.nuclei.intensity import Scaling

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


class Params(NetworkTrainingParams):
    target: Literal["distance_map", "blurred_border", "both"]
    """What the network predicts."""
    encoder: Encoder = pydantic.Field("inceptionresnetv2", title="Encoder")
    """Any encoder of segmentation-models. The paper's is inceptionresnetv2; mobilenetv2 is the fastest."""
    decoder_filters: int = pydantic.Field(256, ge=8, le=1024, multiple_of=8)
    """Channels of the pyramid."""
    initialisation: Initialisation = "imagenet"
    cycles: Cycles = 25
    warmup_cycles: int = pydantic.Field(2, ge=0, le=10_000)
    """The encoder is frozen in the first cycles; 0 with random weights."""
    batch_size: BatchSize = 16
    learning_rate: LearningRate = 1e-3
    optimiser: Optimiser = "adam"
    loss: Literal["mse", "mae", "binary_crossentropy"] = "mse"
    """The paper's "mse" hardly sees errors in the low values along a nucleus's outline; cross-entropy does."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        return filled_in(values, METHOD, "imagenet")

    @pydantic.model_validator(mode="after")
    def _fits_its_initial_weights(self) -> Params:
        refuse_what_cannot_learn(METHOD, self.initialisation, self.cycles)
        refuse_another_network(METHOD, self)
        return self

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


def build(params: Params, precision: Precision, zoom: float, scaling: Scaling) -> Fpn:
    """Build the network, its encoder with weights from ImageNet if these are asked for."""
    from tasks.methods.fpn2_ws import network

    architecture = network.Architecture(
        params.encoder, params.targets, params.decoder_filters, precision, zoom, scaling=scaling
    )
    if params.initialisation != "imagenet":
        return network.Fpn(architecture)
    return network.Fpn(architecture, network.imagenet_weights(params.encoder, weights_folder()))


def stages(params: Params) -> tuple[Stage, ...]:
    """The decoder learns alone first, then all layers."""
    from tasks.methods.shared.training import Stage

    return (Stage(params.warmup_cycles / params.cycles, is_frozen=True), Stage(1.0))


TASK = training_task(
    METHOD,
    version=2,
    params_type=Params,
    differences=Differences(
        build=build,
        trainable=lambda params, network: FpnTraining(network, params.loss),
        batch=lambda params: lambda reader, rows: reader.batch(rows, params.targets),
        stages=stages,
        part=lambda params: params.target,
    ),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
