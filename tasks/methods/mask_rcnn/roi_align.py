"""RoIAlign over the levels of the pyramid: features of a fixed size for boxes of any (He et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

FIRST_LEVEL, LAST_LEVEL = 2, 5
CANONICAL_LEVEL, CANONICAL_SIDE_PX = 4, 224
"""A box of this size takes its features from this level, one of half the side from that below (Lin et al. 2017)."""


def levels_of(boxes: Any) -> Any:
    """Level of the pyramid (n,), 2 to 5, for boxes (n, 4)."""
    size = tf.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3)
    above = tf.math.log(size[:, 0] * size[:, 1] / CANONICAL_SIDE_PX**2) / (2 * math.log(2))
    return tf.clip_by_value(CANONICAL_LEVEL + tf.cast(tf.round(above), tf.int32), FIRST_LEVEL, LAST_LEVEL)


def align(pyramid: Sequence[Any], boxes: Any, images: Any, side_px: int, pool: int) -> Any:
    """Features (n, pool, pool, c) float32 of boxes (n, 4), each of the image with the number in `images` (n,) int32.

    `pyramid` is P2 to P5, each (b, y, x, c). Features are read at pool x pool points from edge to edge of the box,
    between pixels by linear interpolation, as for the pretrained weights.
    """
    # Ends are exclusive: the last pixel of a box lies one before.
    corners = tf.stop_gradient(tf.subtract(boxes, [0.0, 0.0, 1.0, 1.0]) / (side_px - 1))
    levels = levels_of(boxes)
    rows, features = [], []
    for level, level_features in enumerate(pyramid, FIRST_LEVEL):
        of_level = tf.where(levels == level)[:, 0]
        rows.append(of_level)
        features.append(
            tf.image.crop_and_resize(
                tf.cast(level_features, tf.float32),
                tf.gather(corners, of_level),
                tf.gather(images, of_level),
                (pool, pool),
            )
        )
    shape = tf.stack([tf.shape(boxes)[0], pool, pool, pyramid[0].shape[-1]])
    in_order = tf.scatter_nd(
        tf.concat(rows, axis=0)[:, tf.newaxis], tf.concat(features, axis=0), tf.cast(shape, tf.int64)
    )
    return tf.ensure_shape(in_order, (None, pool, pool, pyramid[0].shape[-1]))
