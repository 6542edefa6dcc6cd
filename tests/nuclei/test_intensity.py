"""Tests of tasks.nuclei.intensity."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from scipy import ndimage

from tasks.nuclei.errors import InputError
from tasks.nuclei.intensity import (
    SCALINGS,
    GreyLevels,
    Scaling,
    brighter,
    grey_levels,
    least_span,
    recorded_scaling,
    robust_range,
)
from tasks.nuclei.synthesis import KINDS, synthesize_fov
from tests.faulty_fields import (
    FAULTS,
    FIELDS,
    HARD_FIELDS,
    SIDE_PX,
    dead_cells,
    empty_wells,
    field,
    glare,
    of_many_brightnesses,
)

FEW_GREY_LEVELS = 16


def test_scaling_by_minmax_maps_the_minimum_to_0_and_the_maximum_to_255() -> None:
    scaled = grey_levels(np.array([[100, 200], [300, 610]], np.uint16), "minmax")
    assert scaled.dtype == np.uint8
    assert scaled.tolist() == [[0, 50], [100, 255]]


@pytest.mark.parametrize("name", FIELDS)
def test_the_whole_levels_of_earlier_networks_are_those_of_today_rounded(name: str) -> None:
    image = FIELDS[name]()[0]
    whole, fine = grey_levels(image, "robust"), grey_levels(image, "percentile")
    assert whole.dtype == np.uint8
    assert fine.dtype == np.float32
    assert_array_equal(whole, np.rint(fine))


def test_the_faintest_of_nuclei_keep_their_texture_beside_the_brightest() -> None:
    image, labels = of_many_brightnesses(20, seed=1)
    faintest = labels == 1 + np.argmin([np.median(image[labels == number]) for number in range(1, labels.max() + 1)])
    whole, fine = (len(np.unique(grey_levels(image, scaling)[faintest])) for scaling in ("robust", "percentile"))
    assert whole < 30
    assert fine == len(np.unique(image[faintest]))


@pytest.mark.parametrize("name", HARD_FIELDS)
def test_every_nucleus_stands_out_of_the_background_around_it(name: str) -> None:
    image, labels = HARD_FIELDS[name](2)
    grey = grey_levels(image, "percentile")
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        near = np.s_[max(rows.start - 8, 0) : rows.stop + 8, max(columns.start - 8, 0) : columns.stop + 8]
        seen = (labels[near] == number) | (labels[near] == 0)
        assert contrast(grey[near], labels[near], seen) > 20


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_constant_image_scales_to_zero(scaling: Scaling) -> None:
    assert grey_levels(np.full((2, 2), 7, np.uint16), scaling).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("scaling", SCALINGS)
def test_scaling_covers_all_16_bit_intensities_in_order(scaling: Scaling) -> None:
    scaled = grey_levels(np.arange(2**16, dtype=np.uint16).reshape(256, 256), scaling).ravel()
    assert (scaled[0], scaled[-1]) == (0, 255)
    assert (np.diff(scaled.astype(int)) >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_without_outliers_is_scaled_by_its_percentiles(kind: str) -> None:
    image = synthesize_fov(KINDS[kind], (500, 600), np.random.default_rng(3)).image
    low, high = np.percentile(image, [0.01, 99.99])
    chosen = robust_range(image)
    assert chosen.low == pytest.approx(low, abs=0.02 * (high - low))
    assert chosen.high == pytest.approx(high, rel=0.1)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["a camera with a high offset", "uneven light"])
def test_what_a_fault_leaves_alone_looks_as_if_it_was_not_there(name: str, fault: str) -> None:
    image, _ = FIELDS[name]()
    faulty = FAULTS[fault](image)
    expected, seen = (grey_levels(one, "percentile").astype(float)[faulty == image] for one in (image, faulty))
    assert np.abs(seen - expected).max() <= FEW_GREY_LEVELS


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", FIELDS)
def test_nuclei_stand_out_of_every_kind_of_field_whatever_its_fault(name: str, fault: str) -> None:
    if (name, fault) == ("a single nucleus", "small dead cells"):
        pytest.skip("eight dead cells for one nucleus are taken for the nuclei")
    image, labels = FIELDS[name]()
    faulty = FAULTS[fault](image)
    left_alone = faulty == image
    of_image, of_faulty = (contrast(grey_levels(one, "percentile"), labels, left_alone) for one in (image, faulty))
    assert of_image > 80
    assert 0.25 * of_image < of_faulty < 1.4 * of_image


def contrast(grey: GreyLevels, labels: NDArray[np.integer], where: NDArray[np.bool_]) -> float:
    """Give by how many grey levels nuclei are brighter than the background, in a part of the field."""
    return float(np.median(grey[where & (labels > 0)]) - np.median(grey[where & (labels == 0)]))


def test_by_minmax_one_hot_pixel_hides_all_nuclei() -> None:
    image, labels = field()
    assert (
        grey_levels(FAULTS["a hot pixel"](image), "minmax")[labels > 0].max()
        < 5
        < 200
        < grey_levels(image, "percentile").max()
    )


def test_nuclei_are_seen_beside_more_dead_cells_than_nuclei_and_under_wide_glare() -> None:
    image, labels = field(nuclei=1)
    assert np.median(grey_levels(dead_cells(3, 10)(image), "percentile")[labels > 0]) > 100
    image, labels = field()
    faulty = glare(20, 100)(image)
    assert np.median(grey_levels(faulty, "percentile")[(labels > 0) & (faulty == image)]) > 100


def test_a_nucleus_that_has_fewer_pixels_than_are_left_out_is_within_the_range() -> None:
    image = np.random.default_rng(0).normal(100, 5, (2000, 2000))
    image[900:916, 900:916] += 400
    assert robust_range(image).high > 480


def test_specks_of_debris_are_not_taken_for_nuclei() -> None:
    plain, labels = field(nuclei=1)
    image = plain.copy()
    for y, x in np.random.default_rng(2).integers(5, SIDE_PX - 5, (60, 2)):
        image[y - 3 : y + 3, x - 3 : x + 3] += 100
    assert robust_range(image).high > np.percentile(image[labels > 0], 90)


@pytest.mark.parametrize("fault", ["a hot pixel", "a hot column", "a narrow black border", "a saturated edge"])
def test_the_noise_of_an_empty_well_stays_dark(fault: str) -> None:
    empty = field(nuclei=0)[0]
    for image in (empty, FAULTS[fault](empty)):
        grey = grey_levels(image, "percentile")[image == empty]
        assert grey.std() < 10
        assert grey.max() < 100
    assert grey_levels(empty, "minmax").std() > 25


@pytest.mark.parametrize("name", [name for name in empty_wells() if name != "blurred noise"])
def test_what_an_empty_well_has_for_light_shows_no_pieces_as_small_as_nuclei(name: str) -> None:
    grey = grey_levels(empty_wells()[name], "percentile")
    assert (grey - ndimage.gaussian_filter(grey, 10)).std() < 10


@pytest.mark.parametrize("name", empty_wells())
def test_nothing_in_an_empty_well_looks_like_nuclei_beside_fields_with_these(name: str) -> None:
    least = least_span(field(seed=seed)[0] for seed in (1, 2, 3))
    grey = grey_levels(empty_wells()[name], "percentile", least)
    assert (grey - ndimage.gaussian_filter(grey, 10)).std() < 10


def test_nuclei_an_eighth_as_bright_as_those_of_other_fields_keep_a_quarter_of_the_grey_levels() -> None:
    image, labels = field()
    level = np.median(image)
    faint = (level + (image - level) / 8).astype(np.uint16)
    grey = grey_levels(faint, "percentile", least_span([image] * 3))
    assert np.median(grey[labels > 0]) - np.median(grey[labels == 0]) > 32
    assert np.array_equal(grey_levels(image, "percentile", least_span([image] * 3)), grey_levels(image, "percentile"))


@pytest.mark.parametrize(("fields", "chosen"), [(1, [0]), (2, [1]), (10, [7, 8, 9]), (100, [74, 78, 82, 86, 90, 94])])
def test_the_level_of_a_plate_is_that_of_its_brighter_fields(fields: int, chosen: list[int]) -> None:
    brightness = np.arange(fields) ** 2.0
    assert brighter(list(range(fields)), brightness.tolist(), 6) == chosen
    assert brighter(list(range(fields)), brightness[::-1].tolist(), 6) == [fields - 1 - number for number in chosen]


def test_a_plate_without_a_field_that_could_be_read_has_no_level() -> None:
    assert brighter([], [], 6) == []
    assert least_span([]) == 0


def test_saturated_edges_are_no_light_and_a_white_background_stays_white() -> None:
    image, _ = field()
    assert not grey_levels(FAULTS["a saturated edge"](image), "percentile")[:, -40:].any()
    inverted = np.where(field()[1] > 0, 20_000, 65_535).astype(np.uint16)
    assert grey_levels(inverted, "percentile")[0, 0] == 255


@pytest.mark.parametrize("nuclei", [2, 8, 25])
def test_dark_nuclei_keep_their_contrast_however_few_they_are(nuclei: int) -> None:
    image, labels = field(nuclei=nuclei)
    grey = grey_levels(3000 - image, "percentile")
    assert np.median(grey[labels == 0]) > 230
    assert np.median(grey[labels == 0]) - np.median(grey[labels > 0]) > 150
    assert grey[labels == 0].std() < 35


@pytest.mark.parametrize("fault", [name for name in FAULTS if "glare" not in name])
def test_few_dark_nuclei_stand_out_whatever_the_fault(fault: str) -> None:
    image, labels = field(nuclei=8)
    faulty = FAULTS[fault](3000 - image)
    assert contrast(255 - grey_levels(faulty, "percentile"), labels, faulty == 3000 - image) > 100


def test_dirt_on_the_camera_is_not_taken_for_dark_nuclei() -> None:
    image = field(background=2000)[0].copy()
    image[200:212, 200:212] = 500
    assert robust_range(image).low > 1900


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", ">u2", "int16", "int32", "uint32", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (2, 2), (5, 3), (6, 40), (64, 64)])
def test_images_of_every_type_and_size_are_scaled(shape: tuple[int, int], dtype: str, scaling: Scaling) -> None:
    rng = np.random.default_rng(1)
    for image in (rng.integers(0, 100, shape), rng.integers(0, 2, shape), np.eye(*shape), np.zeros(shape)):
        before = image.astype(dtype)
        grey = grey_levels(before, scaling)
        assert grey.shape == shape
        assert grey.dtype == (np.float32 if scaling == "percentile" else np.uint8)
        assert_array_equal(before, image.astype(dtype))
        assert_array_equal(grey_levels(np.asfortranarray(before)[::-1][::-1], scaling), grey)


def test_floats_far_beyond_all_others_do_not_count() -> None:
    image = FIELDS["values from 0 to 1"]()[0].astype(np.float64)
    faulty = image.copy()
    faulty[3, 3], faulty[9, 9] = -1e30, 1e30
    seen, expected = (grey_levels(one, "percentile").astype(float) for one in (faulty, image))
    assert np.abs(seen - expected)[20:].max() <= FEW_GREY_LEVELS


@pytest.mark.parametrize(
    ("recorded", "scaling"),
    [(None, "minmax"), ("minmax", "minmax"), ("robust", "robust"), ("percentile", "percentile")],
)
def test_what_is_from_before_there_was_a_choice_is_by_minmax(recorded: str | None, scaling: Scaling) -> None:
    assert recorded_scaling(recorded) == scaling


def test_a_scaling_that_is_not_known_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        InputError, match="scaling is 'clahe', and this program knows percentile, minmax, robust; use the version"
    ):
        recorded_scaling("clahe")
