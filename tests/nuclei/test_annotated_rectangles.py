"""Rectangles without ignored pixels."""

import numpy as np

from tasks.nuclei.annotated_rectangles import annotated_rectangles


def ignored(shape: tuple[int, int], *parts: tuple[slice, slice]) -> np.ndarray:
    image = np.zeros(shape, bool)
    for part in parts:
        image[part] = True
    return image


def test_a_field_that_is_annotated_whole_is_one_rectangle():
    assert annotated_rectangles(ignored((100, 70)), 64) == [(slice(0, 100), slice(0, 70))]


def test_the_largest_comes_first_and_what_is_left_next():
    image = ignored((96, 160), (slice(0, 96), slice(60, 70)))
    assert annotated_rectangles(image, 32) == [(slice(0, 96), slice(80, 160)), (slice(0, 96), slice(0, 48))]


def test_no_rectangle_has_an_ignored_pixel_or_overlaps_another_or_is_too_narrow():
    rng = np.random.default_rng(0)
    image = ignored((300, 410), *((slice(y, y + 8), slice(x, x + 8)) for y, x in rng.integers(0, 290, (12, 2))))
    covered = np.zeros(image.shape, int)
    for rows, columns in annotated_rectangles(image, 48):
        covered[rows, columns] += 1
        assert min(rows.stop - rows.start, columns.stop - columns.start) >= 48
    assert covered.max() == 1
    assert not (image & (covered > 0)).any()
    assert covered.mean() > 0.4


def test_where_all_free_parts_are_too_narrow_there_is_none():
    assert annotated_rectangles(ignored((100, 100), (slice(40, 60), slice(0, 100))), 64) == []
