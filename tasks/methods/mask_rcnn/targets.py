"""What the network should say: of each anchor, and of each box that it proposes itself.

Which of many anchors and boxes count is drawn from a seed that the caller gives, so that a training that resumes after
a stop draws the same again.

Where not all of an image is annotated, a box is on the background only if it would be so whatever nuclei there were in
the part of it that isn't: their IoU with it is at most the share of that part.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from tasks.methods.mask_rcnn import boxes as box_geometry
from tasks.methods.mask_rcnn.heads import MASK_SIDE

SEEN_ANCHORS = 256
"""Anchors of an image that count, at most half of them on nuclei."""
NUCLEUS_IOU, BACKGROUND_IOU = 0.7, 0.3
"""An anchor is on a nucleus from here, on the background below there, and else it doesn't count."""
FOUND_IOU = 0.5
"""A proposal has found a nucleus from here."""
NUCLEI_SHARE = 1 / 3
"""Share of nuclei among the proposals of an image that are trained on."""


class AnchorTargets(NamedTuple):
    is_nucleus: Any
    """(n,) bool"""
    counts: Any
    """(n,) bool: the others are left out of the loss."""
    deltas: Any
    """(n, 4), of use where `is_nucleus`."""


class ProposalTargets(NamedTuple):
    """Targets of one image. The first rows are those on nuclei; `found` says how many of them there are."""

    boxes: Any
    """(t, 4)"""
    counts: Any
    """(t,) bool"""
    deltas: Any
    """(p, 4) of the first rows."""
    masks: Any
    """(p, 28, 28) float32, 0 or 1, of the first rows."""


