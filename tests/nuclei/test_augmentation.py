"""Augmented ROIs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tasks.nuclei.annotated_windows import LEAST_SHARE, AnnotatedWindows
from tasks.nuclei.augmentation import FULL, NONE, PRESETS, augmented_roi
from tasks.nuclei.intensity import grey_levels
from tasks.nuclei.synthesis import KINDS, synthesize_fov

NO_CHANGE = replace(NONE, rotation_step_deg=90)


def field(height: int = 200, width: int = 240) -> tuple[np.ndarray, np.ndarray]:
    """Discs whose grey value is ten times their label."""
    y, x = np.mgrid[:height, :width]
    label_image = np.zeros((height, width), np.uint16)
    for number, (cy, cx) in enumerate([(50, 60), (50, 160), (140, 60), (140, 170)], start=1):
        label_image[(y - cy) ** 2 + (x - cx) ** 2 < 400] = number
    return (label_image * 50).astype(np.uint8), label_image


def roi_of(seed: int, augmentation=NONE, scale: float = 1.0, roi_px: int = 128):
    return augmented_roi(*field(), scale, roi_px, augmentation, np.random.default_rng(seed))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("scale", [1 / 3, 1.0, 2.0])
def test_every_preset_gives_rois_of_the_asked_size_and_type(name, scale):
    roi = roi_of(1, PRESETS[name], scale, 96)
    assert roi.image.shape == roi.label_image.shape == (96, 96)
    assert (roi.image.dtype, roi.label_image.dtype) == (np.uint8, np.uint16)


def test_the_same_seed_gives_the_same_roi_and_another_seed_another():
    first, again, other = roi_of(5, FULL), roi_of(5, FULL), roi_of(6, FULL)
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)


def test_the_share_of_rois_that_are_made_up_have_light_but_no_nucleus():
    rois = [roi_of(seed, replace(NONE, empty_share=0.3)) for seed in range(60)]
    made_up = [roi for roi in rois if roi.window[2:] == (0, 0)]
    assert 8 <= len(made_up) <= 30
    assert all(roi.image.dtype == np.uint8 and not roi.label_image.any() for roi in made_up)
    assert all(roi.image.std() > 0 for roi in made_up)
    assert np.std([roi.image.mean() for roi in made_up]) > 20


@pytest.mark.parametrize("seed", range(12))
def test_labels_follow_the_geometry_of_the_image(seed):
    roi = roi_of(seed, NO_CHANGE)
    assert np.array_equal(roi.image > 0, roi.label_image > 0)


@pytest.mark.parametrize("scale", [0.37, 0.6, 1.0, 1.3, 1.81])
def test_labels_lie_on_their_image_at_any_scale(scale):
    label_image = field()[1]
    image = np.where(label_image > 0, 200, 0).astype(np.uint8)
    apart = []
    for seed in range(12):
        roi = augmented_roi(image, label_image, scale, 128, NO_CHANGE, np.random.default_rng(seed))
        parts = roi.image / 200, roi.label_image > 0
        image_at, labels_at = (
            np.array([np.average(axis, weights=part) for axis in np.indices(roi.image.shape)]) for part in parts
        )
        apart.append(np.abs(image_at - labels_at))
    assert np.mean(apart) < 0.2


@pytest.mark.parametrize("seed", range(12))
def test_labels_follow_rotations_by_45_degrees_up_to_interpolation(seed):
    roi = roi_of(seed, NONE)
    differs = (roi.image > 25) != (roi.label_image > 0)
    assert differs.mean() < 0.02


def test_intensity_changes_leave_the_labels_alone():
    changed = replace(NO_CHANGE, contrast_probability=1, blur_probability=1, noise_probability=1)
    plain, strong = roi_of(3, NO_CHANGE), roi_of(3, changed)
    assert np.array_equal(plain.label_image, strong.label_image)
    assert not np.array_equal(plain.image, strong.image)


@pytest.mark.parametrize("name", ["Full", "Gentle"])
def test_fractions_of_grey_levels_are_changed_as_whole_ones_are_within_a_level(name):
    """The methods and their strengths are the paper's, whatever the type."""
    fov = synthesize_fov(KINDS["MCF10A"], (160, 160), np.random.default_rng(0))
    whole = grey_levels(fov.image, "robust")
    certain = replace(PRESETS[name], scales=(1.0,), scale_jitter=0, rotation_step_deg=90, blur_probability=0)
    for seed in range(30):
        first, other = (
            augmented_roi(image, fov.label_image, 1.0, 128, certain, np.random.default_rng(seed)).image
            for image in (whole, whole.astype(np.float32))
        )
        assert first.dtype == np.uint8
        assert other.dtype == np.float32
        assert 0 <= other.min() <= other.max() <= 255
        assert np.abs(other - first).mean() < 1
        assert np.abs(other - first).max() < 2


def test_fractions_of_grey_levels_reach_the_roi():
    image = np.random.default_rng(0).uniform(100, 102, (128, 128)).astype(np.float32)
    labels = np.zeros((128, 128), np.uint16)
    for seed in range(10):
        roi = augmented_roi(image, labels, 1.0, 128, PRESETS["Gentle"], np.random.default_rng(seed))
        assert len(np.unique(roi.image)) > 256


def test_without_intensity_classes_the_grey_values_are_the_field_s():
    assert set(np.unique(roi_of(2, NO_CHANGE).image)) <= {0, 50, 100, 150, 200}


