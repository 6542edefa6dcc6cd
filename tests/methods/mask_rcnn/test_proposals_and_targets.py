"""Proposals and training targets on images with two nuclei."""

import numpy as np
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from tasks.methods.mask_rcnn import boxes as box_geometry
from tasks.methods.mask_rcnn.anchors import anchors_of
from tasks.methods.mask_rcnn.proposals import propose
from tasks.methods.mask_rcnn.targets import anchor_targets, masks_of, proposal_targets

SIDE = 256
NUCLEI = np.array([[20, 30, 50, 60], [100, 100, 150, 140], [0, 0, 0, 0]], np.float32)
SEED = np.array([1, 2], np.int32)


def label_image() -> NDArray[np.uint16]:
    image = np.zeros((SIDE, SIDE), np.uint16)
    image[20:50, 30:60] = 1
    image[100:125, 100:140] = 2  # The upper half of its box, but for one pixel.
    image[149, 139] = 2
    return image


def logits_for(anchors: NDArray[np.float32], scores: dict[int, float]) -> NDArray[np.float32]:
    logits = np.zeros((1, len(anchors), 2), np.float32)
    logits[..., 1] = -10
    for row, score in scores.items():
        logits[0, row, 1] = score
    return logits


def test_of_boxes_that_overlap_much_the_best_is_proposed() -> None:
    anchors = np.array([[10, 10, 30, 30], [10, 11, 30, 31], [100, 100, 120, 120]], np.float32)
    logits = logits_for(anchors, {0: 3, 1: 4, 2: 2})
    found = propose(logits, np.zeros((1, 3, 4), np.float32), anchors, SIDE, 4).numpy()
    assert_allclose(found, [[[10, 11, 30, 31], [100, 100, 120, 120], [0, 0, 0, 0], [0, 0, 0, 0]]])


def test_proposals_are_moved_by_what_the_network_says_and_clipped() -> None:
    anchors = np.array([[0, 0, 20, 20]], np.float32)
    deltas = box_geometry.encode(np.array([[-10, 5, 30, 45]], np.float32), anchors).numpy()[np.newaxis]
    found = propose(np.zeros((1, 1, 2), np.float32), deltas, anchors, SIDE, 1).numpy()
    assert_allclose(found, [[[0, 5, 30, 45]]], atol=1e-3)


def test_every_nucleus_has_an_anchor_and_its_targets_lead_to_it() -> None:
    anchors = anchors_of(SIDE)
    targets = anchor_targets(anchors, NUCLEI, SEED)
    rows = np.flatnonzero(targets.is_nucleus)
    decoded = box_geometry.decode(targets.deltas.numpy()[rows], anchors[rows]).numpy()
    nearest = np.argmax(box_geometry.iou(anchors[rows], NUCLEI), axis=1)
    assert set(nearest.tolist()) == {0, 1}
    assert_allclose(decoded, NUCLEI[nearest], atol=1e-2)


def test_a_crumb_that_no_anchor_comes_near_has_none() -> None:
    anchors, crumb = anchors_of(SIDE), np.array([[30, 30, 32, 32]], np.float32)
    assert 0 < box_geometry.iou(anchors, crumb).numpy().max() < 0.3
    assert not anchor_targets(anchors, crumb, SEED).is_nucleus.numpy().any()


def test_so_many_anchors_count_as_asked_for_and_none_of_those_in_between() -> None:
    anchors = anchors_of(SIDE)
    targets = anchor_targets(anchors, NUCLEI, SEED)
    counts, is_nucleus = targets.counts.numpy(), targets.is_nucleus.numpy()
    assert counts.sum() == 256
    best = box_geometry.iou(anchors, NUCLEI).numpy().max(axis=1)
    assert best[counts & ~is_nucleus].max() < 0.3
    assert (counts & is_nucleus).sum() == min(is_nucleus.sum(), 128)


def test_without_a_nucleus_all_anchors_that_count_are_background() -> None:
    targets = anchor_targets(anchors_of(SIDE), np.zeros((3, 4), np.float32), SEED)
    assert not targets.is_nucleus.numpy().any()
    assert targets.counts.numpy().sum() == 256
    assert np.isfinite(targets.deltas).all()


