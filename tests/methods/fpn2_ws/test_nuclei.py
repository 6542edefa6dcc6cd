"""From a field to its maps and from these to nuclei, without a network."""

from typing import Any

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.segmentation import watershed

from tasks.methods.fpn2_ws.method import Settings
from tasks.methods.fpn2_ws.nuclei import BORDER_SHARE, Maps, nuclei_from_maps, predict_maps
from tasks.nuclei.intensity import grey_levels
from tasks.nuclei.scoring import score_instances
from tasks.nuclei.synthesis import KINDS, synthesize_fov
from tasks.nuclei.targets import blurred_border, distance_map


@pytest.fixture(scope="module")
def colony() -> np.ndarray:
    """True labels of clumped nuclei."""
    return synthesize_fov(KINDS["HCT116"], (300, 420), np.random.default_rng(7)).label_image


def grey_and_complement(images: np.ndarray) -> np.ndarray:
    """A network that answers with the grey value and its complement."""
    assert images.shape[1] % 32 == 0
    assert images.shape[2] % 32 == 0
    values = images.astype(np.float32) / 255
    return np.stack([values, 1 - values], axis=-1)


def gradient(height: int, width: int) -> np.ndarray:
    return np.add.outer(np.arange(height), 2 * np.arange(width)).astype(np.uint16)


def test_perfect_maps_give_the_true_nuclei_back(colony):
    predicted = nuclei_from_maps(Maps(distance_map(colony), blurred_border(colony)), Settings()).label_image
    scores = score_instances(colony, predicted)
    large = np.bincount(colony.ravel())[scores.true_ids] > 40
    assert (scores.true_iou[large] > 0.9).mean() > 0.97


def test_touching_nuclei_are_parted_at_the_border_between_them():
    label_image = np.zeros((40, 60), np.uint16)
    label_image[10:30, 10:30], label_image[10:30, 30:50] = 1, 2
    predicted = nuclei_from_maps(Maps(distance_map(label_image), blurred_border(label_image)), Settings()).label_image
    assert predicted.max() == 2
    assert len(np.unique(predicted[12:28, 12:28])) == 1
    assert len(np.unique(predicted[12:28, 32:48])) == 1


def test_flooding_only_the_pieces_with_several_markers_equals_flooding_all(colony):
    rng = np.random.default_rng(0)
    distance = distance_map(colony) * 0.9 + 0.1 * rng.random(colony.shape, np.float32) * (colony > 0)
    border = blurred_border(colony) + 0.01 * rng.random(colony.shape, np.float32)
    settings = Settings(min_area_px=0)
    ours = nuclei_from_maps(Maps(distance, border), settings).label_image
    markers = cv2.connectedComponents((distance > settings.marker_threshold).astype(np.uint8), connectivity=4)[1]
    whole = watershed(border, markers, mask=distance + BORDER_SHARE * border > settings.foreground_threshold)
    pairs = np.unique(np.stack([ours.ravel(), whole.ravel()]), axis=1)
    assert ours.max() == whole.max()
    assert pairs.shape[1] == whole.max() + 1, "the same regions, under other numbers"


def test_a_piece_of_foreground_without_a_marker_is_no_nucleus():
    distance, border = np.zeros((2, 30, 30), np.float32)
    distance[5:15, 5:15] = 0.5
    assert nuclei_from_maps(Maps(distance, border), Settings(marker_threshold=0.6)).label_image.max() == 0
    assert nuclei_from_maps(Maps(distance, border), Settings(marker_threshold=0.4)).label_image.max() == 1


def test_perfect_maps_make_nuclei_sure_and_low_blunt_ones_make_them_unsure(colony):
    perfect, border = distance_map(colony), blurred_border(colony)
    sure, unsure = (
        nuclei_from_maps(Maps(maps, border), Settings(marker_threshold=0.3)).confidences
        for maps in (perfect, np.minimum(perfect, 0.35))
    )
    assert np.median(sure) > 0.9
    assert np.median(unsure) < 0.75
    assert ((sure >= 0) & (sure <= 1)).all()


