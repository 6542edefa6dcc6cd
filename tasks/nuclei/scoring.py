"""Compare predicted with true label images: F1 over IoU thresholds, split and merge errors.

As in the paper ("Quantitative Assessment"), at an IoU threshold t

- TP(t) is the number of true nuclei that have IoU >= t with a predicted one,
- FN(t) is the number of true nuclei that have none,
- FP(t) is the number of predicted nuclei that have IoU >= t with no true one,
- F1(t) = 2 TP / (2 TP + FN + FP).

`stardist.matching.matching` and `cellpose.metrics.average_precision` pair the nuclei one to one
(optimal assignment) and take FP as predicted nuclei minus TP. Above 0.5 a nucleus can have such an
IoU with one other only, so all three give the same numbers. From 0.5 down they differ where several
nuclei match the same one: two true nuclei under one predicted nucleus, both with IoU >= t, are two
TP here and one TP and one FN there; a true nucleus cut in two halves of IoU 0.5 each is one TP at
0.5 here, and one TP and one FP there. So F1 here is never below theirs.

Of a field that is annotated in part, ignored pixels are left out as void ones are of panoptic quality (Kirillov et al.,
CVPR 2019, section 4.1), in both label images alike:

- IoU is that of the annotated parts of both nuclei, so that it is the same whether a nucleus was annotated beyond the
  ignored area's edge or cut off at it.
- A nucleus of which more than half is ignored isn't counted: it is no TP, FP or FN, and no partner of a split or merge.
- It may be the match of one that counts, as ignored regions are in COCO's evaluation: a predicted nucleus that lies a
  little less than half in an ignored area is no FP if a true one a little more than half in it has IoU >= t with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.ignored import MOST_IGNORED_SHARE
from tasks.nuclei.runs import Runs, row_runs

# The quotient of two whole numbers is the float nearest to the decimal, so that an IoU of exactly 7/10 is >= 0.7.
IOU_THRESHOLDS = tuple(hundredths / 100 for hundredths in range(5, 100, 5))
OBJECT_LEVEL_IOU, PIXEL_LEVEL_IOU = 0.7, 0.9
SPLIT_MERGE_IOU = 0.1
SHOWN_IOU_THRESHOLDS = (OBJECT_LEVEL_IOU, PIXEL_LEVEL_IOU)
"""Where the paper counts nuclei as found, and their outlines as exact: the F1 that notes and tables show."""
REPORTED_IOU_THRESHOLDS = (0.5, OBJECT_LEVEL_IOU, PIXEL_LEVEL_IOU)
"""Single points of the curve that are shown by themselves."""

_MAX_LABEL = 2**32 - 1
_MAX_DENSE_CELLS = 2**24


class IouPairs(NamedTuple):
    """IoU of every pair of a true and a predicted nucleus that share a pixel; any other pair has IoU 0.

    `true_ids` and `predicted_ids` are the label numbers in rising order. The other three have one
    entry per pair: the nuclei as positions in the id arrays, and their IoU (float64). The last two say of each id
    whether its nucleus counts; nuclei that are ignored whole are not among them.
    """

    true_ids: NDArray[np.integer]
    predicted_ids: NDArray[np.integer]
    true_position: NDArray[np.integer]
    predicted_position: NDArray[np.integer]
    iou: NDArray[np.float64]
    true_counts: NDArray[np.bool_]
    predicted_counts: NDArray[np.bool_]


@dataclass(frozen=True)
class InstanceScores:
    """Score of every nucleus of one fov that counts; arrays are parallel to `true_ids` or `predicted_ids`.

    `..._iou` is the best IoU with a nucleus of the other label image, 0 without overlap;
    `..._partners` the number of nuclei of the other that count and have IoU >= 0.1.
    """

    true_ids: NDArray[np.integer]
    true_iou: NDArray[np.float64]
    true_partners: NDArray[np.integer]
    predicted_ids: NDArray[np.integer]
    predicted_iou: NDArray[np.float64]
    predicted_partners: NDArray[np.integer]

    def splits(self) -> NDArray[np.integer]:
        """Numbers of the true labels with IoU >= 0.1 with more than one predicted."""
        return self.true_ids[self.true_partners > 1]

    def merges(self) -> NDArray[np.integer]:
        """Numbers of the predicted labels with IoU >= 0.1 with more than one true."""
        return self.predicted_ids[self.predicted_partners > 1]


@dataclass(frozen=True)
class Counts:
    """Counts of a fov, or their sums over several. `tp`, `fp`, `fn` have one entry per IoU threshold."""

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    true_nuclei: int
    predicted_nuclei: int
    splits: int
    merges: int


def iou_pairs(
    true_labels: NDArray[np.integer],
    predicted_labels: NDArray[np.integer],
    ignored: NDArray[np.bool_] | None = None,
) -> IouPairs:
    """Give the IoU of all overlapping nuclei of two label images (y, x) of the same shape.

    Labels may have any integer dtype and any numbers from 1 to 4,294,967,295, with or without gaps. `ignored`, (y, x)
    too, says which pixels aren't annotated; all are if it isn't given. Raises InputError for different shapes, other
    dtypes and other labels.
    """
    _check_kind(true_labels, predicted_labels, ignored)
    runs = row_runs(true_labels, predicted_labels, *([] if ignored is None else [ignored]))
    true_of_run, predicted_of_run = runs.labels(true_labels), runs.labels(predicted_labels)
    _check_labels("true", true_of_run)
    _check_labels("predicted", predicted_of_run)
    seen = np.s_[:] if ignored is None else ~runs.labels(ignored)
    overlaps = _overlaps(true_of_run[seen], predicted_of_run[seen], runs.length_px[seen])
    true_label, predicted_label, intersection = overlaps
    true_numbers, true_index = np.unique(true_label, return_inverse=True)
    predicted_numbers, predicted_index = np.unique(predicted_label, return_inverse=True)
    true_area = np.bincount(true_index, weights=intersection)
    predicted_area = np.bincount(predicted_index, weights=intersection)
    iou = intersection / (true_area[true_index] + predicted_area[predicted_index] - intersection)

    both = (true_label > 0) & (predicted_label > 0)
    true_ids, predicted_ids = true_numbers[true_numbers > 0], predicted_numbers[predicted_numbers > 0]
    return IouPairs(
        true_ids=true_ids,
        predicted_ids=predicted_ids,
        true_position=np.searchsorted(true_ids, true_label[both]),
        predicted_position=np.searchsorted(predicted_ids, predicted_label[both]),
        iou=iou[both],
        true_counts=_counted(true_ids, true_of_run, runs, ignored),
        predicted_counts=_counted(predicted_ids, predicted_of_run, runs, ignored),
    )


def without_predicted(pairs: IouPairs, kept: NDArray[np.bool_]) -> IouPairs:
    """Give the pairs that there are when only the predicted nuclei of `kept`, (n,) like `predicted_ids`, are left."""
    left = kept[pairs.predicted_position]
    position = np.cumsum(kept) - 1
    return IouPairs(
        true_ids=pairs.true_ids,
        predicted_ids=pairs.predicted_ids[kept],
        true_position=pairs.true_position[left],
        predicted_position=position[pairs.predicted_position[left]],
        iou=pairs.iou[left],
        true_counts=pairs.true_counts,
        predicted_counts=pairs.predicted_counts[kept],
    )


def score_instances(
    true_labels: NDArray[np.integer],
    predicted_labels: NDArray[np.integer],
    ignored: NDArray[np.bool_] | None = None,
) -> InstanceScores:
    """Score every nucleus of two label images of the same shape; see `iou_pairs` for what they may hold."""
    return score_pairs(iou_pairs(true_labels, predicted_labels, ignored))


def score_pairs(pairs: IouPairs) -> InstanceScores:
    """Score every nucleus of two label images that `iou_pairs` compared."""
    both_count = pairs.true_counts[pairs.true_position] & pairs.predicted_counts[pairs.predicted_position]
    partners = (pairs.iou >= SPLIT_MERGE_IOU) & both_count
    true_iou = _best(pairs.iou, pairs.true_position, len(pairs.true_ids))
    predicted_iou = _best(pairs.iou, pairs.predicted_position, len(pairs.predicted_ids))
    true_partners = np.bincount(pairs.true_position[partners], minlength=len(pairs.true_ids))
    predicted_partners = np.bincount(pairs.predicted_position[partners], minlength=len(pairs.predicted_ids))
    return InstanceScores(
        true_ids=pairs.true_ids[pairs.true_counts],
        true_iou=true_iou[pairs.true_counts],
        true_partners=true_partners[pairs.true_counts],
        predicted_ids=pairs.predicted_ids[pairs.predicted_counts],
        predicted_iou=predicted_iou[pairs.predicted_counts],
        predicted_partners=predicted_partners[pairs.predicted_counts],
    )


def count(scores: InstanceScores, iou_thresholds: Sequence[float] = IOU_THRESHOLDS) -> Counts:
    """Count hits and errors of one fov."""
    thresholds = np.asarray(iou_thresholds)[:, np.newaxis]
    return Counts(
        tp=np.count_nonzero(scores.true_iou >= thresholds, axis=1),
        fp=np.count_nonzero(scores.predicted_iou < thresholds, axis=1),
        fn=np.count_nonzero(scores.true_iou < thresholds, axis=1),
        true_nuclei=len(scores.true_ids),
        predicted_nuclei=len(scores.predicted_ids),
        splits=len(scores.splits()),
        merges=len(scores.merges()),
    )


def pool(fovs: Sequence[Counts]) -> Counts:
    """Sum the counts of fovs, as the paper does for a cell line. `fovs` must not be empty."""
    return Counts(
        tp=np.sum([fov.tp for fov in fovs], axis=0),
        fp=np.sum([fov.fp for fov in fovs], axis=0),
        fn=np.sum([fov.fn for fov in fovs], axis=0),
        true_nuclei=sum(fov.true_nuclei for fov in fovs),
        predicted_nuclei=sum(fov.predicted_nuclei for fov in fovs),
        splits=sum(fov.splits for fov in fovs),
        merges=sum(fov.merges for fov in fovs),
    )


def f1_score(tp: NDArray[np.number], fp: NDArray[np.number], fn: NDArray[np.number]) -> NDArray[np.float64]:
    """Give 2 TP / (2 TP + FN + FP); 1 where there is neither a true nor a predicted nucleus, as nothing is wrong."""
    twice_tp = 2.0 * np.asarray(tp)
    nuclei = twice_tp + fn + fp
    f1: NDArray[np.float64] = np.divide(twice_tp, nuclei, out=np.ones_like(nuclei), where=nuclei > 0)
    return f1


def error_rate(errors: int, true_nuclei: int) -> float:
    """Give the errors per true nucleus, also for false positives and merges, as in the paper's Fig. S3.

    There 40 false positives among 1,349 true nuclei are 3.0 %, whatever the number of predicted ones, so
    the rate of false positives may exceed 1. Without a true nucleus it is the number of errors.
    """
    return errors / max(true_nuclei, 1)


def _counted(
    ids: NDArray[np.integer], label_of_run: NDArray[np.integer], runs: Runs, ignored: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Say of which nuclei at most half is ignored, (n,) like `ids`."""
    if ignored is None:
        return np.ones(len(ids), np.bool_)
    of_ids = np.isin(label_of_run, ids)
    position, length_px = np.searchsorted(ids, label_of_run[of_ids]), runs.length_px[of_ids]
    area_px, ignored_px = (
        np.bincount(position, weights=length_px * share, minlength=len(ids))
        for share in (1, runs.labels(ignored)[of_ids])
    )
    return np.asarray(ignored_px <= MOST_IGNORED_SHARE * area_px)


