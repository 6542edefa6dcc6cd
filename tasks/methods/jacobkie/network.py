"""The network, with the layer names of the pretrained weights, its loss, and the maps that it predicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tf_keras as keras
from numpy.typing import NDArray
from tf_keras import layers

from tasks.methods.jacobkie.positions import DIRECTIONS, POSITIONS, STEPS
from tasks.methods.shared.backbone import Depth, merged_levels, resnet, smoothed
from tasks.methods.shared.devices import Precision, layers_in
from tasks.methods.shared.kept_network import KeptNetwork, architecture_fields, follow_batches_closely
from tasks.methods.shared.masked_loss import mean_of_annotated
from tasks.nuclei.intensity import GreyLevels
from tasks.nuclei.view import View

FIRST_POSITIONS = len(DIRECTIONS)
MAPS = 1 + POSITIONS
"""Whether a pixel is in a nucleus, and its positions."""
P2, P2_STRIDE_PX = 2, 4
OUTPUT_LAYERS = (
    "fpn_p2_true_conv0",
    "fpn_p2_pred_conv0",
    "output_mask",
    *(f"output_{direction}_true_conv" for direction in DIRECTIONS),
    *(f"output_{direction}_conv" for direction in DIRECTIONS),
    *(f"output_l{direction}_conv" for direction in DIRECTIONS),
)
"""Layers that Mask R-CNN hasn't."""


@dataclass(frozen=True)
class Architecture(View):
    """What it takes to build a network again before its weights are loaded. The defaults are those of the author."""

    depth: Depth = 101
    filters: int = 256
    """Channels of the pyramid and of both branches."""
    magnification: Literal[1, 2, 4] = 4
    """How much the image is magnified before the network sees it. With 4, its maps have the resolution of the
    image; with less they are magnified afterwards."""
    precision: Precision = "float32"
    zooms: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    """A field is segmented in each of these zooms besides."""
    method: Literal["jacobkie"] = "jacobkie"


class Jacobkie(KeptNetwork):
    """A network from grey images to nine maps. Sides of the images must be multiples of 32 px."""

    output_layers = OUTPUT_LAYERS

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        with layers_in(architecture.precision):
            self.model = _model(architecture.depth, architecture.filters)
        follow_batches_closely(self.model)
        any_images = tf.TensorSpec((None, None, None), tf.float32)
        self._predict = tf.function(
            lambda images: self._maps(images, training=False)[..., :MAPS], input_signature=[any_images]
        )

    def loss(self, batch: Any, training: bool) -> Any:
        """Mean loss of a batch: images (b, y, x), 0 to 255, and positions (b, y, x, 8) float32, NaN in the background.

        Cross-entropy of the mask and absolute error of the positions, which counts up to three times where a border is
        or is seen by the first branch. Where not all is annotated, the batch says last which pixels count, (b, y, x)
        bool.
        """
        images, positions, *annotated = batch
        maps = self._maps(images, training)
        inside = tf.math.is_finite(positions[..., 0])
        is_nucleus = tf.cast(inside, tf.float32)
        positions = tf.where(inside[..., tf.newaxis], positions, 0.0)
        first = positions[..., :FIRST_POSITIONS]
        of_mask = keras.losses.binary_crossentropy(is_nucleus[..., tf.newaxis], maps[..., :1])
        coarse = maps[..., MAPS:]
        seen_borders = tf.stop_gradient(falls(coarse * is_nucleus[..., tf.newaxis]))
        weight = is_nucleus * (1.0 + tf.maximum(falls(first), seen_borders))
        for counts in annotated:
            weight *= tf.cast(counts, tf.float32)
        of_true = tf.reduce_mean(tf.abs(coarse - first), axis=-1)
        of_pred = tf.reduce_mean(tf.abs(maps[..., 1:MAPS] - positions), axis=-1)
        of_positions = tf.reduce_sum(weight * (of_true + of_pred)) / tf.maximum(tf.reduce_sum(weight), 1.0)
        return mean_of_annotated(of_mask, *annotated) + of_positions

    def predict(self, images: GreyLevels) -> NDArray[np.float32]:
        """Map images (b, y, x) to (b, y, x, 9) float32: in [0, 1] in a nucleus, and positions in [-1, 1]."""
        maps: NDArray[np.float32] = self._predict(images.astype(np.float32)).numpy()
        return maps

    def extractor_layers(self) -> list[Any]:
        """Layers of Mask R-CNN's feature extractor, for freezing them."""
        return [layer for layer in self.model.layers if layer.name not in OUTPUT_LAYERS]

    def _maps(self, images: Any, training: bool) -> Any:
        """All outputs (b, y, x, 13), the second branch's last."""
        magnification = self.architecture.magnification
        rgb = tf.repeat(tf.cast(images, tf.float32)[..., tf.newaxis], 3, axis=-1)
        maps = self.model(_resized(rgb, magnification), training=training)
        return _resized(maps, P2_STRIDE_PX // magnification)


def falls(positions: Any) -> Any:
    """How much positions (b, y, x, 4) fall to the next pixel in their direction, or from the one before; (b, y, x).

    The most of the four directions, 0 to 2.
    """
    most = []
    for channel, (down, right) in enumerate(STEPS):
        values = positions[..., channel]
        height, width = tf.shape(values)[1], tf.shape(values)[2]
        here = values[:, : height - down, max(-right, 0) : width - max(right, 0)]
        following = values[:, down:, max(right, 0) : width - max(-right, 0)]
        fall = tf.nn.relu(here - following)
        left, other = max(-right, 0), max(right, 0)
        most.append(tf.pad(fall, [[0, 0], [0, down], [left, other]]))
        most.append(tf.pad(fall, [[0, 0], [down, 0], [other, left]]))
    return tf.reduce_max(tf.stack(most), axis=0)


def load_jacobkie(folder: Path) -> Jacobkie:
    """Load a network that `Jacobkie.save` wrote."""
    fields = architecture_fields(folder)
    network = Jacobkie(Architecture(**{**fields, "zooms": tuple(fields["zooms"])}))
    network.load_weights(folder / "weights.h5")
    return network


def _resized(images: Any, factor: int) -> Any:
    if factor == 1:
        return images
    return tf.image.resize(images, factor * tf.shape(images)[1:3], method="bilinear")


def _model(depth: Depth, filters: int) -> Any:
    image = keras.Input((None, None, 3), name="input_image")
    p2 = smoothed(merged_levels(resnet(image, depth), filters), P2, filters)
    true = layers.Conv2D(filters, 3, padding="same", activation="relu", name="fpn_p2_true_conv0")(p2)
    pred = layers.Conv2D(filters, 3, padding="same", activation="relu", name="fpn_p2_pred_conv0")(p2)
    outputs = [
        _output(pred, "sigmoid", "output_mask"),
        *(_output(pred, "tanh", f"output_{direction}_conv") for direction in DIRECTIONS),
        *(_output(pred, "tanh", f"output_l{direction}_conv") for direction in DIRECTIONS),
        *(_output(true, "tanh", f"output_{direction}_true_conv") for direction in DIRECTIONS),
    ]
    return keras.Model(image, layers.Concatenate(name="outputs", dtype="float32")(outputs), name="jacobkie")


def _output(features: Any, activation: str, name: str) -> Any:
    # Under bfloat16 the outputs and the loss stay in float32.
    return layers.Conv2D(1, 1, activation=activation, dtype="float32", name=name)(features)
