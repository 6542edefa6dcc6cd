"""The heads: what is proposed on the pyramid, and class, box and mask of each proposal. Matterport's layer names.

Heads of proposals get these in one batch (n, y, x, filters), whatever image they are of: so no layer has to be told
of a further axis, and the weights have the shapes of the pretrained ones all the same.
"""

from __future__ import annotations

from typing import Any

import tf_keras as keras
from tf_keras import layers

CLASSES = 2
"""Background and nucleus."""
BOX_POOL, MASK_POOL = 7, 14
MASK_SIDE = 2 * MASK_POOL
MASK_CONVOLUTIONS = 4
OUTPUTS = ("mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask")
"""Layers whose shapes depend on the number of classes."""


def rpn_model(filters: int, pyramid_filters: int, ratios: int) -> Any:
    """From a level (b, y, x, c) to logits (b, y * x * ratios, 2) of background and nucleus, and deltas (..., 4)."""
    level = keras.Input((None, None, pyramid_filters), name="level")
    x = layers.Conv2D(filters, 3, padding="same", activation="relu", name="rpn_conv_shared")(level)
    logits = layers.Conv2D(CLASSES * ratios, 1, name="rpn_class_raw")(x)
    deltas = layers.Conv2D(4 * ratios, 1, name="rpn_bbox_pred")(x)
    outputs = [layers.Reshape((-1, CLASSES))(logits), layers.Reshape((-1, 4))(deltas)]
    return keras.Model(level, outputs, name="rpn_model")


def box_model(units: int, pyramid_filters: int) -> Any:
    """From features (n, 7, 7, c) to class logits (n, 2) and deltas (n, 2, 4), one for each class."""
    features = keras.Input((BOX_POOL, BOX_POOL, pyramid_filters), name="box_features")
    x = _normed(layers.Conv2D(units, BOX_POOL, name="mrcnn_class_conv1")(features), "mrcnn_class_bn1")
    x = _normed(layers.Conv2D(units, 1, name="mrcnn_class_conv2")(x), "mrcnn_class_bn2")
    shared = layers.Reshape((units,), name="pool_squeeze")(x)
    logits = layers.Dense(CLASSES, name="mrcnn_class_logits")(shared)
    deltas = layers.Dense(4 * CLASSES, name="mrcnn_bbox_fc")(shared)
    return keras.Model(features, [logits, layers.Reshape((CLASSES, 4), name="mrcnn_bbox")(deltas)], name="box_head")


def mask_model(pyramid_filters: int, filters: int) -> Any:
    """From features (n, 14, 14, c) to masks (n, 28, 28, 2) of each class, as logits."""
    features = keras.Input((MASK_POOL, MASK_POOL, pyramid_filters), name="mask_features")
    x = features
    for number in range(1, MASK_CONVOLUTIONS + 1):
        x = layers.Conv2D(filters, 3, padding="same", name=f"mrcnn_mask_conv{number}")(x)
        x = _normed(x, f"mrcnn_mask_bn{number}")
    x = layers.Conv2DTranspose(filters, 2, strides=2, activation="relu", name="mrcnn_mask_deconv")(x)
    return keras.Model(features, layers.Conv2D(CLASSES, 1, name="mrcnn_mask")(x), name="mask_head")


def _normed(x: Any, name: str) -> Any:
    return layers.Activation("relu", name=f"{name}_relu")(layers.BatchNormalization(name=name)(x))
