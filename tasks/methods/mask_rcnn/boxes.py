"""Boxes as (y, x, end y, end x) in pixels, ends exclusive, float32 tensors (..., 4)."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

# What differences of boxes are divided by before they are learnt, as for the pretrained weights.
DELTA_SCALE = (0.1, 0.1, 0.2, 0.2)
MAX_LOG_SIZE = 4.0
"""Factor of size that a difference may stand for, as a logarithm: a wild guess must not overflow."""


def encode(boxes: Any, references: Any) -> Any:
    """Differences (..., 4) that turn `references` into `boxes`: shift by size, logarithm of the ratio of sizes."""
    center, size = _center_and_size(boxes)
    from_center, from_size = _center_and_size(references)
    deltas = tf.concat([(center - from_center) / from_size, tf.math.log(size / from_size)], axis=-1)
    return tf.divide(deltas, DELTA_SCALE)


def decode(deltas: Any, references: Any) -> Any:
    """Boxes that `encode` made `deltas` of."""
    from_center, from_size = _center_and_size(references)
    shift, log_ratio = tf.split(tf.multiply(deltas, DELTA_SCALE), 2, axis=-1)
    center = from_center + shift * from_size
    size = from_size * tf.exp(tf.minimum(log_ratio, MAX_LOG_SIZE))
    return tf.concat([center - size / 2, center + size / 2], axis=-1)


def clip(boxes: Any, side_px: int) -> Any:
    """The part of boxes that lies in a square image."""
    return tf.clip_by_value(boxes, 0.0, float(side_px))


def area(boxes: Any) -> Any:
    """Areas (...) in square pixels; 0 for boxes that end before they begin."""
    size = tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    return size[..., 0] * size[..., 1]


def iou(boxes: Any, others: Any) -> Any:
    """Intersection over union (..., n, m) of boxes (..., n, 4) with others (..., m, 4); 0 where both are empty."""
    one, other = boxes[..., :, tf.newaxis, :], others[..., tf.newaxis, :, :]
    start = tf.maximum(one[..., :2], other[..., :2])
    end = tf.minimum(one[..., 2:], other[..., 2:])
    shared = area(tf.concat([start, end], axis=-1))
    return tf.math.divide_no_nan(shared, area(one) + area(other) - shared)


def sums_of(mask: Any) -> Any:
    """Sums (..., y + 1, x + 1) float32 over all pixels above and to the left of a bool image (..., y, x)."""
    sums = tf.cumsum(tf.cumsum(tf.cast(mask, tf.float32), axis=-2), axis=-1)
    return tf.pad(sums, [*[[0, 0]] * (len(mask.shape) - 2), [1, 0], [1, 0]])


def share_in(boxes: Any, sums: Any) -> Any:
    """Share (n,) of each of the boxes (n, 4) that lies in the mask (y, x) of which the sums are.

    Pixels that a box covers in part count whole, so that it may exceed 1.
    """
    corners = tf.cast(tf.concat([tf.floor(boxes[:, :2]), tf.math.ceil(boxes[:, 2:])], axis=1), tf.int32)
    most = tf.shape(sums) - 1
    start_y, start_x, end_y, end_x = tf.unstack(tf.clip_by_value(corners, 0, tf.concat([most, most], axis=0)), axis=-1)

    def at(y: Any, x: Any) -> Any:
        return tf.gather_nd(sums, tf.stack([y, x], axis=-1))

    inside = at(end_y, end_x) - at(start_y, end_x) - at(end_y, start_x) + at(start_y, start_x)
    return tf.math.divide_no_nan(inside, area(boxes))


def _center_and_size(boxes: Any) -> tuple[Any, Any]:
    start, end = tf.split(boxes, 2, axis=-1)
    return (start + end) / 2, end - start
