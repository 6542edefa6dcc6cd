"""Train Mask R-CNN, the paper's second method, on the ROIs that FPN2-WS is trained on."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray
from scipy import ndimage

from tasks.methods.mask_rcnn.method import METHOD
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
    from tasks.methods.mask_rcnn.network import MaskRcnn
    from tasks.methods.shared.devices import Precision
    from tasks.methods.shared.training import Batch, Stage
    from tasks.nuclei.view import View

MOST_NUCLEI = 512
"""The smallest nuclei of a ROI that has more are taken for background."""

# The paper's 200 rounds: from the heads to all layers, each at falling rates.
PAPER_STAGES = ((75, True, 1.0), (100, True, 0.1), (125, True, 0.01), (150, False, 0.1), (175, False, 0.01))
PAPER_ROUNDS, LAST_RATE = 200, 0.001


class Params(NetworkTrainingParams):
    depth: Literal[50, 101] = 101
    """Layers of the residual network."""
    pyramid_filters: int = pydantic.Field(256, ge=8, le=1024)
    """Channels of the pyramid."""
    rpn_filters: int = pydantic.Field(512, ge=8, le=1024)
    """Channels of the layers that propose boxes."""
    head_units: int = pydantic.Field(1024, ge=8, le=4096)
    """Units of the layers that classify and refine boxes."""
    mask_filters: int = pydantic.Field(256, ge=8, le=1024)
    """Channels of the layers that predict masks."""
    initialisation: Initialisation = "coco"
    cycles: Cycles = 25
    stages: Literal["heads_first", "all"] = "heads_first"
    """The paper's: heads alone for 5/8 of the cycles, while pretrained weights are frozen, then all layers, both at
    falling rates. "all", all layers throughout, is the paper's for random weights, and all that is allowed for them."""
    batch_size: BatchSize = 8
    proposals: int = pydantic.Field(200, ge=6, le=1000)
    """Boxes of a ROI that the heads are trained on."""
    learning_rate: LearningRate = 1e-4
    optimiser: Optimiser = "momentum"
    batch_norm_learns: BatchNormLearns = False

    @pydantic.model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        return filled_in(values, METHOD, "coco")

    @pydantic.model_validator(mode="after")
    def _can_learn(self) -> Params:
        frozen = None if self.stages == "all" else f'stages="{self.stages}"'
        refuse_what_cannot_learn(METHOD, self.initialisation, self.cycles, self.batch_norm_learns, frozen)
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
    """Images (b, y, x), 0 to 255, label images (b, y, x) uint16 with labels 1..m, and their boxes (b, m, 4) float32.

    Boxes are filled up with 0. Where not all is annotated, then which pixels aren't, (b, y, x) bool, those of nuclei
    that are cut among them: these have no box.
    """
    images = np.stack([reader.image(row) for row in rows])
    certain = [certain_labels(reader.label_image(row), reader.ignored(row)) for row in rows]
    numbered = [numbered_with_boxes(label_image) for label_image, _ in certain]
    label_images, boxes = (np.stack(parts) for parts in zip(*numbered, strict=True))
    unknown = (np.stack([pixels for _, pixels in certain]),) if reader.has_ignored else ()
    return images, label_images, boxes, *unknown


def certain_labels(
    label_image: NDArray[np.uint16], ignored: NDArray[np.bool_]
) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Give the label image (y, x) of the nuclei whose boxes are known, and where others are or may be."""
    if not ignored.any():
        return label_image, ignored
    is_uncertain = uncertain_nuclei(label_image, ignored)[label_image]
    return np.where(is_uncertain, np.uint16(0), label_image), ignored | is_uncertain


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


def stages(params: Params) -> tuple[Stage, ...]:
    """The paper's rounds as shares of the training, whatever its length."""
    from tasks.methods.shared.training import Stage

    if params.stages == "all":
        return (Stage(1.0),)
    of_paper = (Stage(rounds / PAPER_ROUNDS, is_frozen, rate) for rounds, is_frozen, rate in PAPER_STAGES)
    return (*of_paper, Stage(1.0, rate=LAST_RATE))


def build(params: Params, precision: Precision, view: View) -> MaskRcnn:
    """Build the network."""
    from tasks.methods.mask_rcnn.network import Architecture, MaskRcnn

    widths = (params.pyramid_filters, params.rpn_filters, params.head_units, params.mask_filters)
    return MaskRcnn(Architecture(params.depth, *widths, precision, **asdict(view)))


TASK = training_task(
    METHOD,
    version=4,
    params_type=Params,
    differences=Differences(
        build=build,
        trainable=lambda params, network: MaskRcnnTraining(network, params),
        batch=lambda _: boxed_batch,
        stages=stages,
        part=lambda _: METHOD.name,
        clip_norm=5.0,
        leaves_out_ignored=True,
    ),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
