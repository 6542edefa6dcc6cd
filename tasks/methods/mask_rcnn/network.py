"""The whole network: its losses for the training loop, and what it detects in images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray

from tasks.methods.mask_rcnn import boxes as box_geometry
from tasks.methods.mask_rcnn import losses
from tasks.methods.mask_rcnn.anchors import RATIOS, anchors_of
from tasks.methods.mask_rcnn.heads import BOX_POOL, MASK_POOL, MASK_SIDE, OUTPUTS, box_model, mask_model, rpn_model
from tasks.methods.mask_rcnn.proposals import propose
from tasks.methods.mask_rcnn.roi_align import align
from tasks.methods.mask_rcnn.targets import AnchorTargets, ProposalTargets, anchor_targets, proposal_targets
from tasks.methods.shared.backbone import Depth, features_model
from tasks.methods.shared.devices import Precision, layers_in
from tasks.methods.shared.kept_network import KeptNetwork, architecture_fields, follow_batches_closely
from tasks.nuclei.intensity import GreyLevels
from tasks.nuclei.view import View

SIDE_PX = 256
"""Side of every image."""
MEAN_RGB = (123.7, 116.8, 103.9)
"""Mean of the images that the pretrained weights were trained on; it is subtracted first."""
TRAINING_PROPOSALS, DETECTION_PROPOSALS = 2000, 1000
NUCLEUS = 1
MAX_DETECTION_IOU = 0.3


_FLOAT, _INT = tf.TensorSpec((), tf.float32), tf.TensorSpec((), tf.int32)


@dataclass(frozen=True)
class Architecture(View):
    """What it takes to build a network again before its weights are loaded. The defaults are the paper's."""

    depth: Depth = 101
    pyramid_filters: int = 256
    rpn_filters: int = 512
    head_units: int = 1024
    mask_filters: int = 256
    precision: Precision = "float32"
    method: Literal["mask_rcnn"] = "mask_rcnn"


class Detections(NamedTuple):
    """What was found in one image, best first."""

    boxes: NDArray[np.float32]
    """(n, 4)"""
    scores: NDArray[np.float32]
    """(n,) in [0, 1]"""
    masks: NDArray[np.float32]
    """(n, 28, 28) in [0, 1], of the boxes."""


