"""Which kind of error each pixel of a field belongs to, in colours that the usual kinds of colour blindness tell apart.

Kinds are those that scores count, at an IoU of 0.7 and with splits and merges from an IoU of 0.1 on: see `scoring`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.scoring import OBJECT_LEVEL_IOU, SPLIT_MERGE_IOU, IouPairs, iou_pairs


class ErrorKind(IntEnum):
    """What is wrong with a pixel; 0 is none of these."""

    MISSED = 1
    FALSE_POSITIVE = 2
    MERGED = 3
    SPLIT = 4
    OUTLINE = 5


# Okabe and Ito's palette but for the last, which is white and stands out from pictures that are darkened.
KIND_COLOURS = np.array(
    [[0, 0, 0], [240, 228, 66], [213, 94, 0], [86, 180, 233], [0, 158, 115], [255, 255, 255]], np.uint8
)
"""By kind, (kinds + 1, 3)."""
KIND_TITLES = {
    ErrorKind.MISSED: "missed",
    ErrorKind.FALSE_POSITIVE: "false positive",
    ErrorKind.MERGED: "merged",
    ErrorKind.SPLIT: "split",
    ErrorKind.OUTLINE: "outlines that differ",
}


class _Kinds(NamedTuple):
    """Kind of every true and every predicted nucleus, (n,) like their ids."""

    true: NDArray[np.uint8]
    predicted: NDArray[np.uint8]


def error_kinds(
    true_labels: NDArray[np.integer],
    predicted_labels: NDArray[np.integer],
    ignored: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Give the `ErrorKind` of every pixel of two label images, (y, x); 0 where nothing is wrong.

    Missed, merged and split nuclei and false positives are marked whole; of nuclei that are found, the pixels in which
    truth and prediction differ. Pixels that are `ignored`, and nuclei that don't count for them, are not wrong.
    """
    pairs = iou_pairs(true_labels, predicted_labels, ignored)
    kinds, hits = _kinds_of(pairs), pairs.iou >= OBJECT_LEVEL_IOU
    true_index, predicted_index = _index(true_labels, pairs.true_ids), _index(predicted_labels, pairs.predicted_ids)
    expected = np.zeros(len(pairs.true_ids) + 1, np.intp)
    expected[pairs.true_position[hits] + 1] = pairs.predicted_position[hits] + 1
    of_true, of_predicted = np.append(0, kinds.true)[true_index], np.append(0, kinds.predicted)[predicted_index]
    differs = np.where(expected[true_index] != predicted_index, ErrorKind.OUTLINE, 0)
    found = np.where(of_true > 0, of_true, np.where(of_predicted > 0, of_predicted, differs)).astype(np.uint8)
    counts = np.append(True, pairs.true_counts)[true_index] & np.append(True, pairs.predicted_counts)[predicted_index]
    found[~counts] = 0
    if ignored is not None:
        found[ignored] = 0
    return found


def matched_numbers(true_labels: NDArray[np.integer], predicted_labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Give every predicted nucleus the number of the true one that it overlaps most, (y, x); others have numbers of
    their own, above those of the true ones."""
    pairs = iou_pairs(true_labels, predicted_labels)
    numbers = np.append(0, np.arange(len(pairs.predicted_ids)) + int(true_labels.max(initial=0)) + 1)
    # The last one that is written counts.
    order = np.argsort(pairs.iou, kind="stable")
    order = order[pairs.iou[order] >= SPLIT_MERGE_IOU]
    numbers[pairs.predicted_position[order] + 1] = pairs.true_ids[pairs.true_position[order]]
    return numbers[_index(predicted_labels, pairs.predicted_ids)]


def _kinds_of(pairs: IouPairs) -> _Kinds:
    counted = pairs.true_counts[pairs.true_position] & pairs.predicted_counts[pairs.predicted_position]
    partners = (pairs.iou >= SPLIT_MERGE_IOU) & counted
    of_true, of_predicted = pairs.true_position[partners], pairs.predicted_position[partners]
    found, right = np.zeros(len(pairs.true_ids), bool), np.zeros(len(pairs.predicted_ids), bool)
    hits = pairs.iou >= OBJECT_LEVEL_IOU
    found[pairs.true_position[hits]], right[pairs.predicted_position[hits]] = True, True
    is_split = np.bincount(of_true, minlength=len(found)) > 1
    true_of = np.bincount(of_predicted, minlength=len(right))
    true = np.where(found, 0, ErrorKind.MISSED).astype(np.uint8)
    predicted = np.where(right | (true_of > 0), 0, ErrorKind.FALSE_POSITIVE).astype(np.uint8)
    predicted[of_predicted[is_split[of_true]]] = ErrorKind.SPLIT
    predicted[true_of > 1] = ErrorKind.MERGED
    merged_true = of_true[true_of[of_predicted] > 1]
    true[merged_true[~found[merged_true]]] = ErrorKind.MERGED
    true[is_split] = ErrorKind.SPLIT
    return _Kinds(true, predicted)


def _index(labels: NDArray[np.integer], ids: NDArray[np.integer]) -> NDArray[np.intp]:
    """Give the position of each label among the ids, from 1 on; 0 where there is none that is compared."""
    if not len(ids):
        return np.zeros(labels.shape, np.intp)
    position = np.minimum(np.searchsorted(ids, labels), len(ids) - 1)
    return np.where((labels > 0) & (ids[position] == labels), position + 1, 0)
