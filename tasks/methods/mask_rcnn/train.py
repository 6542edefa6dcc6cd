"""Train Mask R-CNN, the paper's second method, on the ROIs that FPN2-WS is trained on."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray
from scipy import ndimage

from tasks.contract import Outcome, Result, Task, TaskParams, Workspace
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
    from tasks.methods.mask_rcnn.network import MaskRcnn
    from tasks.methods.shared.training import Batch, Stage

NAME = "mask_rcnn"
WEIGHTS_FILES = {
    "coco": COCO_FILE,
    "published": ("mask_rcnn_nuclei.h5", "the paper, renamed"),
}
"""Weights that were trained elsewhere, with their origin, by the word for them in `initialisation`."""
CLIP_NORM = 5.0
MOST_NUCLEI = 512
"""Of one ROI; the smallest of more are taken for background."""

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "laptop": {
        "depth": 50,
        "pyramid_filters": 64,
        "rpn_filters": 64,
        "head_units": 256,
        "mask_filters": 64,
        "initialisation": "random",
        "precision": "bfloat16",
        "cycles": 4,
        "batch_size": 4,
        "proposals": 48,
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "stages": "all",
        "optimiser": "adam",
        "batch_norm_learns": True,
    },
}

# The paper's 200 rounds: from the heads to all layers, each at falling rates.
PAPER_STAGES = ((75, True, 1.0), (100, True, 0.1), (125, True, 0.01), (150, False, 0.1), (175, False, 0.01))
PAPER_ROUNDS, LAST_RATE = 200, 0.001


class Params(TaskParams):
    rois: str
    """ROI file: output of `augment`."""
    preset: Literal["paper", "laptop"] = "paper"
    """Values of the fields that aren't given: the paper's, or those for a CPU."""
    depth: Literal[50, 101] = 101
    """Layers of the residual network."""
    pyramid_filters: int = pydantic.Field(256, ge=8, le=1024)
    """Channels of the pyramid."""
    rpn_filters: int = pydantic.Field(512, ge=8, le=1024)
    head_units: int = pydantic.Field(1024, ge=8, le=4096)
    mask_filters: int = pydantic.Field(256, ge=8, le=1024)
    initialisation: str = "coco"
    """"coco" (mask_rcnn_coco.h5 in NUCLEUS_WEIGHTS, for all but the outputs), "published" (mask_rcnn_nuclei.h5 there:
    the paper's weights, renamed, or others of a whole network for nuclei in Matterport's naming), "random", or an
    earlier network: an output of this task."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """As in `train_fpn`."""
    cycles: int = pydantic.Field(25, ge=0, le=10_000)
    """Passes over the training ROIs. 0, which is usual for "published": no training, these weights are kept."""
    stages: Literal["heads_first", "all"] = "heads_first"
    """The paper's: heads alone for 5/8 of the cycles, then all layers, both at falling rates. "all", all layers
    throughout, is the paper's for random weights, and what is filled in for them."""
    batch_size: int = pydantic.Field(8, ge=1, le=1024)
    """ROIs of one step."""
    proposals: int = pydantic.Field(200, ge=6, le=1000)
    """Boxes of a ROI that the heads are trained on."""
    learning_rate: float = pydantic.Field(1e-4, gt=0, le=1)
    schedule: Literal["constant", "cosine"] = "constant"
    """Learning rate within a stage, or falling to 0 along a cosine over all of them."""
    optimiser: Literal["adam", "adamw", "momentum"] = "momentum"
    batch_norm_learns: bool = False
    """Whether batch normalisation takes the statistics of the batch. With COCO's weights it doesn't, as in the paper;
    from random ones it must."""
    random_seed: int = pydantic.Field(0, ge=0, lt=2**31)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, values: Any) -> Any:
        # They are of the published network, whatever the preset.
        if isinstance(values, dict) and values.get("initialisation") == "published":
            return {"cycles": 0, **values}
        return filled_from_preset(values, PRESETS, {"stages": "all", "batch_norm_learns": True})

    @pydantic.model_validator(mode="after")
    def _can_learn(self) -> Params:
        refuse_what_cannot_learn(self.initialisation, self.cycles, self.batch_norm_learns)
        return self


