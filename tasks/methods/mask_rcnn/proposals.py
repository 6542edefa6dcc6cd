"""From what the network says of every anchor to a few boxes that may hold a nucleus."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tasks.methods.mask_rcnn import boxes as box_geometry

MOST_BEFORE_NMS = 6000
MAX_IOU = 0.7


def propose(logits: Any, deltas: Any, anchors: Any, side_px: int, count: int) -> Any:
    """Give the best boxes (b, count, 4) of logits (b, n, 2) and deltas (b, n, 4) of anchors (n, 4).

    None overlaps a better one by an IoU over 0.7; where there are fewer, the rest is 0. Nothing learns through them.
    """
    scores = tf.nn.softmax(tf.cast(logits, tf.float32))[..., 1]
    most = min(MOST_BEFORE_NMS, anchors.shape[0])

    def of_image(scores_and_deltas: tuple[Any, Any]) -> Any:
        best, rows = tf.math.top_k(scores_and_deltas[0], most)
        found = box_geometry.decode(tf.gather(scores_and_deltas[1], rows), tf.gather(anchors, rows))
        return best_apart(box_geometry.clip(found, side_px), best, count, MAX_IOU)

    found = tf.map_fn(
        of_image, (scores, tf.cast(deltas, tf.float32)), fn_output_signature=tf.TensorSpec((count, 4), tf.float32)
    )
    return tf.stop_gradient(found)


def best_apart(boxes: Any, scores: Any, count: int, max_iou: float) -> Any:
    """Give the boxes (count, 4) with the highest scores of which none overlaps a better one by more than `max_iou`."""
    kept = tf.image.non_max_suppression(boxes, scores, count, max_iou)
    found = tf.gather(boxes, kept)
    return tf.ensure_shape(tf.pad(found, [[0, count - tf.shape(found)[0]], [0, 0]]), (count, 4))
