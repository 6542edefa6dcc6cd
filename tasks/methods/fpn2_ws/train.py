"""Train a network of FPN2-WS for one target, or one network for both."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic

from tasks.methods.fpn2_ws.decoders import DEFAULT_FILTERS, NUMBERS_OF_FILTERS, Decoder, recorded_filters
from tasks.methods.fpn2_ws.method import METHOD
from tasks.methods.shared.roi_batches import annotated_in
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
    from tasks.methods.fpn2_ws.network import MapNetwork
    from tasks.methods.shared.devices import Precision
    from tasks.methods.shared.training import Stage
    from tasks.nuclei.view import View

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


OUTLINE_PX = 5
"""Width of the band along outlines that counts more in the loss."""


class Params(NetworkTrainingParams):
    target: Literal["distance_map", "blurred_border", "both", "all"]
    """What the network predicts; "both" are these two, "all" these and the foreground."""
    encoder: Encoder = pydantic.Field("inceptionresnetv2", title="Encoder")
    """Any encoder of segmentation-models. The paper's is inceptionresnetv2; mobilenetv2 is the fastest."""
    decoder: Decoder = pydantic.Field("fpn", title="Decoder")
    """What makes maps of the encoder's features. "fpn" is the paper's: it decides at half the resolution and enlarges
    twice. "unet" decides at the full resolution."""
    decoder_filters: tuple[Annotated[int, pydantic.Field(ge=8, le=1024, multiple_of=8)], ...] = (256,)
    """Channels of the decoder: one number for "fpn"; for "unet" five, from the deepest stage to the full resolution.
    Those that aren't given are 256, or 64 with the preset "laptop"; for "unet" 96, 64, 48, 32, 16."""
    initialisation: Initialisation = "imagenet"
    cycles: Cycles = 25
    warmup_cycles: int = pydantic.Field(2, ge=0, le=10_000)
    """The encoder's pretrained weights are frozen in the first cycles, in which the decoder learns alone. Random ones
    aren't worth keeping: with these it is 0, and nothing else is allowed."""
    batch_size: BatchSize = 16
    learning_rate: LearningRate = 1e-3
    optimiser: Optimiser = "adam"
    loss: Literal["mse", "mae", "binary_crossentropy"] = "mse"
    """The paper's "mse" hardly sees errors in the low values along a nucleus's outline; cross-entropy does."""
    outline_weight: float = pydantic.Field(0.0, ge=0, le=100)
    """How many times more the pixels along outlines count in the loss than others; 0 in the paper. Without effect on a
    network of the distance map alone, which is shown no outlines."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        return _with_filters(filled_in(_in_todays_words(values), METHOD, "imagenet"))

    @pydantic.field_validator("decoder_filters")
    @classmethod
    def _filters_are_the_decoder_s(cls, filters: tuple[int, ...], given: pydantic.ValidationInfo) -> tuple[int, ...]:
        decoder: Decoder | None = given.data.get("decoder")
        if decoder and len(filters) != NUMBERS_OF_FILTERS[decoder]:
            raise ValueError(
                'the decoder "fpn" takes one number, "unet" five, from the deepest stage to the full resolution; '
                f'give those of "{decoder}", or none for the usual ones'
            )
        return filters

    @pydantic.model_validator(mode="after")
    def _fits_its_initial_weights(self) -> Params:
        frozen = f"warmup_cycles={self.warmup_cycles}" if self.warmup_cycles else None
        refuse_what_cannot_learn(METHOD, self.initialisation, self.cycles, frozen=frozen)
        refuse_another_network(METHOD, self)
        return self

    @property
    def targets(self) -> tuple[Target, ...]:
        if self.target == "all":
            return (*TARGETS, "foreground")
        return TARGETS if self.target == "both" else (self.target,)


def _in_todays_words(values: Any) -> Any:
    """Name the decoder of trainings from before there was a choice: they give one number for the FPN's filters."""
    if isinstance(values, dict) and isinstance(values.get("decoder_filters"), int):
        return {"decoder": "fpn", **values, "decoder_filters": recorded_filters(values["decoder_filters"])}
    return values


def _with_filters(values: Any) -> Any:
    """Give the decoder its usual filters where none are given. What isn't even known is left to the validation."""
    if not isinstance(values, dict) or "decoder_filters" in values:
        return values
    usual: Mapping[Any, tuple[int, ...]] = DEFAULT_FILTERS.get(values.get("preset", "paper"), {})
    decoder = str(values.get("decoder", "fpn"))
    return {**values, "decoder_filters": usual[decoder]} if decoder in usual else values


@dataclass
class MapTraining:
    """A network and its loss, for the training loop."""

    network: MapNetwork
    loss_name: str
    outline_weight: float = 0.0

    def __post_init__(self) -> None:
        import tf_keras as keras

        self.model = self.network.model
        self._loss = keras.losses.get(self.loss_name)

    def loss(self, batch: Any, training: bool) -> Any:
        import tensorflow as tf

        from tasks.methods.shared.masked_loss import mean_of_annotated

        images, targets, *annotated = batch
        expected = tf.cast(targets, tf.float32) / 255.0
        loss = self._loss(expected, self.network(images, training=training))
        if self.outline_weight and "blurred_border" in self.network.architecture.targets:
            loss *= 1 + self.outline_weight * self._along_outlines(expected)
        return mean_of_annotated(loss, *annotated)

    def _along_outlines(self, targets: Any) -> Any:
        """Give 1 on straight outlines, 0 from 5 px away; (b, y, x) of targets (b, y, x, t)."""
        import tensorflow as tf

        border = targets[..., self.network.architecture.targets.index("blurred_border"), tf.newaxis]
        # Across a straight outline, one pixel wide before its blur, the border adds up to 1.
        return OUTLINE_PX * tf.nn.avg_pool2d(border, OUTLINE_PX, 1, "SAME")[..., 0]

    def frozen_layers(self) -> list[Any]:
        return self.network.encoder_layers()


def build(params: Params, precision: Precision, view: View) -> MapNetwork:
    """Build the network, its encoder with weights from ImageNet if these are asked for."""
    from tasks.methods.fpn2_ws import network
    from tasks.methods.fpn2_ws.imagenet import imagenet_file

    architecture = network.Architecture(
        params.encoder, params.targets, params.decoder, params.decoder_filters, precision, **asdict(view)
    )
    if params.initialisation != "imagenet":
        return network.MapNetwork(architecture)
    return network.MapNetwork(architecture, imagenet_file(params))


def stages(params: Params) -> tuple[Stage, ...]:
    """The decoder learns alone in the warm-up, if there is one, then all layers."""
    from tasks.methods.shared.training import Stage

    warmup = (Stage(params.warmup_cycles / params.cycles, is_frozen=True),) if params.warmup_cycles else ()
    return (*warmup, Stage(1.0))


TASK = training_task(
    METHOD,
    version=3,
    params_type=Params,
    differences=Differences(
        build=build,
        trainable=lambda params, network: MapTraining(network, params.loss, params.outline_weight),
        batch=lambda params: lambda reader, rows: reader.batch(rows, params.targets) + annotated_in(reader, rows),
        stages=stages,
        part=lambda params: params.target,
        leaves_out_ignored=True,
    ),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
