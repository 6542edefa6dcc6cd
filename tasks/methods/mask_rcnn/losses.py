"""The five losses, each a scalar float32: proposals' class and box, and class, box and mask of what was proposed."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

HUBER_FROM = 1.0
"""Differences of boxes over this count linearly, not squared."""


def class_loss(logits: Any, is_nucleus: Any, counts: Any) -> Any:
    """Mean cross-entropy of logits (n, 2) where `counts` (n,), 0 if nowhere."""
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(is_nucleus, tf.int32), tf.cast(logits, tf.float32))
    return mean_where(counts, each)


def box_loss(deltas: Any, expected: Any, counts: Any) -> Any:
    """Mean smooth L1 over the four differences (n, 4) where `counts` (n,)."""
    size = tf.abs(tf.cast(deltas, tf.float32) - expected)
    each = tf.where(size < HUBER_FROM, 0.5 * tf.square(size), HUBER_FROM * (size - 0.5 * HUBER_FROM))
    return mean_where(counts, tf.reduce_mean(each, axis=-1))


def mask_loss(logits: Any, expected: Any, counts: Any) -> Any:
    """Mean binary cross-entropy over the pixels of logits (n, y, x) where `counts` (n,)."""
    each = tf.nn.sigmoid_cross_entropy_with_logits(expected, tf.cast(logits, tf.float32))
    return mean_where(counts, tf.reduce_mean(each, axis=(1, 2)))


def mean_where(counts: Any, values: Any) -> Any:
    """Mean of `values` (n,) where `counts` (n,) is true; 0 if it is nowhere."""
    weights = tf.cast(counts, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(values * weights), tf.reduce_sum(weights))