def test_a_nucleus_that_is_less_sure_than_the_least_confidence_is_removed(colony):
    maps = Maps(distance_map(colony), blurred_border(colony))
    found = nuclei_from_maps(maps, Settings())
    least = float(np.median(found.confidences))
    kept = nuclei_from_maps(maps, Settings(min_confidence=least))
    assert kept.label_image.max() == len(kept.confidences) == (found.confidences >= least).sum()
    assert kept.confidences.min() >= least


def test_a_predicted_foreground_gives_the_outlines_whatever_the_other_maps_say_there(colony):
    blunt = Maps(distance_map(colony) ** 3, 0 * blurred_border(colony), (colony > 0).astype(np.float32))
    found = nuclei_from_maps(blunt, Settings(min_area_px=0)).label_image
    marked = np.unique(colony[blunt.distance_map > Settings().marker_threshold])
    assert np.array_equal(found[np.isin(colony, marked)] > 0, np.ones(np.isin(colony, marked).sum(), bool))
    assert not found[colony == 0].any()


def test_a_lower_mask_threshold_makes_nuclei_larger(colony):
    wide = cv2.GaussianBlur((colony > 0).astype(np.float32), (0, 0), 2)
    maps = Maps(distance_map(colony), blurred_border(colony), wide)
    large, small = ((nuclei_from_maps(maps, Settings(mask_threshold=t)).label_image > 0).sum() for t in (0.3, 0.7))
    assert large > small


def test_a_field_without_nuclei_has_no_confidences():
    nothing = np.zeros((40, 50), np.float32)
    found = nuclei_from_maps(Maps(nothing, nothing), Settings())
    assert (found.label_image.max(), found.confidences.shape) == (0, (0,))


def test_nuclei_outside_the_size_limits_are_removed_and_the_rest_numbered_from_one():
    distance, border = np.zeros((2, 60, 60), np.float32)
    distance[2:5, 2:5] = distance[10:20, 10:20] = distance[25:55, 25:55] = 1
    settings = Settings(min_area_px=10, max_area_px=200)
    label_image = nuclei_from_maps(Maps(distance, border), settings).label_image
    assert np.bincount(label_image.ravel()).tolist() == [3500, 100]


@pytest.mark.parametrize("shape", [(64, 64), (33, 70), (300, 257), (1, 500)])
@pytest.mark.parametrize("padding", ["zero", "reflect"])
@pytest.mark.parametrize("test_time_augmentation", [False, True])
def test_fields_of_any_size_keep_their_size_and_place(shape, padding, test_time_augmentation):
    image = gradient(*shape)
    settings = Settings(padding=padding, test_time_augmentation=test_time_augmentation, max_tile_px=192, halo_px=32)
    distance, border, _ = predict_maps(image, grey_and_complement, settings, "minmax")
    np.testing.assert_allclose(distance, grey_levels(image, "minmax") / np.float32(255), atol=1e-6)
    np.testing.assert_allclose(border, 1 - grey_levels(image, "minmax") / np.float32(255), atol=1e-6)


@pytest.mark.parametrize("zoom", [0.5, 1.5, 2.0])
def test_a_magnified_field_comes_back_in_its_own_size(zoom):
    image = gradient(120, 90)
    distance, *_ = predict_maps(image, grey_and_complement, Settings(), "minmax", zoom)
    assert distance.shape == image.shape
    np.testing.assert_allclose(distance, grey_levels(image, "minmax") / 255, atol=0.02)


def test_tiles_give_the_nuclei_of_the_whole_field_where_the_halo_covers_the_network_s_view():
    def blur(images):
        values = np.stack([gaussian_filter(image.astype(np.float32) / 255, 3) for image in images])
        return np.stack([values, np.zeros_like(values)], axis=-1)

    image = synthesize_fov(KINDS["MCF10A"], (500, 600), np.random.default_rng(1)).image
    thresholds: dict[str, Any] = {"marker_threshold": 0.4, "foreground_threshold": 0.2}
    in_tiles = Settings(**thresholds, max_tile_px=256, halo_px=32)
    in_one = Settings(**thresholds)
    whole, tiled = (nuclei_from_maps(predict_maps(image, blur, s, "minmax"), s).label_image for s in (in_one, in_tiles))
    assert whole.max() > 5
    assert np.array_equal(whole, tiled)