class MaskRcnn(KeptNetwork):
    """A network from grey images of 256 x 256 px to boxes and masks of nuclei."""

    output_layers = OUTPUTS

    @property
    def parts(self) -> tuple[Any, ...]:
        return (self._features, self._rpn, self._box_head, self._mask_head)

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        pyramid_filters = architecture.pyramid_filters
        with layers_in(architecture.precision):
            self._features = features_model(SIDE_PX, architecture.depth, pyramid_filters)
            self._rpn = rpn_model(architecture.rpn_filters, pyramid_filters, len(RATIOS))
            self._box_head = box_model(architecture.head_units, pyramid_filters)
            self._mask_head = mask_model(pyramid_filters, architecture.mask_filters)
        self._anchors = tf.constant(anchors_of(SIDE_PX))
        # Never called as a whole: it holds all layers for whoever saves, freezes or counts them.
        self.model = keras.Model(
            [part.input for part in self.parts], [part(part.input) for part in self.parts], name="mask_rcnn"
        )
        for part in self.parts:
            follow_batches_closely(part)
        self._detect = tf.function(
            self._detections_of, input_signature=[tf.TensorSpec((None, SIDE_PX, SIDE_PX), tf.float32), _FLOAT, _INT]
        )

    def losses(self, batch: Any, training: bool, proposals: int) -> dict[str, Any]:
        """Give the five losses of a batch: images (b, y, x), 0 to 255, label images (b, y, x), boxes (b, m, 4) float32.

        The boxes are those of labels 1..m, filled up with 0. `proposals` of an image are trained on. Where not all is
        annotated, the batch says last which pixels aren't, (b, y, x) bool.
        """
        images, label_images, nuclei, *unknown = batch
        sums = [box_geometry.sums_of(mask) for mask in unknown]
        nuclei = nuclei[:, : _most_nuclei(nuclei)]
        pyramid, logits, deltas = self._body(images, training)
        seeds = _seeds_of_images(images)
        of_anchors = tf.map_fn(
            lambda part: anchor_targets(self._anchors, *part),
            (nuclei, seeds, *sums),
            fn_output_signature=AnchorTargets(tf.bool, tf.bool, tf.float32),
        )
        flat = [tf.reshape(part, (-1, *part.shape[2:])) for part in (logits, deltas, *of_anchors)]
        found = {
            "rpn_class": losses.class_loss(flat[0], flat[2], flat[3]),
            "rpn_box": losses.box_loss(flat[1], flat[4], flat[2]),
        }
        proposed = propose(logits, deltas, self._anchors, SIDE_PX, TRAINING_PROPOSALS)
        of_proposals = tf.map_fn(
            lambda part: proposal_targets(part[0], part[1], part[2], part[3], proposals, *part[4:]),
            (proposed, nuclei, label_images, seeds, *sums),
            fn_output_signature=ProposalTargets(tf.float32, tf.bool, tf.float32, tf.float32),
        )
        return found | self._head_losses(pyramid, of_proposals, training)

    def detect(self, images: GreyLevels, min_score: float, most: int) -> list[Detections]:
        """Find at most so many nuclei in each image (b, y, x), with at least this score."""
        boxes, scores, masks = (part.numpy() for part in self._detect(images.astype(np.float32), min_score, most))
        found = []
        for of_image in zip(boxes, scores, masks, strict=True):
            kept = of_image[1] >= min_score
            found.append(Detections(*(part[kept] for part in of_image)))
        return found

    def residual_layers(self) -> list[Any]:
        """Layers below the pyramid, for freezing them."""
        return [layer for layer in self._features.layers if not layer.name.startswith("fpn_")]

    def _body(self, images: Any, training: bool) -> tuple[Any, Any, Any]:
        """Pyramid P2 to P5, and logits (b, n, 2) and deltas (b, n, 4) of all anchors."""
        rgb = tf.repeat(tf.cast(images, tf.float32)[..., tf.newaxis], 3, axis=-1) - MEAN_RGB
        pyramid = self._features(rgb, training=training)
        said = [self._rpn(level, training=training) for level in pyramid]
        logits, deltas = (tf.concat(parts, axis=1) for parts in zip(*said, strict=True))
        return pyramid[:-1], logits, deltas

    def _head_losses(self, pyramid: Any, targets: Any, training: bool) -> dict[str, Any]:
        amount, on_nuclei = targets.boxes.shape[1], targets.deltas.shape[1]
        logits, deltas = self._box_head(self._pooled(pyramid, targets.boxes, BOX_POOL), training=training)
        masks = self._mask_head(self._pooled(pyramid, targets.boxes[:, :on_nuclei], MASK_POOL), training=training)
        are_nuclei = targets.counts[:, :on_nuclei]
        is_nucleus = tf.pad(are_nuclei, [[0, 0], [0, amount - on_nuclei]])
        deltas = tf.reshape(deltas[:, NUCLEUS], (-1, amount, 4))[:, :on_nuclei]
        return {
            "class": losses.class_loss(logits, tf.reshape(is_nucleus, (-1,)), tf.reshape(targets.counts, (-1,))),
            "box": losses.box_loss(
                tf.reshape(deltas, (-1, 4)), tf.reshape(targets.deltas, (-1, 4)), tf.reshape(are_nuclei, (-1,))
            ),
            "mask": losses.mask_loss(
                masks[..., NUCLEUS],
                tf.reshape(targets.masks, (-1, MASK_SIDE, MASK_SIDE)),
                tf.reshape(are_nuclei, (-1,)),
            ),
        }

    def _pooled(self, pyramid: Any, boxes: Any, pool: int) -> Any:
        """Features (b * n, pool, pool, c) of boxes (b, n, 4)."""
        batch, amount = tf.shape(boxes)[0], tf.shape(boxes)[1]
        images = tf.repeat(tf.range(batch), amount)
        return align(pyramid, tf.reshape(boxes, (-1, 4)), images, SIDE_PX, pool)

    def _detections_of(self, images: Any, min_score: Any, most: Any) -> tuple[Any, Any, Any]:
        """Boxes (b, n, 4), scores (b, n) and masks (b, n, 28, 28), n at most `most`; filled up with score 0."""
        pyramid, logits, deltas = self._body(images, training=False)
        proposed = propose(logits, deltas, self._anchors, SIDE_PX, DETECTION_PROPOSALS)
        class_logits, class_deltas = self._box_head(self._pooled(pyramid, proposed, BOX_POOL), training=False)
        scores = tf.nn.softmax(tf.cast(class_logits, tf.float32))[:, NUCLEUS]
        scores = tf.reshape(scores, (-1, DETECTION_PROPOSALS)) * tf.cast(box_geometry.area(proposed) > 0, tf.float32)
        refined = tf.reshape(tf.cast(class_deltas, tf.float32)[:, NUCLEUS], (-1, DETECTION_PROPOSALS, 4))
        found = box_geometry.clip(box_geometry.decode(refined, proposed), SIDE_PX)

        def best(part: tuple[Any, Any]) -> tuple[Any, Any]:
            kept = tf.image.non_max_suppression(part[0], part[1], most, MAX_DETECTION_IOU, min_score)
            missing = most - tf.shape(kept)[0]
            return (
                tf.pad(tf.gather(part[0], kept), [[0, missing], [0, 0]]),
                tf.pad(tf.gather(part[1], kept), [[0, missing]]),
            )

        boxes, scores = tf.map_fn(
            best,
            (found, scores),
            fn_output_signature=(tf.TensorSpec((None, 4), tf.float32), tf.TensorSpec((None,), tf.float32)),
        )
        amount = tf.reduce_max(tf.math.count_nonzero(scores, axis=1, dtype=tf.int32))
        boxes, scores = boxes[:, :amount], scores[:, :amount]
        masks = self._mask_head(self._pooled(pyramid, boxes, MASK_POOL), training=False)[..., NUCLEUS]
        masks = tf.sigmoid(tf.cast(masks, tf.float32))
        return boxes, scores, tf.reshape(masks, (tf.shape(boxes)[0], amount, MASK_SIDE, MASK_SIDE))


def _most_nuclei(nuclei: Any) -> Any:
    """Give how many rows of nuclei (b, m, 4) some image has, at least 1: each costs time at all anchors."""
    counts = tf.math.count_nonzero(box_geometry.area(nuclei), axis=1, dtype=tf.int32)
    return tf.maximum(tf.reduce_max(counts), 1)


def _seeds_of_images(images: Any) -> Any:
    """A seed (b, 2) for each image, from its content and that of the batch, so another one in another cycle."""
    sums = tf.reduce_sum(tf.cast(images, tf.int32), axis=(1, 2))
    return tf.stack([sums, tf.fill(tf.shape(sums), tf.reduce_sum(sums))], axis=-1)


def load_mask_rcnn(folder: Path) -> MaskRcnn:
    """Load a network that `MaskRcnn.save` wrote."""
    network = MaskRcnn(Architecture(**architecture_fields(folder)))
    network.load_weights(folder / "weights.h5")
    return network
