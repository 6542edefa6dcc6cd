"""Train Jacobkie on the ROIs that FPN2-WS is trained on, or take its pretrained weights as they are."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic

from tasks.methods.jacobkie.method import METHOD
from tasks.methods.jacobkie.positions import position_maps
from tasks.methods.shared.roi_batches import annotated_in
from tasks.methods.shared.training_params import (
    BatchNormLearns,
    BatchSize,
    Cycles,
    Initialisation,
    LearningRate,
    NetworkTrainingParams,
    Optimiser,
    filled_in,
    refuse_what_cannot_learn,
)
from tasks.methods.shared.training_task import Differences, training_task
from tasks.nuclei.ignored import uncertain_nuclei
from tasks.nuclei.roi_file import RoiReader

if TYPE_CHECKING:
    from tasks.methods.jacobkie.network import Jacobkie
    from tasks.methods.shared.devices import Precision
    from tasks.methods.shared.training import Batch, Stage
    from tasks.nuclei.view import View


class Params(NetworkTrainingParams):
    depth: Literal[50, 101] = 101
    """Layers of the residual network."""
    filters: int = pydantic.Field(256, ge=8, le=1024)
    """Channels of the pyramid and of what stands on it."""
    magnification: Literal[1, 2, 4] = 4
    """How much the image is magnified for the network, whose maps have a quarter of that resolution."""
    zooms: tuple[float, ...] = pydantic.Field((0.25, 0.5, 1.0, 2.0), min_length=1, max_length=8)
    """A field is segmented in each of these zooms, 1/8 to 8. More zooms find nuclei of more sizes and take more
    time."""
    initialisation: Initialisation = "pretrained"
    cycles: Cycles = 0
    batch_size: BatchSize = 4
    learning_rate: LearningRate = 1e-2
    optimiser: Optimiser = "momentum"
    batch_norm_learns: BatchNormLearns = False

    @pydantic.model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        return filled_in(values, METHOD, "pretrained")

    @pydantic.field_validator("zooms")
    @classmethod
    def _zooms_are_possible(cls, zooms: tuple[float, ...]) -> tuple[float, ...]:
        if wrong := [zoom for zoom in zooms if not 1 / 8 <= zoom <= 8]:
            raise ValueError(f"{', '.join(map(str, wrong))}: a zoom is between 0.125 and 8")
        return zooms

    @pydantic.model_validator(mode="after")
    def _can_learn(self) -> Params:
        refuse_what_cannot_learn(METHOD, self.initialisation, self.cycles, self.batch_norm_learns)
        return self


@dataclass
class JacobkieTraining:
    """A network and how it is trained, for the training loop."""

    network: Jacobkie
    batch_norm_learns: bool

    def __post_init__(self) -> None:
        self.model = self.network.model

    def loss(self, batch: Any, training: bool) -> Any:
        return self.network.loss(batch, training and self.batch_norm_learns)

    def frozen_layers(self) -> list[Any]:
        return self.network.extractor_layers()


def positioned_batch(reader: RoiReader, rows: list[int]) -> Batch:
    """Images (b, y, x), 0 to 255, and positions (b, y, x, 8) float32, NaN in the background.

    Where not all is annotated, then which pixels count, (b, y, x) bool. Those of nuclei that are cut don't: where in
    its nucleus a pixel lies isn't known.
    """
    images = np.stack([reader.image(row) for row in rows])
    label_images = [reader.label_image(row) for row in rows]
    positions = [np.where(labels[..., np.newaxis] > 0, position_maps(labels), np.nan) for labels in label_images]
    positioned = images, np.stack(positions).astype(np.float32)
    if not reader.has_ignored:
        return positioned
    certain = [
        ~uncertain_nuclei(labels, reader.ignored(row))[labels] for labels, row in zip(label_images, rows, strict=True)
    ]
    (annotated,) = annotated_in(reader, rows)
    return *positioned, annotated & np.stack(certain)


def stages(params: Params) -> tuple[Stage, ...]:
    """All layers learn throughout."""
    from tasks.methods.shared.training import Stage

    return (Stage(1.0),)


def build(params: Params, precision: Precision, view: View) -> Jacobkie:
    """Build the network."""
    from tasks.methods.jacobkie.network import Architecture, Jacobkie

    shape = (params.depth, params.filters, params.magnification)
    return Jacobkie(Architecture(*shape, precision, params.zooms, **asdict(view)))


TASK = training_task(
    METHOD,
    version=2,
    params_type=Params,
    differences=Differences(
        build=build,
        trainable=lambda params, network: JacobkieTraining(network, params.batch_norm_learns),
        batch=lambda _: positioned_batch,
        stages=stages,
        part=lambda _: METHOD.name,
        clip_norm=5.0,
        leaves_out_ignored=True,
    ),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
