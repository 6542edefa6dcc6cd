"""How large nuclei are, and how much plates are magnified by that."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.nuclei.nuclear_size import areas_in, find_size, given_size, nuclear_diameter_px, zoom_for
from tasks.nuclei.segmentation import Nuclei

SIDE_PX = 600


def disks(diameter_px: float, amount: int = 9) -> NDArray[np.int32]:
    """A field with at most nine disks, of labels 1..n, that no edge cuts."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    label_image = np.zeros((SIDE_PX, SIDE_PX), np.int32)
    for number in range(amount):
        centre_y, centre_x = 100 + 200 * (number // 3), 100 + 200 * (number % 3)
        label_image[(y - centre_y) ** 2 + (x - centre_x) ** 2 <= (diameter_px / 2) ** 2] = number + 1
    return label_image


def diameter_of(*label_images: NDArray[np.int32]) -> float | None:
    return nuclear_diameter_px([areas_in(label_image) for label_image in label_images])


def test_the_diameter_is_that_of_the_nuclei_of_all_fields_and_none_without_nuclei() -> None:
    assert diameter_of(disks(40)) == pytest.approx(40, rel=0.02)
    assert diameter_of(disks(40), disks(40, amount=2), np.zeros((50, 50), np.int32)) == pytest.approx(40, rel=0.02)
    assert diameter_of(np.zeros((50, 50), np.int32)) is None
    assert diameter_of() is None


def test_specks_do_not_change_it_however_many_they_are() -> None:
    field = disks(40)
    free = np.argwhere(field[::6, ::6] == 0)[:500] * 6
    for number, (y, x) in enumerate(free, start=10):
        field[y : y + 2, x : x + 2] = np.where(field[y : y + 2, x : x + 2] == 0, number, field[y : y + 2, x : x + 2])
    assert len(np.unique(field)) > 300
    assert diameter_of(field) == diameter_of(disks(40))


def test_half_of_the_area_is_in_larger_nuclei() -> None:
    field = np.zeros((100, 100), np.int32)
    for number, (y, side_px) in enumerate([(5, 10), (20, 10), (35, 10), (50, 20)], start=1):
        field[y : y + side_px, 5 : 5 + side_px] = number
    # Three of 100 px and one of 400 px.
    assert diameter_of(field) == pytest.approx(math.sqrt(4 * 400 / math.pi))


def test_a_nucleus_that_an_edge_cuts_counts_only_if_one_cuts_all() -> None:
    field = disks(40, amount=1)
    field[:80, 400:] = 2
    assert diameter_of(field) == diameter_of(disks(40, amount=1))
    assert diameter_of(np.ones((30, 30), np.int32)) == pytest.approx(math.sqrt(4 * 900 / math.pi))


def test_a_plate_with_nuclei_twice_as_large_gets_half_of_the_zoom() -> None:
    assert zoom_for(28, 28) == 1
    for diameter_px in (12.0, 17.0, 50.0):
        assert zoom_for(2 * diameter_px, 28) == zoom_for(diameter_px, 28) / 2
        assert zoom_for(diameter_px, 28) * diameter_px == pytest.approx(28, rel=0.05)


@pytest.mark.parametrize(("diameter_px", "zoom"), [(25, 1), (31, 1), (24, 2 ** (2 / 8)), (33, 2 ** (-2 / 8))])
def test_nuclei_that_have_nearly_the_right_size_are_not_interpolated(diameter_px: float, zoom: float) -> None:
    assert zoom_for(diameter_px, 28) == zoom


def test_diameters_that_differ_in_the_last_digits_give_the_same_zoom() -> None:
    assert zoom_for(33.0, 28) == zoom_for(33.001, 28)


def test_a_size_that_the_bounds_leave_unlike_what_the_networks_know_is_told_of() -> None:
    assert given_size(28, 28) == (28, 1, ())
    assert given_size(120, 28) == (120, 0.25, ())
    (remark,) = given_size(280, 28).remarks
    assert remark.startswith("its nuclei are 280 px across; at the bound of all zooms, 0.25, they look 70 px across,")
    assert given_size(3, 28).zoom == 4
    assert len(given_size(3, 28).remarks) == 1


def found(diameter_px: float, confidence: float = 0.8, amount: int = 9) -> list[Nuclei]:
    field = disks(diameter_px, amount)
    return [Nuclei(field, np.full(int(field.max()), confidence, np.float32))]


def noted(nuclei_at: Callable[[float], list[Nuclei]]) -> tuple[Callable[[float], list[Nuclei]], list[float]]:
    """Give the function, and the zooms that it is asked for."""
    asked: list[float] = []

    def asked_at(zoom: float) -> list[Nuclei]:
        asked.append(zoom)
        return nuclei_at(zoom)

    return asked_at, asked


@pytest.mark.parametrize("diameter_px", [14, 24, 24.7, 28, 31, 33, 40, 56, 90])
def test_a_search_ends_at_the_zoom_of_the_nuclei_and_looks_at_no_zoom_twice(diameter_px: float) -> None:
    nuclei_at, asked = noted(lambda zoom: found(diameter_px))
    size = find_size(nuclei_at, 28)
    assert size.zoom == zoom_for(diameter_px, 28)
    assert size.diameter_px == pytest.approx(diameter_px, rel=0.05)
    assert size.remarks == ()
    assert len(set(asked)) == len(asked)


def test_a_plate_without_nuclei_is_not_magnified() -> None:
    assert find_size(lambda zoom: [Nuclei(np.zeros((50, 50), np.int32), np.zeros(0, np.float32))], 28) == (None, 1, ())
    assert find_size(lambda zoom: [], 28) == (None, 1, ())


@pytest.mark.parametrize(("confidence", "in_doubt"), [(0.05, False), (0.15, True), (0.5, True)])
def test_of_two_sizes_that_look_right_the_smaller_one_is_taken_and_the_doubt_is_told(
    confidence: float, in_doubt: bool
) -> None:
    """Clumps of small nuclei pass for nuclei where they are not magnified; here they have four times their area."""
    size = find_size(lambda zoom: found(14) if zoom >= 2 else found(28, confidence), 28)
    assert size.zoom == 2
    if not in_doubt:
        assert size.remarks == ()
        return
    (remark,) = size.remarks
    assert remark.startswith("its nuclei seem to be 14 px across, but may be 28: look at the outlines and, if they are")


def test_pieces_of_nuclei_that_fit_much_worse_are_not_taken_for_nuclei() -> None:
    size = find_size(lambda zoom: found(14, confidence=0.6) if zoom >= 2 else found(28, confidence=0.5), 28)
    assert (size.zoom, size.remarks) == (1, ())


@pytest.mark.parametrize("speck_px", [3, 4, 5, 6])
def test_specks_at_the_bound_of_all_zooms_are_not_taken_for_nuclei_where_others_look_right(speck_px: float) -> None:
    size = find_size(lambda zoom: found(speck_px, confidence=1) if zoom >= 2 else found(34, confidence=0.02), 28)
    assert size.diameter_px == pytest.approx(34, rel=0.02)
    (remark,) = size.remarks
    assert re.search(r"seem to be 34 px across, but may be \d: look at the outlines", remark)
    assert find_size(lambda zoom: found(speck_px), 28).zoom == 4


def test_a_size_by_few_nuclei_and_one_that_does_not_settle_are_told_of() -> None:
    (remark,) = find_size(lambda zoom: found(28, amount=4), 28).remarks
    assert "but only 4 were found in the fields that were looked at first" in remark
    (remark,) = find_size(lambda zoom: found(28 if zoom < 0.75 else 56), 28).remarks
    assert "at the zoom that follows from this they look different" in remark


def test_of_a_field_in_part_nuclei_that_are_ignored_and_cut_ones_do_not_count_as_whole():
    label_image, ignored = np.zeros((20, 40), np.int32), np.zeros((20, 40), bool)
    label_image[2:6, 2:6], label_image[8:14, 12:20], label_image[2:12, 30:40] = 1, 2, 3
    ignored[:, 17:] = True
    areas = areas_in(label_image, ignored)
    assert (areas.whole.tolist(), areas.cut.tolist()) == ([16], [48])