@dataclass
class MaskRcnnTraining:
    """A network and how it is trained, for the training loop."""

    network: MaskRcnn
    params: Params

    def __post_init__(self) -> None:
        self.model = self.network.model

    def loss(self, batch: Any, training: bool) -> Any:
        import tensorflow as tf

        learns = training and self.params.batch_norm_learns
        return tf.add_n(list(self.network.losses(batch, learns, self.params.proposals).values()))

    def frozen_layers(self) -> list[Any]:
        return self.network.residual_layers()


def boxed_batch(reader: RoiReader, rows: list[int]) -> Batch:
    """Images (b, y, x) uint8, label images (b, y, x) uint16 with labels 1..m, and their boxes (b, m, 4) float32.

    Boxes are filled up with 0.
    """
    images = np.stack([reader.image(row) for row in rows])
    numbered = [numbered_with_boxes(reader.label_image(row)) for row in rows]
    label_images, boxes = (np.stack(parts) for parts in zip(*numbered, strict=True))
    return images, label_images, boxes


def numbered_with_boxes(label_image: NDArray[np.integer]) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Give a label image numbered 1..m, the largest nuclei first, and the boxes of its labels, filled up with 0."""
    labels, areas_px = np.unique(label_image[label_image > 0], return_counts=True)
    kept = labels[np.argsort(-areas_px, kind="stable")][:MOST_NUCLEI]
    numbers = np.zeros(int(label_image.max(initial=0)) + 1, np.uint16)
    numbers[kept] = np.arange(1, len(kept) + 1)
    numbered = numbers[label_image]
    boxes = np.zeros((MOST_NUCLEI, 4), np.float32)
    for row, (rows, columns) in enumerate(ndimage.find_objects(numbered)):
        boxes[row] = rows.start, columns.start, rows.stop, columns.stop
    return numbered, boxes


def run(params: Params, workspace: Workspace) -> Outcome:
    from tasks.methods.shared import devices

    devices.make_repeatable()
    from tasks.methods.shared.training import TrainingSettings

    rois = RoiBatches(workspace.input(params.rois), boxed_batch)
    if params.cycles == 0:
        return kept_untrained(build_network(params, rois.zoom, workspace), workspace)
    settings = TrainingSettings(
        cycles=params.cycles,
        stages=stages(params),
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        optimiser=params.optimiser,
        schedule=params.schedule,
        random_seed=params.random_seed,
        clip_norm=CLIP_NORM,
    )
    return train(
        lambda: MaskRcnnTraining(build_network(params, rois.zoom, workspace), params), rois, settings, NAME, workspace
    )


def stages(params: Params) -> tuple[Stage, ...]:
    """The paper's rounds as shares of the training, whatever its length."""
    from tasks.methods.shared.training import Stage

    if params.stages == "all":
        return (Stage(1.0),)
    of_paper = (Stage(rounds / PAPER_ROUNDS, is_frozen, rate) for rounds, is_frozen, rate in PAPER_STAGES)
    return (*of_paper, Stage(1.0, rate=LAST_RATE))


def build_network(params: Params, zoom: float, workspace: Workspace) -> MaskRcnn:
    """Build the network and give it its first weights."""
    import tf_keras as keras

    from tasks.methods.mask_rcnn.heads import OUTPUTS
    from tasks.methods.mask_rcnn.network import Architecture, MaskRcnn
    from tasks.methods.shared.pretrained_weights import load_published

    keras.utils.set_random_seed(params.random_seed)
    precision = chosen_precision(params.precision, workspace.checkpoint_dir)
    widths = (params.pyramid_filters, params.rpn_filters, params.head_units, params.mask_filters)
    network = MaskRcnn(Architecture(params.depth, *widths, precision, zoom))
    if (published := published_weights(params)) is not None:
        load_published(network.parts, published, own=OUTPUTS if params.initialisation == "coco" else ())
    elif params.initialisation != "random":
        words = '"coco", "published", "random"'
        network.load_weights(earlier_weights(params.initialisation, words, "train_mask_rcnn", workspace))
    return network


def published_weights(params: Params) -> Path | None:
    """Give the file of first weights that were trained elsewhere, if these are asked for."""
    return published_file(params.initialisation, WEIGHTS_FILES)


def publish(params: Params, result: Result, store: Path) -> None:
    publish_training(params.model_dump(), "train_mask_rcnn", NAME, result, store)


TASK = Task(name="train_mask_rcnn", version=3, params_type=Params, run=run, publish=publish, outside=published_weights)

if __name__ == "__main__":
    sys.exit(TASK.main())
