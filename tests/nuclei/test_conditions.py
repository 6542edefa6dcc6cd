"""Tests of tasks.nuclei.synthesis.conditions, and of what conditions change in a field."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from tasks.nuclei.errors import InputError
from tasks.nuclei.synthesis import HCT116, MCF10A, PLAIN, VARIED, Conditions, SyntheticFov, draw, synthesize_fov

SHAPE = (240, 260)


def field(**conditions: float) -> SyntheticFov:
    return synthesize_fov(HCT116, SHAPE, np.random.default_rng([3, 1]), Conditions(**conditions))


PLAIN_FIELD = field()
NUCLEI = PLAIN_FIELD.label_image > 0
FAR_FROM_NUCLEI = ~ndimage.binary_dilation(NUCLEI, iterations=12)
BESIDE_NUCLEI = ndimage.binary_dilation(NUCLEI, iterations=6) & ~ndimage.binary_dilation(NUCLEI, iterations=3)


def has_the_labels_of_the_plain_field(fov: SyntheticFov) -> bool:
    return np.array_equal(fov.label_image, PLAIN_FIELD.label_image)


def contrast(fov: SyntheticFov) -> float:
    """Give how far nuclei are above the background, in standard deviations of the background."""
    background = fov.image[FAR_FROM_NUCLEI]
    return float((np.median(fov.image[NUCLEI]) - np.median(background)) / background.std())


def test_a_plain_field_is_the_one_that_the_seed_gave_before_fields_could_vary() -> None:
    assert PLAIN_FIELD.label_image.max() == 77
    assert PLAIN_FIELD.image[60::60, 50::70].tolist() == [[100, 117, 121], [106, 221, 122], [128, 531, 171]]


def test_an_empty_field_has_no_label_and_shows_noise() -> None:
    fov = field(density=0)
    assert not fov.label_image.any()
    assert 0 < fov.image.std() < 0.2 * PLAIN_FIELD.image.std()


def test_half_the_density_gives_half_the_nuclei() -> None:
    assert field(density=0.5).label_image.max() == pytest.approx(PLAIN_FIELD.label_image.max() / 2, abs=2)


def test_cytoplasm_glows_beside_nuclei_less_than_they_do_and_has_no_label() -> None:
    fov = field(cytoplasm=0.4)
    assert has_the_labels_of_the_plain_field(fov)
    added = fov.image[BESIDE_NUCLEI].mean() - PLAIN_FIELD.image[BESIDE_NUCLEI].mean()
    of_nuclei = np.median(PLAIN_FIELD.image[NUCLEI]) - np.median(PLAIN_FIELD.image[FAR_FROM_NUCLEI])
    assert 0.05 * of_nuclei < added < 0.5 * of_nuclei


def test_an_empty_field_has_no_cytoplasm() -> None:
    np.testing.assert_array_equal(field(density=0, cytoplasm=0.4).image, field(density=0).image)


def test_debris_has_no_label_and_some_is_far_brighter_than_nuclei() -> None:
    fov = field(debris_per_mpx=400)
    assert has_the_labels_of_the_plain_field(fov)
    assert fov.image[~NUCLEI].max() > 1.5 * np.percentile(PLAIN_FIELD.image[NUCLEI], 95)


def test_blur_and_slight_defocus_soften_the_nuclei_and_keep_their_labels() -> None:
    for softer in (field(blur=2), field(defocus=0.25)):
        assert has_the_labels_of_the_plain_field(softer)
        assert sharpness(softer) < 0.8 * sharpness(PLAIN_FIELD)


def sharpness(fov: SyntheticFov) -> float:
    smooth = ndimage.gaussian_filter(fov.image.astype(np.float32), 1)
    return float(np.percentile(ndimage.sobel(smooth), 99))


def test_a_field_far_out_of_focus_is_haze_without_labels() -> None:
    fov = field(defocus=1.2)
    assert not fov.label_image.any()
    assert fov.image.std() > 3 * field(density=0).image.std()
    assert sharpness(fov) < 0.3 * sharpness(PLAIN_FIELD)


def test_a_short_exposure_is_darker_and_noisier() -> None:
    fov = field(exposure=0.1)
    assert has_the_labels_of_the_plain_field(fov)
    assert np.median(fov.image[NUCLEI]) < 0.4 * np.median(PLAIN_FIELD.image[NUCLEI])
    assert contrast(fov) < 0.6 * contrast(PLAIN_FIELD)


def test_glow_makes_the_background_uneven() -> None:
    spread, plain = (_spread_of_background(fov) for fov in (field(glow=1), PLAIN_FIELD))
    assert spread > 3 * plain


def test_vignetting_darkens_the_corners() -> None:
    bright, dark = (_corners_to_middle(field(density=0, vignetting=lost)) for lost in (0.0, 0.5))
    assert bright == pytest.approx(1, abs=0.05)
    assert dark < 0.95


def _spread_of_background(fov: SyntheticFov) -> float:
    smooth = ndimage.gaussian_filter(fov.image.astype(np.float32), 4)[FAR_FROM_NUCLEI]
    return float(np.ptp(np.percentile(smooth, (2, 98))))


def _corners_to_middle(fov: SyntheticFov) -> float:
    image = fov.image
    corners = np.stack([image[:40, :40], image[:40, -40:], image[-40:, :40], image[-40:, -40:]])
    return float(corners.mean() / image[100:140, 110:150].mean())


def test_brightness_sd_gives_dim_and_bright_neighbours() -> None:
    alike, unlike = (_spread_of_nuclei(fov) for fov in (PLAIN_FIELD, field(brightness_sd=0.6)))
    assert unlike > 1.4 * alike


def _spread_of_nuclei(fov: SyntheticFov) -> float:
    image = fov.image - np.median(fov.image[FAR_FROM_NUCLEI])
    means = ndimage.mean(image, fov.label_image, np.arange(1, fov.label_image.max() + 1))
    return float(np.log(np.maximum(means, 1)).std())


def test_the_same_seed_gives_the_same_varied_field() -> None:
    once, again = (_drawn_field(np.random.default_rng([0, 5])) for _ in range(2))
    np.testing.assert_array_equal(once.image, again.image)
    np.testing.assert_array_equal(once.label_image, again.label_image)


def _drawn_field(rng: np.random.Generator) -> SyntheticFov:
    conditions = dataclasses.replace(draw(rng), cytoplasm=0.3, debris_per_mpx=100, glow=0.5, defocus=0.1)
    return synthesize_fov(MCF10A, (128, 128), rng, conditions)


DRAWN = [draw(np.random.default_rng([1, i])) for i in range(1500)]


@pytest.mark.parametrize("name", dict(VARIED))
def test_a_drawn_condition_is_the_default_or_in_its_range(name: str) -> None:
    ranges = [allowed for of, allowed in VARIED if of == name]
    values = {getattr(conditions, name) for conditions in DRAWN} - {getattr(PLAIN, name)}
    assert len(values) > 20
    assert all(any(allowed.low <= value <= allowed.high for allowed in ranges) for value in values)


def test_every_condition_varies() -> None:
    assert {name for name, _ in VARIED} == {of.name for of in dataclasses.fields(Conditions)}


def test_a_few_varied_fields_are_empty_and_a_few_are_haze() -> None:
    assert np.mean([conditions.density == 0 for conditions in DRAWN]) == pytest.approx(0.06, abs=0.02)
    assert np.mean([not conditions.are_outlined for conditions in DRAWN]) == pytest.approx(0.05, abs=0.02)


def test_twice_the_magnification_gives_four_times_the_area_and_a_quarter_of_the_nuclei() -> None:
    once, twice = (synthesize_fov(kind, (400, 400), np.random.default_rng(2)) for kind in (HCT116, HCT116.magnified(2)))
    assert HCT116.magnified(2).pixel_size_um == HCT116.pixel_size_um / 2
    assert twice.label_image.max() == pytest.approx(once.label_image.max() / 4, abs=2)
    assert _whole_area_px(twice.label_image) == pytest.approx(4 * _whole_area_px(once.label_image), rel=0.1)


def _whole_area_px(label_image: NDArray[Any]) -> float:
    return float(np.median(np.bincount(label_image.ravel())[1:]))


def test_a_field_of_more_nuclei_than_16_bits_can_number_is_refused() -> None:
    with pytest.raises(InputError, match=r"5000 x 5000 px would hold 193269 nuclei; at most 65535 .* smaller fields"):
        synthesize_fov(HCT116.magnified(0.4), (5000, 5000), np.random.default_rng(0))
