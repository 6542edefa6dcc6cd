"""Patches of fields whose nuclei can be counted by hand."""

import numpy as np
import pytest

from tasks.nuclei.patch_grid import Patch, patch_grid, patch_of_nuclei


def dots(*places: tuple[int, int], shape: tuple[int, int] = (40, 60)) -> np.ndarray:
    """A field with nuclei of one pixel."""
    label_image = np.zeros(shape, np.uint16)
    for number, place in enumerate(places, start=1):
        label_image[place] = number
    return label_image


def test_the_edge_of_a_patch_is_that_of_a_square_with_the_nuclei_wanted() -> None:
    # 50 nuclei at 0.02 per px² are in 2,500 px².
    assert patch_grid(0.02, 100, 150, 50) == [
        Patch(0, 0, 50, 50),
        Patch(0, 50, 50, 100),
        Patch(0, 100, 50, 150),
        Patch(50, 0, 100, 50),
        Patch(50, 50, 100, 100),
        Patch(50, 100, 100, 150),
    ]


@pytest.mark.parametrize(("height", "width"), [(101, 149), (40, 333), (17, 17), (1, 1)])
def test_patches_of_any_field_have_every_pixel_once_and_none_is_a_sliver(height: int, width: int) -> None:
    patches = patch_grid(0.02, height, width, 50)
    seen = np.zeros((height, width), int)
    for patch in patches:
        patch.of(seen)[...] += 1
    assert (seen == 1).all()
    heights = [patch.y1 - patch.y0 for patch in patches]
    assert max(heights) - min(heights) <= 1
    assert max(heights) <= 76


def test_the_nuclei_of_a_label_image_are_counted_whatever_their_numbers() -> None:
    label_image = dots(*[(y, x) for y in range(5, 40, 10) for x in range(5, 60, 10)]) * 100
    assert len(patch_grid(label_image, 40, 60, 4)) == 6


def test_a_field_without_nuclei_is_one_patch() -> None:
    assert patch_grid(dots(), 40, 60, 50) == [Patch(0, 0, 40, 60)]


def test_a_nucleus_belongs_to_the_first_patch_that_has_any_of_its_pixels() -> None:
    patches = [Patch(0, 0, 20, 30), Patch(0, 30, 20, 60), Patch(20, 0, 40, 30), Patch(20, 30, 40, 60)]
    label_image = np.zeros((40, 60), np.uint16)
    label_image[5, 28:33] = 3
    label_image[18:30, 50] = 7
    label_image[25, 29:40] = 8
    label_image[39, 59] = 900
    label_image[20:25, 10:40] = 2
    label_image[19, 35] = 2
    assert patch_of_nuclei(label_image, patches) == {2: 1, 3: 0, 7: 1, 8: 2, 900: 3}