def test_the_same_seed_draws_the_same_and_another_one_others() -> None:
    anchors = anchors_of(SIDE)
    first, same, other = (anchor_targets(anchors, NUCLEI, seed).counts.numpy() for seed in (SEED, SEED, SEED + 1))
    assert (first == same).all()
    assert not (first == other).all()


def left_half() -> NDArray[np.float32]:
    """Sums of an image of which the left half isn't annotated."""
    sums: NDArray[np.float32] = box_geometry.sums_of(np.tile(np.arange(SIDE) < SIDE // 2, (SIDE, 1))).numpy()
    return sums


def test_anchors_that_may_be_on_a_nucleus_that_nobody_annotated_do_not_count() -> None:
    anchors, nuclei = anchors_of(SIDE), np.array([[100, 180, 150, 220]], np.float32)
    for number in range(5):
        targets = anchor_targets(anchors, nuclei, SEED + number, left_half())
        background = targets.counts.numpy() & ~targets.is_nucleus.numpy()
        assert box_geometry.share_in(anchors[background], left_half()).numpy().max() < 0.3
        assert background.sum() >= 128
        assert (targets.counts & targets.is_nucleus).numpy().any()


PROPOSALS = np.array(
    [[22, 30, 52, 60], [95, 100, 145, 140], [200, 200, 220, 220], [10, 100, 40, 130], [24, 90, 54, 120], [0, 0, 0, 0]],
    np.float32,
)


def test_proposals_near_nuclei_come_first_with_targets_that_lead_to_them() -> None:
    targets = proposal_targets(PROPOSALS, NUCLEI, label_image(), SEED, 12)
    boxes, counts = targets.boxes.numpy(), targets.counts.numpy()
    # Two proposals and the nuclei themselves are on nuclei, three proposals beside.
    assert counts.tolist() == [True] * 4 + [True] * 3 + [False] * 5
    decoded = box_geometry.decode(targets.deltas, boxes[:4]).numpy()
    nearest = np.argmax(box_geometry.iou(boxes[:4], NUCLEI), axis=1)
    assert_allclose(decoded, NUCLEI[nearest], atol=1e-2)
    assert {tuple(box) for box in boxes[4:7]} == {tuple(box) for box in PROPOSALS[2:5]}


def test_proposals_that_may_be_on_a_nucleus_that_nobody_annotated_do_not_count() -> None:
    on_the_right = np.array([[100, 180, 150, 220], [0, 0, 0, 0]], np.float32)
    proposals = np.array([[0, 0, 30, 30], [40, 108, 60, 148], [40, 120, 60, 160], [98, 180, 150, 220]], np.float32)
    empty = np.zeros_like(label_image())
    targets = proposal_targets(proposals, on_the_right, empty, SEED, 12, left_half())
    boxes = {tuple(box) for box in targets.boxes.numpy()[targets.counts.numpy()].tolist()}
    assert boxes == {(100, 180, 150, 220), (98, 180, 150, 220), (40, 120, 60, 160)}
    everywhere = proposal_targets(proposals, on_the_right, empty, SEED, 12)
    assert everywhere.counts.numpy().sum() == 5


def test_of_too_many_proposals_a_third_is_on_nuclei() -> None:
    proposals = np.concatenate([np.tile(NUCLEI[:2], (20, 1)), np.tile(PROPOSALS[2:4], (20, 1))])
    targets = proposal_targets(proposals, NUCLEI, label_image(), SEED, 30)
    assert targets.counts.numpy().all()
    assert targets.masks.shape == (10, 28, 28)
    assert box_geometry.iou(targets.boxes[:10], NUCLEI).numpy().max(axis=1).min() == 1


def test_an_image_without_nuclei_gives_background_to_learn_from() -> None:
    empty = np.zeros_like(label_image())
    targets = proposal_targets(PROPOSALS, np.zeros((3, 4), np.float32), empty, SEED, 12)
    assert targets.counts.numpy().tolist() == [False] * 4 + [True] * 2 + [False] * 6
    assert np.isfinite(targets.deltas).all()


def test_a_mask_is_that_of_its_nucleus_alone() -> None:
    masks = masks_of(label_image(), NUCLEI[[0, 1]], np.array([1, 2], np.int32)).numpy()
    assert masks[0].min() == 1
    assert masks[1][:13].min() == 1
    assert masks[1][15:].sum() == 1
    assert masks_of(label_image(), NUCLEI[[0]], np.array([2], np.int32)).numpy().max() == 0
