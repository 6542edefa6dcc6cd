"""Segmenters that know nuclei of one size: how they magnify plates with others."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.methods.segmenter import SAMPLE_PX, middle_of, spread
from tasks.nuclei.nuclear_size import zoom_for
from tasks.nuclei.segmentation import SegmentationSettings
from tests.bright_disks import NUCLEUS_PX, BrightDisks, field_of_disks

SETTINGS = SegmentationSettings()


@pytest.mark.parametrize("diameter_px", [14.0, 28.0, 56.0, 80.0])
def test_images_are_magnified_so_that_their_nuclei_have_the_known_size(diameter_px: float) -> None:
    fitted = BrightDisks(SETTINGS).fitted_to([field_of_disks(diameter_px, random_seed=i) for i in range(3)])
    assert fitted.zoom == zoom_for(diameter_px, NUCLEUS_PX)


def test_the_same_images_give_the_same_size_every_time() -> None:
    images = [field_of_disks(40, random_seed=i) for i in range(2)]
    assert BrightDisks(SETTINGS).size_in(images) == BrightDisks(SETTINGS).size_in(images)


def test_a_segmenter_with_a_zoom_of_its_own_keeps_it_and_looks_at_nothing_more() -> None:
    segmenter = BrightDisks(SETTINGS, nucleus_px=None, zoom=2.0)
    image = field_of_disks(14, side_px=100)
    segmenter.predict(image)
    assert segmenter.looked_at == [(2.0, (200, 200))]


def test_one_image_gives_a_label_image_and_several_are_seen_alike() -> None:
    """The second one alone would be magnified by half."""
    segmenter = BrightDisks(SETTINGS)
    small, large = field_of_disks(28), field_of_disks(56)
    assert np.unique(segmenter.predict(small)).size == 7 * 7 + 1
    segmenter.looked_at.clear()
    label_images = segmenter.predict([small, small, large])
    assert [label_image.shape for label_image in label_images] == [small.shape] * 3
    assert len({zoom for zoom, _ in segmenter.looked_at[-3:]}) == 1


def test_only_the_middle_of_a_large_field_is_looked_at_for_the_size() -> None:
    segmenter = BrightDisks(SETTINGS)
    segmenter.size_in([field_of_disks(56, side_px=2000)])
    assert {shape for zoom, shape in segmenter.looked_at if zoom == 1} == {(SAMPLE_PX, SAMPLE_PX)}
    assert all(max(shape) <= SAMPLE_PX for _, shape in segmenter.looked_at)
    field = np.arange(7 * 9).reshape(7, 9)
    assert middle_of(field, 3).tolist() == field[2:5, 3:6].tolist()
    assert middle_of(field, 8).tolist() == field[:, :8].tolist()


def test_fields_for_the_size_are_spread_over_the_whole_plate() -> None:
    assert spread(range(3)) == [0, 1, 2]
    assert spread(range(60)) == [5, 15, 25, 35, 45, 55]
    assert spread([]) == []


def test_limits_of_areas_hold_for_nuclei_as_they_are_seen() -> None:
    """Of disks of 14 px, 150 px are less than the area as it is; seen twice as large, they have 600."""
    image = field_of_disks(14)
    for least, most, finds in ((150, None, True), (20, 500, False), (20, 700, True), (700, None, False)):
        segmenter = BrightDisks(SegmentationSettings(min_area_px=least, max_area_px=most)).magnifying(2.0)
        assert segmenter.segment(image).any() == finds
    # Where all plates have one zoom, they are in px of the field.
    assert not BrightDisks(SegmentationSettings(min_area_px=160), nucleus_px=None, zoom=2).segment(image).any()


def test_what_is_in_doubt_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    BrightDisks(SETTINGS).fitted_to([field_of_disks(14)])
    assert caplog.text == ""
    rng = np.random.default_rng(0)
    assert BrightDisks(SETTINGS).fitted_to([rng.integers(0, 50, (99, 99), np.uint16)]).zoom == 1
