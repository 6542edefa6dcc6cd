import numpy as np
import pytest
import shapely

from tasks.annotation.outlines import nucleus_in, polygons_of
from tasks.annotation.sheet import Nucleus, cropped
from tasks.nuclei.errors import InputError


def nucleus_of(*rows: str) -> Nucleus:
    found = cropped(np.array([[pixel == "#" for pixel in row] for row in rows]), 0, 0)
    assert found is not None
    return found


def test_a_pixel_is_outlined_along_its_four_corners() -> None:
    nucleus = Nucleus(np.ones((1, 1), np.bool_), top=3, left=5)
    [[ring]] = polygons_of(nucleus)
    assert {tuple(point) for point in ring.tolist()} == {(5, 3), (6, 3), (6, 4), (5, 4)}


def test_a_hole_is_a_ring_of_its_own_after_what_encloses_it() -> None:
    [[outside, hole]] = polygons_of(nucleus_of("####", "#.##", "####"))
    assert len(outside) == 4
    assert {tuple(point) for point in hole.tolist()} == {(1, 1), (2, 1), (2, 2), (1, 2)}


def test_pixels_that_share_only_a_corner_are_two_polygons() -> None:
    assert [len(polygon) for polygon in polygons_of(nucleus_of("#.", ".#"))] == [1, 1]


def test_a_hole_that_touches_the_outside_at_a_corner_is_still_a_hole() -> None:
    [[outside, hole]] = polygons_of(nucleus_of(".###", "#.##", "####"))
    assert shapely.Polygon(outside, [hole]).is_valid
    assert shapely.Polygon(outside, [hole]).area == 10


def test_outlines_are_valid_by_ogc_and_enclose_the_same_pixels_again_whatever_the_mask() -> None:
    rng = np.random.default_rng(0)
    for _ in range(150):
        nucleus = cropped(rng.random(rng.integers(1, 12, 2)) < rng.uniform(0.2, 0.95), 4, 9)
        if nucleus is None:
            continue
        polygons = polygons_of(nucleus)
        assert all(shapely.Polygon(outside, holes).is_valid for outside, *holes in polygons)
        back = nucleus_in(polygons, None)
        assert back is not None
        assert (back.top, back.left) == (nucleus.top, nucleus.left)
        assert np.array_equal(back.mask, nucleus.mask)


def test_of_an_outline_with_fractions_the_pixels_count_whose_centres_are_inside() -> None:
    triangle = [[0.0, 0.0], [4.2, 0.0], [0.0, 4.2]]
    found = nucleus_in([[triangle]], None)
    assert found is not None
    assert found.mask.astype(int).tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]


def test_what_is_drawn_beyond_the_image_is_cut_off() -> None:
    square = [[-3, -3], [2, -3], [2, 2], [-3, 2]]
    found = nucleus_in([[square]], (10, 10))
    assert found is not None
    assert (found.top, found.left, found.mask.shape) == (0, 0, (2, 2))


def test_an_outline_beside_the_image_is_refused() -> None:
    with pytest.raises(InputError, match="has a nucleus at row 20 and column 30, outside of the image of 10 x 10 px"):
        nucleus_in([[[[30, 20], [33, 20], [33, 23]]]], (10, 10))


@pytest.mark.parametrize(
    ("ring", "says"),
    [
        ([[0, 0], [1, 1]], r"outline of the form \(2, 2\); allowed are 3 points"),
        ([[0, 0], [1, 1], [float("nan"), 2]], "leads far out of the image"),
        ([[0, 0], [1, 1], [1e9, 2]], "leads far out of the image"),
        ([[0, 0], [1e5, 0], [1e5, 1e5]], "allowed are 67,108,864 px"),
    ],
)
def test_outlines_that_cannot_be_are_refused_before_they_take_memory(ring: list[list[float]], says: str) -> None:
    with pytest.raises(InputError, match=says):
        nucleus_in([[ring]], None)
