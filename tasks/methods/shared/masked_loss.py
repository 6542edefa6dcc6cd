"""The mean of a loss over the pixels that are annotated."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def mean_of_annotated(loss: Any, annotated: Any = None) -> Any:
    """Mean of a loss (b, y, x) where `annotated` (b, y, x) is true, 0 if it is nowhere; of all pixels without it.

    It is that of this replica's part of a batch: on several GPUs, pixels of parts with fewer annotated ones count more.
    """
    if annotated is None:
        return tf.reduce_mean(loss)
    weights = tf.cast(annotated, loss.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(loss * weights), tf.reduce_sum(weights))
