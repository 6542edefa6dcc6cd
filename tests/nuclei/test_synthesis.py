import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import regionprops
from skimage.segmentation import find_boundaries

from tasks.nuclei.synthesis import EOSINOPHILS, HCT116, KINDS, MCF10A, U2OS, NucleusKind, SyntheticFov, synthesize_fov

TABLE_S1_AREA_PX = {
    "MCF10A": (2606.1, 855.1),
    "U2OS": (2175.55, 752.44),
    "HCT116": (299.05, 91.43),
    "Eosinophils": (562.38, 183.31),
}
TABLE_S1_NUCLEI_PER_FOV = {"MCF10A": 1225 / 7, "U2OS": 782, "HCT116": 1710, "Eosinophils": 295}

every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@cache
def full_fov(kind: NucleusKind) -> SyntheticFov:
    return synthesize_fov(kind, kind.fov_shape_px, np.random.default_rng([0, 0]))


def small_fov(kind: NucleusKind, *seed: int) -> SyntheticFov:
    return synthesize_fov(kind, (200, 220), np.random.default_rng(seed))


def areas_px(label_image: NDArray[Any]) -> NDArray[Any]:
    return np.bincount(label_image.ravel())[1:]


@every_kind
def test_nuclei_of_a_full_field_have_area_and_number_of_table_s1(kind: NucleusKind) -> None:
    areas = areas_px(full_fov(kind).label_image)
    mean, sd = TABLE_S1_AREA_PX[kind.cell_line]
    assert len(areas) == pytest.approx(TABLE_S1_NUCLEI_PER_FOV[kind.cell_line], rel=0.05)
    assert areas.mean() == pytest.approx(mean, rel=0.05)
    assert areas.std() == pytest.approx(sd, rel=0.15)


@every_kind
def test_labels_have_no_gaps_and_each_is_one_piece(kind: NucleusKind) -> None:
    assert set(_pieces_of_each_label(full_fov(kind).label_image)) == {1}


def test_a_lobed_nucleus_is_not_cut_in_two_by_a_neighbour() -> None:
    crowded = dataclasses.replace(EOSINOPHILS, nuclei_per_fov=1000, contact_chance=0.9, max_overlap=0.4)
    assert set(_pieces_of_each_label(full_fov(crowded).label_image)) == {1}


def _pieces_of_each_label(label_image: NDArray[Any]) -> list[int]:
    windows = ndimage.find_objects(label_image)
    return [
        0 if window is None else ndimage.label(label_image[window] == label)[1]
        for label, window in enumerate(windows, start=1)
    ]


@every_kind
def test_image_and_labels_are_16_bit_of_the_fields_shape(kind: NucleusKind) -> None:
    fov = small_fov(kind, 0, 0)
    assert fov.image.shape == fov.label_image.shape == (200, 220)
    assert fov.image.dtype == fov.label_image.dtype == np.uint16


@every_kind
def test_some_nuclei_are_cut_by_the_border(kind: NucleusKind) -> None:
    label_image = full_fov(kind).label_image
    cut = np.unique(np.concatenate([label_image[0], label_image[-1], label_image[:, 0], label_image[:, -1]]))
    inside = label_image.max() - np.count_nonzero(cut)
    assert np.count_nonzero(cut) >= 10
    assert inside > np.count_nonzero(cut)


@every_kind
def test_nuclei_touch_and_a_darker_line_lies_between_them(kind: NucleusKind) -> None:
    fov = full_fov(kind)
    label_image = fov.label_image
    contact = find_boundaries(label_image, mode="inner") & (_least_label_around(label_image) != label_image)
    touching = np.unique(label_image[contact])
    depth = ndimage.distance_transform_edt(~find_boundaries(label_image, mode="inner")) * (label_image > 0)
    middle = np.isin(label_image, touching) & (depth >= np.percentile(depth[label_image > 0], 60))
    background = np.median(fov.image[label_image == 0])
    assert len(touching) >= 0.1 * label_image.max()
    assert fov.image[contact].mean() - background < 0.85 * (fov.image[middle].mean() - background)


def _least_label_around(label_image: NDArray[Any]) -> NDArray[Any]:
    """Least label of a pixel's 3 x 3 neighbourhood, background left out."""
    return ndimage.minimum_filter(np.where(label_image == 0, np.iinfo(np.uint16).max, label_image), 3)


@every_kind
def test_labels_lie_on_the_light(kind: NucleusKind) -> None:
    fov = full_fov(kind)
    nuclei = fov.label_image > 0
    far_from_nuclei = ~ndimage.binary_dilation(nuclei, iterations=10)
    assert np.median(fov.image[nuclei]) > 2 * np.median(fov.image[far_from_nuclei])


@every_kind
def test_the_same_seed_gives_the_same_field(kind: NucleusKind) -> None:
    once, again = small_fov(kind, 3, 1), small_fov(kind, 3, 1)
    np.testing.assert_array_equal(once.image, again.image)
    np.testing.assert_array_equal(once.label_image, again.label_image)


def test_another_seed_and_another_index_give_other_nuclei() -> None:
    fovs = [small_fov(HCT116, *seed) for seed in [(0, 0), (0, 1), (1, 0)]]
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert (fovs[one].label_image != fovs[other].label_image).mean() > 0.2


def test_a_field_of_a_quarter_of_the_area_has_a_quarter_of_the_nuclei() -> None:
    height, width = HCT116.fov_shape_px
    fov = synthesize_fov(HCT116, (height // 2, width // 2), np.random.default_rng(0))
    assert fov.label_image.max() == pytest.approx(1710 / 4, abs=1)


def test_a_field_smaller_than_the_share_of_one_nucleus_still_has_one() -> None:
    fov = synthesize_fov(MCF10A, (64, 64), np.random.default_rng(0))
    assert fov.label_image.max() == 1


def test_most_eosinophils_are_lobed_and_other_nuclei_are_not() -> None:
    solidity = {name: _median_solidity(full_fov(kind).label_image) for name, kind in KINDS.items()}
    assert solidity.pop("Eosinophils") < 0.91
    assert min(solidity.values()) > 0.94


def _median_solidity(label_image: NDArray[Any]) -> float:
    """Area by area of the convex hull: 1 for a shape without notches, less for few pixels."""
    return float(np.median([region.solidity for region in regionprops(label_image)]))


def test_nuclei_of_a_crowded_field_that_find_no_room_are_left_out() -> None:
    crowded = dataclasses.replace(MCF10A, nuclei_per_fov=1000)
    fov = small_fov(crowded, 0, 0)
    assert 1 < fov.label_image.max() < 1000 * 200 * 220 / (1078 * 1278)
    assert areas_px(fov.label_image).min() > 0


@pytest.mark.parametrize("spread", [MCF10A, U2OS], ids=["MCF10A", "U2OS"])
def test_hct116_clumps_where_kinds_of_like_coverage_spread(spread: NucleusKind) -> None:
    assert _widest_gap(HCT116) > 1.5 * _widest_gap(spread)


def _widest_gap(kind: NucleusKind) -> float:
    """Radius of the widest empty region, relative to the size of a nucleus."""
    return ndimage.distance_transform_edt(full_fov(kind).label_image == 0).max() / kind.area_mean_px**0.5