def anchor_targets(anchors: Any, nuclei: Any, seed: Any, unknown: Any = None) -> AnchorTargets:
    """Targets of anchors (n, 4) for nuclei (m, 4), whose rows may be filled up with 0.

    `unknown` has the sums, see `boxes.sums_of`, of the pixels that aren't annotated.
    """
    iou = box_geometry.iou(anchors, nuclei)
    best, nucleus = tf.reduce_max(iou, axis=1), tf.argmax(iou, axis=1)
    # A nucleus has an anchor though none may come near enough, but for crumbs at the edge of a ROI: hardly larger than
    # a pixel, they lie in many anchors, and as alike as these look, each would have to become another box.
    highest = tf.reduce_max(iou, axis=0, keepdims=True)
    is_nucleus = (best >= NUCLEUS_IOU) | tf.reduce_any((iou == highest) & (highest >= BACKGROUND_IOU), axis=1)
    is_background = (best < BACKGROUND_IOU) & ~is_nucleus
    if unknown is not None:
        is_background &= box_geometry.share_in(anchors, unknown) < BACKGROUND_IOU
    first, second = seeds_of(seed)
    seen_nuclei = _some_of(is_nucleus, SEEN_ANCHORS // 2, first)
    seen = tf.reduce_sum(tf.cast(seen_nuclei, tf.int32))
    seen_background = _some_of(is_background, SEEN_ANCHORS - seen, second)
    matched = tf.gather(nuclei, nucleus)
    deltas = tf.where(is_nucleus[:, tf.newaxis], box_geometry.encode(_not_empty(matched), anchors), 0.0)
    return AnchorTargets(is_nucleus, seen_nuclei | seen_background, deltas)


def proposal_targets(
    proposals: Any, nuclei: Any, label_image: Any, seed: Any, amount: int, unknown: Any = None
) -> ProposalTargets:
    """Draw `amount` of the proposals (n, 4) of an image, a third of them on nuclei, and give what is to be learnt.

    `nuclei` (m, 4) has the boxes of the labels 1..m of `label_image` (y, x), and may be filled up with 0. They count as
    proposals too: else little would be learnt at the beginning, when no proposal is near a nucleus. `unknown` is as in
    `anchor_targets`.
    """
    most_nuclei = round(amount * NUCLEI_SHARE)
    boxes = tf.concat([proposals, nuclei], axis=0)
    iou = box_geometry.iou(boxes, nuclei)
    best, nucleus = tf.reduce_max(iou, axis=1), tf.argmax(iou, axis=1, output_type=tf.int32)
    is_box = box_geometry.area(boxes) > 0
    first, second = seeds_of(seed)
    on_nuclei, are_nuclei = _drawn(is_box & (best >= FOUND_IOU), most_nuclei, first)
    found = tf.reduce_sum(tf.cast(are_nuclei, tf.int32))
    is_beside = is_box & (best < FOUND_IOU)
    if unknown is not None:
        is_beside &= box_geometry.share_in(boxes, unknown) < FOUND_IOU
    beside, are_beside = _drawn(is_beside, amount - most_nuclei, second)
    # Twice as many as those on nuclei; some also where there is no nucleus at all.
    enough = tf.maximum(2 * found, (amount - most_nuclei) // 4)
    are_beside &= tf.range(amount - most_nuclei) < enough

    number = tf.gather(nucleus, on_nuclei)
    nuclei_boxes = tf.gather(boxes, on_nuclei)
    matched = _not_empty(tf.gather(nuclei, number))
    deltas = tf.where(are_nuclei[:, tf.newaxis], box_geometry.encode(matched, _not_empty(nuclei_boxes)), 0.0)
    return ProposalTargets(
        boxes=tf.stop_gradient(tf.concat([nuclei_boxes, tf.gather(boxes, beside)], axis=0)),
        counts=tf.concat([are_nuclei, are_beside], axis=0),
        deltas=deltas,
        masks=masks_of(label_image, nuclei_boxes, number + 1),
    )


def masks_of(label_image: Any, boxes: Any, labels: Any) -> Any:
    """Masks (n, 28, 28) of the nuclei `labels` (n,) in their boxes (n, 4), float32 0 or 1."""
    side = tf.cast(tf.shape(label_image)[0], tf.float32)
    corners = tf.subtract(boxes, [0.0, 0.0, 1.0, 1.0]) / (side - 1)
    image = tf.cast(label_image, tf.float32)[tf.newaxis, :, :, tf.newaxis]
    seen = tf.image.crop_and_resize(
        image, corners, tf.zeros(tf.shape(boxes)[0], tf.int32), (MASK_SIDE, MASK_SIDE), method="nearest"
    )
    return tf.cast(seen[..., 0] == tf.cast(labels, tf.float32)[:, tf.newaxis, tf.newaxis], tf.float32)


def seeds_of(seed: Any) -> list[Any]:
    """Two further seeds (2,) of one."""
    return list(tf.unstack(tf.random.split(seed, 2)))


def _some_of(candidates: Any, most: Any, seed: Any) -> Any:
    """Leave at most so many of the candidates (n,) true."""
    drawn = tf.where(candidates, tf.random.stateless_uniform(tf.shape(candidates), seed), 2.0)
    place = tf.argsort(tf.argsort(drawn))
    return candidates & (place < most)


def _drawn(candidates: Any, amount: int, seed: Any) -> tuple[Any, Any]:
    """Draw rows (amount,) from the candidates (n,), and say which of them are candidates: there may be too few."""
    scores = tf.where(candidates, tf.random.stateless_uniform(tf.shape(candidates), seed), -1.0)
    missing = tf.maximum(amount - tf.shape(scores)[0], 0)
    best, rows = tf.math.top_k(tf.pad(scores, [[0, missing]], constant_values=-1.0), amount)
    are_candidates = best >= 0
    return tf.where(are_candidates, rows, 0), are_candidates


def _not_empty(boxes: Any) -> Any:
    """Boxes of which the logarithm of a size can be taken."""
    return tf.concat([boxes[:, :2], tf.maximum(boxes[:, 2:], boxes[:, :2] + 1e-3)], axis=1)
