"""Nuclei from maps, without a network."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage

from tasks.methods.jacobkie.method import Settings
from tasks.methods.jacobkie.nuclei import agreement, best_of_zooms, nuclei_from_maps, seams
from tasks.methods.jacobkie.positions import position_maps
from tasks.methods.jacobkie.segmenter import STEPS_OF_ONE, JacobkieSegmenter, SeenZooms
from tasks.nuclei.scoring import score_instances
from tasks.nuclei.segmentation import magnified
from tasks.nuclei.synthesis import KINDS, synthesize_fov
from tests.many_disks import apart_px, disks


def perfect_maps(label_image: np.ndarray) -> np.ndarray:
    return np.concatenate([(label_image > 0)[..., np.newaxis], position_maps(label_image)], axis=-1, dtype=np.float32)


@pytest.mark.parametrize(("kind", "least"), [("MCF10A", 0.97), ("U2OS", 0.97), ("HCT116", 0.9), ("Eosinophils", 0.8)])
def test_perfect_maps_give_the_true_nuclei_back(kind: str, least: float) -> None:
    true = synthesize_fov(KINDS[kind], (400, 500), np.random.default_rng(3)).label_image
    predicted = nuclei_from_maps(perfect_maps(true), Settings())
    scores = score_instances(true, predicted)
    large = np.bincount(true.ravel())[scores.true_ids] > 60
    assert (scores.true_iou[large] > 0.8).mean() >= least


def test_two_squares_that_touch_are_parted_where_positions_fall() -> None:
    label_image = np.zeros((40, 60), int)
    label_image[10:30, 10:30], label_image[10:30, 30:50] = 1, 2
    maps = perfect_maps(label_image)
    assert_array_equal(np.flatnonzero(seams(maps[..., 1:5])[20, 15:45]), [13, 14, 15, 16])
    found = nuclei_from_maps(maps, Settings())
    assert len(np.unique(found[12:28, 12:28])) == len(np.unique(found[12:28, 32:48])) == 1
    assert found[20, 20] != found[20, 40]


@pytest.mark.parametrize("zoom", [0.61, 0.77, 1.09, 1.68])
def test_nuclei_lie_where_they_are_in_the_image_whatever_the_zoom(zoom: float) -> None:
    image = (disks((400, 600)) > 0).astype(np.float32)
    maps = perfect_maps(ndimage.label(magnified(image, zoom) > 0.5)[0])
    seen = SeenZooms([np.rint(STEPS_OF_ONE * maps).astype(np.int8)], image.shape)
    assert apart_px(JacobkieSegmenter.nuclei_in(seen, Settings()).label_image, image) < 0.1


def test_two_lobes_of_one_nucleus_stay_together() -> None:
    label_image = np.zeros((40, 60), int)
    label_image[10:30, 8:26], label_image[10:30, 34:52], label_image[16:24, 26:34] = 1, 1, 1
    found = nuclei_from_maps(perfect_maps(label_image), Settings())
    assert len(np.unique(found[label_image == 1])) == 1


def test_positions_agree_with_the_true_outline_more_than_with_two_halves_of_it() -> None:
    whole = np.zeros((30, 30), np.int32)
    whole[5:25, 5:25] = 1
    halves = whole.copy()
    halves[5:25, 15:25] = 2
    maps = perfect_maps(whole)
    assert agreement(whole, maps)[1] == pytest.approx(1)
    assert agreement(halves, maps)[1:].max() < 0.8
    assert agreement(whole, maps * [0.6, *[1] * 8])[1] == pytest.approx(0.6)


def test_the_best_nucleus_of_all_zooms_stays_and_the_others_where_most_of_them_is_free() -> None:
    one, other = np.zeros((20, 20), np.int32), np.zeros((20, 20), np.int32)
    one[2:8, 2:8], one[12:18, 12:18] = 1, 2
    other[2:8, 2:14], other[12:18, 11:18] = 1, 2
    merged, confidences = best_of_zooms([one, other], [np.array([0, 0.9, 0.3]), np.array([0, 0.5, 0.8])])
    # Of the wide one in `other`, exactly half is taken; the second of `one` is taken whole.
    assert_array_equal(merged > 0, (one == 1) | (other == 2))
    assert sorted(np.unique(merged)) == [0, 1, 2]
    assert confidences.tolist() == pytest.approx([0.9, 0.8])
    other[2:8, 14] = 1
    merged = best_of_zooms([one, other], [np.array([0, 0.9, 0.3]), np.array([0, 0.5, 0.8])]).label_image
    assert_array_equal(merged > 0, (one == 1) | (other > 0))
    assert (merged[2:8, 2:8] == merged[2, 2]).all()
    assert merged[2, 9] not in (0, merged[2, 2])