def test_flips_and_rotations_all_occur():
    y, x = np.mgrid[:128, :128]
    image = (y + x // 8).astype(np.uint8)
    label_image = np.zeros((128, 128), np.uint16)
    seen = {
        augmented_roi(image, label_image, 1.0, 128, NO_CHANGE, np.random.default_rng(seed)).image.tobytes()
        for seed in range(60)
    }
    assert len(seen) == 5  # two flips, rotations by 90, 180 and 270 degrees


def test_scaling_by_two_doubles_the_diameter():
    areas = {
        scale: np.bincount(
            augmented_roi(*field(), scale, 240, NO_CHANGE, np.random.default_rng(0)).label_image.ravel()
        )[1:].max()
        for scale in (1.0, 2.0)
    }
    assert areas[2.0] / areas[1.0] == pytest.approx(4, rel=0.1)


def test_a_field_smaller_than_the_roi_is_mirrored_and_its_copies_are_instances_of_their_own():
    image = np.zeros((64, 64), np.uint8)
    label_image = np.zeros((64, 64), np.uint16)
    image[20:30, 20:30], label_image[20:30, 20:30] = 200, 1
    roi = augmented_roi(image, label_image, 1.0, 160, NO_CHANGE, np.random.default_rng(0))
    assert roi.label_image.max() > 1
    assert np.array_equal(roi.image > 0, roi.label_image > 0)


def test_a_nucleus_cut_in_two_by_the_crop_becomes_two_instances():
    label_image = np.zeros((64, 300), np.uint16)
    label_image[10:50, :] = 1
    label_image[20:64, 5:295] = 0
    label_image[60:64, 5:295] = 0
    roi = augmented_roi(label_image.astype(np.uint8), label_image, 1.0, 300, NO_CHANGE, np.random.default_rng(0))
    assert len(np.unique(roi.label_image)) - 1 >= 2


def test_the_paper_s_presets_switch_off_one_class_each():
    assert PRESETS["Min_Blur"] == replace(FULL, blur_probability=0)
    assert PRESETS["Min_Contr"] == replace(FULL, contrast_probability=0)
    assert PRESETS["Min_Noise"] == replace(FULL, noise_probability=0)
    assert PRESETS["Min_Scaling"].scales == (1.0,)
    assert FULL.scales == (1 / 3, 2 / 3, 1.0, 4 / 3, 2.0)


@pytest.mark.parametrize("augmentation_class", ["contrast", "blur", "noise"])
def test_no_intensity_method_draws_from_a_generator_of_its_own(augmentation_class):
    certain: dict[str, Any] = {f"{augmentation_class}_probability": 1}
    only = replace(NO_CHANGE, **certain)
    for seed in range(20):
        assert np.array_equal(roi_of(seed, only).image, roi_of(seed, only).image)


def ignored_but(rows: slice, columns: slice, shape: tuple[int, int] = (200, 240)) -> np.ndarray:
    ignored = np.ones(shape, bool)
    ignored[rows, columns] = False
    return ignored


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
@pytest.mark.parametrize("augmentation", [NO_CHANGE, NONE])
def test_what_is_ignored_lies_on_its_image_through_crop_scale_turn_and_flip(scale, augmentation):
    ignored = field()[1] == 2
    image = np.where(ignored, 200, 0).astype(np.uint8)
    for seed in range(24):
        rng = np.random.default_rng(seed)
        roi = augmented_roi(image, field()[1], scale, 96, augmentation, rng, AnnotatedWindows(ignored))
        assert ((roi.image > 100) != roi.ignored).mean() < 0.02


def test_labels_and_what_is_ignored_are_cut_out_alike():
    image, label_image = field()
    for seed in range(24):
        rng = np.random.default_rng(seed)
        roi = augmented_roi(image, label_image, 1.3, 96, NONE, rng, AnnotatedWindows(label_image > 0))
        np.testing.assert_array_equal(roi.ignored, roi.label_image > 0)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("part", [(slice(0, 30), slice(210, 240)), (slice(90, 150), slice(100, 160))])
def test_every_roi_shows_something_that_is_annotated(scale, part):
    in_part = AnnotatedWindows(ignored_but(*part))
    for seed in range(32):
        roi = augmented_roi(*field(), scale, 64, NONE, np.random.default_rng(seed), in_part)
        assert roi.ignored is not None
        assert (~roi.ignored).mean() > 0.01


def test_windows_have_a_quarter_annotated_where_there_are_such_windows_and_are_drawn_all_over_them():
    in_part = AnnotatedWindows(ignored_but(slice(60, 140), slice(40, 240)))
    drawn = [in_part.draw(48, 48, np.random.default_rng(seed)) for seed in range(200)]
    shares = [(~in_part.ignored[y : y + 48, x : x + 48]).mean() for y, x in drawn]
    assert min(shares) >= LEAST_SHARE
    assert min(x for _, x in drawn) < 40 < 170 < max(x for _, x in drawn)
    assert len(set(drawn)) > 100


def test_a_window_of_a_field_in_part_depends_on_the_seed_alone():
    first, again, other = (
        augmented_roi(*field(), 1.0, 64, FULL, np.random.default_rng(seed), AnnotatedWindows(field()[1] == 1))
        for seed in (3, 3, 4)
    )
    assert first.window == again.window != other.window
    assert np.array_equal(first.image, again.image)


def test_a_field_that_is_annotated_whole_gives_the_same_roi_with_nothing_ignored_but_for_its_window():
    image, label_image = field(96, 96)
    nothing = AnnotatedWindows(np.zeros((96, 96), bool))
    for seed in range(8):
        whole, in_part = (
            augmented_roi(image, label_image, 1.0, 96, NO_CHANGE, np.random.default_rng(seed), ignored)
            for ignored in (None, nothing)
        )
        assert whole.ignored is None
        assert in_part.ignored is not None
        assert not in_part.ignored.any()
        assert whole.window == in_part.window == (0, 0, 96, 96)
