"""Mask R-CNN on whole fields."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage

from tasks.methods.mask_rcnn.method import Settings
from tasks.methods.mask_rcnn.network import SIDE_PX, Architecture, Detections, MaskRcnn
from tasks.methods.mask_rcnn.segmenter import OVERLAP_PX, MaskRcnnSegmenter, SeenTiles
from tasks.methods.mask_rcnn.tiles import tiles_of
from tasks.nuclei.scoring import score_instances
from tasks.nuclei.segmentation import magnified
from tasks.nuclei.synthesis import KINDS, synthesize_fov
from tests.many_disks import apart_px, disks

SMALL = Architecture(depth=50, pyramid_filters=8, rpn_filters=8, head_units=8, mask_filters=8, scaling="robust")


def perfectly_detected(label_image: np.ndarray) -> Detections:
    """What a perfect network says of a tile: a box and a mask of 28 x 28 for each nucleus."""
    boxes, masks = [], []
    for label, window in enumerate(ndimage.find_objects(label_image), start=1):
        if window is not None:
            rows, columns = window
            boxes.append([rows.start, columns.start, rows.stop, columns.stop])
            masks.append(cv2.resize((label_image[window] == label).astype(np.float32), (28, 28)))
    amount = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(amount, 4),
        np.linspace(0.99, 0.9, amount, dtype=np.float32),
        np.array(masks, np.float32).reshape(amount, 28, 28),
    )


def seen(label_image: np.ndarray, **changes: Any) -> SeenTiles:
    height, width = label_image.shape
    tiles = tiles_of((height, width), SIDE_PX, OVERLAP_PX)
    found = [perfectly_detected(np.ascontiguousarray(label_image[tile.window])) for tile in tiles]
    return replace(SeenTiles(tiles, found, (height, width), (height, width)), **changes)


def test_what_is_detected_in_overlapping_tiles_becomes_the_nuclei_of_the_field() -> None:
    truth = synthesize_fov(KINDS["MCF10A"], (600, 700), np.random.default_rng(0)).label_image
    found = MaskRcnnSegmenter.nuclei_in(seen(truth), Settings()).label_image
    assert found.max() == len(np.unique(found)) - 1
    inside = [
        label for label, w in enumerate(ndimage.find_objects(truth), start=1) if w and (truth == label).sum() > 100
    ]
    scores = score_instances(truth, found)
    iou = dict(zip(scores.true_ids, scores.true_iou, strict=True))
    assert min(iou[label] for label in inside) > 0.75


def test_detections_below_the_score_are_left_out() -> None:
    truth = np.zeros((256, 256), np.int32)
    truth[20:60, 20:60], truth[100:150, 100:150] = 1, 2
    both = seen(truth)
    scores = both.detections[0]._replace(scores=np.array([0.8, 0.6], np.float32))
    one = MaskRcnnSegmenter.nuclei_in(seen(truth, detections=[scores]), Settings(min_score=0.7)).label_image
    assert (one.max(), one[40, 40], one[120, 120]) == (1, 1, 0)
    assert MaskRcnnSegmenter.nuclei_in(both, Settings(min_score=0.7)).label_image.max() == 2


def test_of_a_nucleus_that_another_cuts_in_two_the_larger_piece_stays() -> None:
    boxes = np.array([[0, 50, 100, 60], [40, 0, 60, 150]], np.float32)
    detections = Detections(boxes, np.array([0.9, 0.8], np.float32), np.ones((2, 28, 28), np.float32))
    empty = np.zeros((256, 256), np.int32)
    label_image = MaskRcnnSegmenter.nuclei_in(seen(empty, detections=[detections]), Settings()).label_image
    assert (label_image[50, 20], label_image[50, 55], label_image[50, 100]) == (0, 1, 2)


def test_a_magnified_field_gets_a_label_image_of_its_own_size() -> None:
    truth = np.zeros((300, 400), np.int32)
    truth[100:160, 100:160] = 1
    half = MaskRcnnSegmenter.nuclei_in(seen(truth, field_shape=(150, 200)), Settings()).label_image
    assert half.shape == (150, 200)
    assert_array_equal(half > 0, truth[::2, ::2] > 0)


@pytest.mark.parametrize("zoom", [0.61, 0.77, 1.09, 1.68])
def test_nuclei_lie_where_they_are_in_the_image_whatever_the_zoom(zoom: float) -> None:
    image = (disks((400, 600)) > 0).astype(np.float32)
    found, _ = ndimage.label(magnified(image, zoom) > 0.5)
    label_image = MaskRcnnSegmenter.nuclei_in(seen(found, field_shape=image.shape), Settings()).label_image
    assert apart_px(label_image, image) < 0.1


@pytest.fixture(scope="module")
def network() -> MaskRcnn:
    return MaskRcnn(SMALL)


@pytest.mark.parametrize("shape", [(90, 130), (256, 256), (300, 520)])
def test_fields_of_any_size_and_depth_are_segmented(network: MaskRcnn, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 4000, shape).astype(np.uint16)
    model = MaskRcnnSegmenter(network, Settings(min_score=0.3))
    label_image = model.segment(image)
    assert label_image.shape == shape
    assert label_image.dtype == np.int32
    assert_array_equal(label_image, model.segment(image))


def test_a_field_of_which_nothing_is_seen_is_empty() -> None:
    empty = np.zeros((300, 300), np.int32)
    found = MaskRcnnSegmenter.nuclei_in(seen(empty), Settings())
    assert (found.label_image.max(), found.confidences.tolist()) == (0, [])


def test_the_confidence_of_a_nucleus_is_the_best_score_among_its_pieces_in_the_tiles() -> None:
    truth = np.zeros((256, 460), np.int32)
    truth[20:60, 20:60], truth[100:150, 190:270], truth[200:240, 400:440] = 1, 2, 3
    left, right = seen(truth).detections
    scored = [
        left._replace(scores=np.array([0.95, 0.8], np.float32)),
        right._replace(scores=np.array([0.9, 0.75], np.float32)),
    ]
    found = MaskRcnnSegmenter.nuclei_in(seen(truth, detections=scored), Settings())
    by_place = [found.confidences[found.label_image[y, x] - 1] for y, x in ((40, 40), (120, 220), (220, 420))]
    assert by_place == pytest.approx([0.95, 0.9, 0.75])
