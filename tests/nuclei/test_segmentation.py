"""Tiles, padding, the flood from markers and size limits, without a network."""

import cv2
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from tasks.nuclei.segmentation import (
    ConfidenceSettings,
    SegmentationSettings,
    TiledSettings,
    flooded,
    magnified,
    predict_tiled,
    within_limits,
)


def grey_levels(images: np.ndarray) -> np.ndarray:
    """A network that answers with the grey value and its complement."""
    assert images.shape[1] % 32 == 0
    assert images.shape[2] % 32 == 0
    values = images.astype(np.float32) / 255
    return np.stack([values, 1 - values], axis=-1)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width), np.uint8)


@pytest.mark.parametrize("shape", [(64, 64), (33, 70), (300, 257), (1, 500)])
@pytest.mark.parametrize("padding", ["zero", "reflect"])
def test_fields_of_any_size_keep_their_size_and_place(shape, padding):
    grey = noise(*shape)
    maps = predict_tiled(grey, grey_levels, TiledSettings(padding=padding, max_tile_px=192, halo_px=32))
    np.testing.assert_allclose(maps[..., 0], grey / np.float32(255), atol=1e-6)
    np.testing.assert_allclose(maps[..., 1], 1 - grey / np.float32(255), atol=1e-6)


@pytest.mark.parametrize(("padding", "beyond"), [("zero", 0), ("reflect", 9)])
def test_beyond_its_edges_a_field_goes_on_as_the_padding_says(padding, beyond):
    seen = []

    def predict(images):
        seen.append(images)
        return grey_levels(images)

    predict_tiled(np.full((20, 20), 9, np.uint8), predict, TiledSettings(padding=padding))
    assert seen[0].shape == (1, 32, 32)
    assert (seen[0][0, 20:] == beyond).all()


def test_no_tile_is_longer_than_the_limit():
    seen = []

    def predict(images):
        seen.append(images.shape[1:])
        return grey_levels(images)

    predict_tiled(noise(700, 1000), predict, TiledSettings(max_tile_px=256, halo_px=32))
    assert len(seen) > 1
    assert max(max(shape) for shape in seen) <= 256


@pytest.mark.parametrize("shape", [(700, 1000), (257, 415), (513, 2048)])
def test_tiles_lie_on_the_grid_of_the_network(shape):
    def corner_of_each_block(images):
        """What a network that halves its images five times and enlarges them again can tell."""
        blocks = images[:, ::32, ::32].repeat(32, 1).repeat(32, 2)
        return grey_levels(blocks)

    whole, tiled = (
        predict_tiled(noise(*shape), corner_of_each_block, TiledSettings(max_tile_px=tile, halo_px=32))
        for tile in (8192, 192)
    )
    np.testing.assert_array_equal(tiled, whole)


@pytest.mark.parametrize("zoom", [0.31, 0.77, 1.09, 1.68, 2.3])
@pytest.mark.parametrize("length", [97, 400])
def test_a_field_lies_where_it_was_when_it_is_magnified_and_back(zoom, length):
    ramp = np.tile(np.arange(length, dtype=np.float32), (length, 1))
    back = cv2.resize(magnified(ramp, zoom), ramp.shape, interpolation=cv2.INTER_LINEAR)
    inner = slice(8, -8)
    np.testing.assert_allclose(back[inner, inner], ramp[inner, inner], atol=0.08)


def test_a_tile_no_larger_than_its_halos_is_refused():
    with pytest.raises(ValueError, match="max_tile_px=128 must be more than twice halo_px=64"):
        TiledSettings(max_tile_px=128, halo_px=64)
    assert TiledSettings(max_tile_px=160, halo_px=64).halo_px == 64


@pytest.mark.parametrize(("zoom", "shape"), [(0.5, (10, 15)), (1, (20, 30)), (2, (40, 60))])
def test_a_field_is_magnified_as_the_networks_see_it(zoom, shape):
    assert magnified(np.full((20, 30), 7, np.uint8), zoom).tolist() == np.full(shape, 7).tolist()


def test_a_piece_of_foreground_is_flooded_from_its_markers_and_one_without_is_no_nucleus():
    foreground, marked = np.zeros((2, 5, 16), bool)
    foreground[1:4, 1:10], foreground[1:4, 12:15] = True, True
    marked[2, 2] = marked[2, 8] = True
    landscape = np.zeros((5, 16), np.float32)
    landscape[:, 5] = 1  # The ridge between the two.
    label_image = flooded(marked, foreground, landscape)
    assert label_image[2].tolist() == [0, 1, 1, 1, 1, label_image[2, 5], 2, 2, 2, 2, 0, 0, 0, 0, 0, 0]
    assert label_image[2, 5] in (1, 2)


def test_nuclei_outside_the_size_limits_are_removed_and_the_rest_numbered_from_one():
    label_image = np.zeros((60, 60), np.int32)
    label_image[2:5, 2:5], label_image[10:20, 10:20], label_image[25:55, 25:55] = 1, 2, 3
    kept, confidences = within_limits(label_image, None, SegmentationSettings(min_area_px=10, max_area_px=200))
    assert np.bincount(kept.ravel()).tolist() == [3500, 100]
    assert (kept[10:20, 10:20] == 1).all()
    assert_array_equal(confidences, [np.nan])


def test_nuclei_below_the_minimum_confidence_are_removed_and_the_others_keep_theirs():
    label_image = np.array([[1, 0, 3], [4, 5, 0]], np.int32)
    sure = np.array([0.5, 0.9, 0.3, np.nan, 0.7])
    kept, confidences = within_limits(label_image, sure, ConfidenceSettings(min_area_px=1, min_confidence=0.5))
    assert kept.tolist() == [[1, 0, 0], [2, 3, 0]]
    assert_array_equal(confidences, np.array([0.5, np.nan, 0.7], np.float32))


def test_by_default_no_nucleus_is_removed_for_its_confidence():
    label_image = np.array([[1, 2, 3]], np.int32)
    found = within_limits(label_image, np.array([0, 1, np.nan]), ConfidenceSettings(min_area_px=0))
    assert found.label_image.tolist() == [[1, 2, 3]]
