"""Train Jacobkie on the ROIs that FPN2-WS is trained on, or take its published weights as they are."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic

from tasks.contract import Outcome, Result, Task, TaskParams, Workspace
from tasks.methods.jacobkie.positions import position_maps
from tasks.methods.shared.training_task import (
    COCO_FILE,
    RoiBatches,
    chosen_precision,
    earlier_weights,
    filled_from_preset,
    kept_untrained,
    publish_training,
    published_file,
    refuse_what_cannot_learn,
    train,
)
from tasks.nuclei.roi_file import RoiReader

if TYPE_CHECKING:
    from tasks.methods.jacobkie.network import Jacobkie
    from tasks.methods.shared.training import Batch

NAME = "jacobkie"
WEIGHTS_FILES = {
    "coco": COCO_FILE,
    "published": (
        "jacobkie_2018dsb.h5",
        "the project jacobkie/2018DSB (what its merge_model_weight.sh makes, renamed)",
    ),
}
"""Weights that were trained elsewhere, with their origin, by the word for them in `initialisation`."""
CLIP_NORM = 5.0

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "laptop": {
        "depth": 50,
        "filters": 64,
        "magnification": 2,
        "zooms": (1.0,),
        "initialisation": "random",
        "precision": "bfloat16",
        "cycles": 4,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "optimiser": "adam",
        "batch_norm_learns": True,
    },
}


class Params(TaskParams):
    rois: str
    """ROI file: output of `augment`."""
    preset: Literal["paper", "laptop"] = "paper"
    """Values of the fields that aren't given: the published weights as they are, or a training on a CPU."""
    depth: Literal[50, 101] = 101
    """Layers of the residual network."""
    filters: int = pydantic.Field(256, ge=8, le=1024)
    """Channels of the pyramid and of what stands on it."""
    magnification: Literal[1, 2, 4] = 4
    """Of what the network sees. Its maps have a quarter of the resolution of that."""
    zooms: tuple[float, ...] = pydantic.Field((0.25, 0.5, 1.0, 2.0), min_length=1, max_length=8)
    """In use, a field is looked at in each of these, 1/8 to 8. More: nuclei of more sizes, more time."""
    initialisation: str = "published"
    """"published" (jacobkie_2018dsb.h5 in NUCLEUS_WEIGHTS: the file that the project's merge_model_weight.sh makes,
    renamed), "coco" (mask_rcnn_coco.h5 there, for all but the outputs), "random", or an earlier network: an output of
    this task."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """As in `train_fpn`."""
    cycles: int = pydantic.Field(0, ge=0, le=10_000)
    """Passes over the training ROIs. 0: no training, the published weights are kept."""
    batch_size: int = pydantic.Field(4, ge=1, le=1024)
    """ROIs of one step."""
    learning_rate: float = pydantic.Field(1e-2, gt=0, le=1)
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate over the cycles, or falling to 0 along a cosine."""
    optimiser: Literal["adam", "adamw", "momentum"] = "momentum"
    batch_norm_learns: bool = False
    """Whether batch normalisation takes the statistics of the batch. With weights that were trained elsewhere it
    doesn't; from random ones it must."""
    random_seed: int = pydantic.Field(0, ge=0, lt=2**31)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, values: Any) -> Any:
        # They are of the published network, whatever the preset.
        if isinstance(values, dict) and values.get("initialisation") == "published":
            return values
        return filled_from_preset(values, PRESETS, {"batch_norm_learns": True})

    @pydantic.field_validator("zooms")
    @classmethod
    def _zooms_are_possible(cls, zooms: tuple[float, ...]) -> tuple[float, ...]:
        if wrong := [zoom for zoom in zooms if not 1 / 8 <= zoom <= 8]:
            raise ValueError(f"{', '.join(map(str, wrong))}: a zoom is between 0.125 and 8")
        return zooms

    @pydantic.model_validator(mode="after")
    def _can_learn(self) -> Params:
        refuse_what_cannot_learn(self.initialisation, self.cycles, self.batch_norm_learns)
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
    """Images (b, y, x) uint8 and positions (b, y, x, 8) float32, NaN in the background."""
    images = np.stack([reader.image(row) for row in rows])
    label_images = [reader.label_image(row) for row in rows]
    positions = [np.where(labels[..., np.newaxis] > 0, position_maps(labels), np.nan) for labels in label_images]
    return images, np.stack(positions).astype(np.float32)


def run(params: Params, workspace: Workspace) -> Outcome:
    from tasks.methods.shared import devices

    devices.make_repeatable()
    from tasks.methods.shared.training import Stage, TrainingSettings

    rois = RoiBatches(workspace.input(params.rois), positioned_batch)
    if params.cycles == 0:
        return kept_untrained(build_network(params, rois.zoom, workspace), workspace)
    settings = TrainingSettings(
        cycles=params.cycles,
        stages=(Stage(1.0),),
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        optimiser=params.optimiser,
        schedule=params.schedule,
        random_seed=params.random_seed,
        clip_norm=CLIP_NORM,
    )
    return train(
        lambda: JacobkieTraining(build_network(params, rois.zoom, workspace), params.batch_norm_learns),
        rois,
        settings,
        NAME,
        workspace,
    )


def build_network(params: Params, zoom: float, workspace: Workspace) -> Jacobkie:
    """Build the network and give it its first weights."""
    import tf_keras as keras

    from tasks.methods.jacobkie.network import OUTPUT_LAYERS, Architecture, Jacobkie
    from tasks.methods.shared.pretrained_weights import load_published

    keras.utils.set_random_seed(params.random_seed)
    precision = chosen_precision(params.precision, workspace.checkpoint_dir)
    network = Jacobkie(Architecture(params.depth, params.filters, params.magnification, precision, zoom, params.zooms))
    if (published := published_weights(params)) is not None:
        is_whole = params.initialisation == "published"
        load_published([network.model], published, own=() if is_whole else OUTPUT_LAYERS, part_of_more=not is_whole)
    elif params.initialisation != "random":
        words = '"published", "coco", "random"'
        network.load_weights(earlier_weights(params.initialisation, words, "train_jacobkie", workspace))
    return network


def published_weights(params: Params) -> Path | None:
    """Give the file of first weights that were trained elsewhere, if these are asked for."""
    return published_file(params.initialisation, WEIGHTS_FILES)


def publish(params: Params, result: Result, store: Path) -> None:
    publish_training(params.model_dump(), "train_jacobkie", NAME, result, store)


TASK = Task(name="train_jacobkie", version=2, params_type=Params, run=run, publish=publish, outside=published_weights)

if __name__ == "__main__":
    sys.exit(TASK.main())
