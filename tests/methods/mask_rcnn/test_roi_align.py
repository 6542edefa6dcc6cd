"""RoIAlign against interpolation by scipy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from tasks.methods.mask_rcnn.roi_align import align, levels_of

SIDE = 256


def pyramid(channels: int = 2, images: int = 2) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(images, side, side, channels)).astype(np.float32) for side in (64, 32, 16, 8)]


def interpolated(feature: NDArray[np.float32], box: NDArray[np.float32], pool: int) -> NDArray[np.float64]:
    """Features of a box at pool x pool points from its first to its last pixel, channel by channel."""
    scale = (feature.shape[0] - 1) / (SIDE - 1)
    rows = np.linspace(box[0], box[2] - 1, pool) * scale
    columns = np.linspace(box[1], box[3] - 1, pool) * scale
    points = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([map_coordinates(channel, points, order=1) for channel in np.moveaxis(feature, -1, 0)], axis=-1)


@pytest.mark.parametrize(
    ("side", "level"), [(8, 2), (79, 2), (80, 3), (112, 3), (158, 3), (159, 4), (224, 4), (316, 4), (317, 5), (900, 5)]
)
def test_a_box_of_half_the_side_is_one_level_lower(side: float, level: int) -> None:
    assert levels_of(np.array([[0, 0, side, side]], np.float32)).numpy().tolist() == [level]


def test_an_empty_box_is_of_the_lowest_level() -> None:
    assert levels_of(np.zeros((1, 4), np.float32)).numpy().tolist() == [2]


@pytest.mark.parametrize("pool", [7, 14])
def test_features_of_boxes_of_all_levels_are_those_that_scipy_interpolates(pool: int) -> None:
    levels = pyramid()
    boxes = np.array(
        [[10, 20, 40, 50], [0, 0, 256, 256], [100.5, 30.25, 220, 170.75], [3, 5, 11, 21], [128, 128, 256, 256]],
        np.float32,
    )
    images = [0, 1, 1, 0, 1]
    found = align(levels, boxes, np.array(images, np.int32), SIDE, pool).numpy()
    of_level = levels_of(boxes).numpy()
    assert len(set(of_level)) == 3
    for box, image, level, features in zip(boxes, images, of_level, found, strict=True):
        assert_allclose(features, interpolated(levels[level - 2][image], box, pool), atol=1e-4)


def test_no_box_gives_no_features() -> None:
    assert align(pyramid(), np.zeros((0, 4), np.float32), np.zeros(0, np.int32), SIDE, 7).shape == (0, 7, 7, 2)