def _check_kind(
    true_labels: NDArray[np.integer], predicted_labels: NDArray[np.integer], ignored: NDArray[np.bool_] | None
) -> None:
    if true_labels.shape != predicted_labels.shape:
        raise InputError(
            f"The predicted label image is {predicted_labels.shape} px, the true one {true_labels.shape} px; "
            "they must be of the same image."
        )
    if ignored is not None and ignored.shape != true_labels.shape:
        raise InputError(
            f"What is ignored is {ignored.shape} px, the true label image {true_labels.shape} px; "
            "they must be of the same image."
        )
    for name, labels in (("true", true_labels), ("predicted", predicted_labels)):
        if not np.issubdtype(labels.dtype, np.integer):
            raise InputError(f"The {name} label image is {labels.dtype}; labels must be integers.")


def _check_labels(name: str, labels: NDArray[np.integer]) -> None:
    low, high = labels.min(initial=0), labels.max(initial=0)
    if low < 0:
        raise InputError(f"The {name} label image has the label {low}; labels must be 0 (background) or positive.")
    if high > _MAX_LABEL:
        raise InputError(f"The {name} label image has the label {high}; allowed are up to {_MAX_LABEL}.")


def _overlaps(
    true_labels: NDArray[np.integer], predicted_labels: NDArray[np.integer], length_px: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Give true label, predicted label and number of pixels of every occupied cell of the contingency table.

    The arrays are those of runs of pixels; background has its own row and column. Where the full table would be too
    large, the cells are sorted instead, which takes ten times as long.
    """
    rows, columns = (int(labels.max(initial=0)) + 1 for labels in (true_labels, predicted_labels))
    is_dense = rows * columns <= _MAX_DENSE_CELLS
    # 32-bit labels of both images fit into one unsigned 64-bit number.
    dtype = np.dtype(np.intp if is_dense else np.uint64)
    cell = true_labels.astype(dtype) * dtype.type(columns) + predicted_labels.astype(dtype)
    if is_dense:
        table = np.bincount(cell, weights=length_px)
        occupied = np.flatnonzero(table > 0)
        pixels = table[occupied]
    else:
        occupied, position = np.unique(cell, return_inverse=True)
        pixels = np.bincount(position, weights=length_px)
    true_label, predicted_label = np.divmod(occupied, dtype.type(columns))
    return true_label.astype(np.int64), predicted_label.astype(np.int64), pixels.astype(np.int64)


def _best(iou: NDArray[np.float64], position: NDArray[np.integer], nuclei: int) -> NDArray[np.float64]:
    best = np.zeros(nuclei)
    np.maximum.at(best, position, iou)
    return best
