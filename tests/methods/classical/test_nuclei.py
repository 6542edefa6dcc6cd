"""Nuclei without a network: what is found in synthetic fields, and that nothing is in empty ones."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.methods.classical.method import Settings
from tasks.methods.classical.necks import parted
from tasks.methods.classical.nuclei import grown, outlined, without_haze, without_holes
from tasks.methods.classical.segmenter import Classical
from tasks.nuclei.empty_fields import empty_field
from tasks.nuclei.scoring import IOU_THRESHOLDS, OBJECT_LEVEL_IOU, count, f1_score, score_instances
from tasks.nuclei.synthesis import KINDS, PLAIN, synthesize_fov

SIDE_PX = 384
Y, X = np.mgrid[:SIDE_PX, :SIDE_PX].astype(float)
Draw = Callable[[np.random.Generator], NDArray[np.floating]]


def noise(rng: np.random.Generator) -> NDArray[np.floating]:
    return rng.normal(500, 20, Y.shape)


def blurred_noise(sigma_px: float) -> Draw:
    def draw(rng: np.random.Generator) -> NDArray[np.floating]:
        clouds = cv2.GaussianBlur(rng.standard_normal(Y.shape), (0, 0), sigma_px)
        return np.asarray(500 + 300 * sigma_px * clouds + rng.normal(0, 3, Y.shape))

    return draw


def spot(sigma_px: float) -> Draw:
    """A vignette or the glare of something outside of the focus."""
    return lambda rng: (
        500 + 2000 * np.exp(-((X - 190) ** 2 + (Y - 200) ** 2) / (2 * sigma_px**2)) + rng.normal(0, 10, Y.shape)
    )


def uneven_light(seed: int) -> Draw:
    return lambda rng: 100 * empty_field(SIDE_PX, np.random.default_rng(seed))


EMPTY: dict[str, Draw] = {
    "one grey level": lambda rng: np.full(Y.shape, 500.0),
    "noise": noise,
    "few photons": lambda rng: rng.poisson(8, Y.shape),
    "noise blurred by 2 px": blurred_noise(2),
    "noise blurred by 5 px": blurred_noise(5),
    "noise blurred by 12 px": blurred_noise(12),
    "gradient": lambda rng: 300 + 4 * X + 2 * Y + rng.normal(0, 10, Y.shape),
    "vignette": spot(250),
    "glare": spot(70),
    "a spot without an edge": spot(30),
    **{f"uneven light {seed}": uneven_light(seed) for seed in range(8)},
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_well_has_no_nuclei_as_a_plate_of_its_own_and_with_nuclei_of_40_px_elsewhere(name: str) -> None:
    image = EMPTY[name](np.random.default_rng(0)).clip(0, 65535).astype(np.uint16)
    segmenter = Classical(Settings())
    assert segmenter.segment(image).max() == 0
    assert segmenter.fitted_to([image]).segment(image).max() == 0


@pytest.mark.parametrize(("cell_line", "least"), [("MCF10A", 0.9), ("U2OS", 0.9), ("HCT116", 0.6)])
def test_nuclei_of_synthetic_fields_are_found_without_a_word_on_their_size(cell_line: str, least: float) -> None:
    field = synthesize_fov(KINDS[cell_line], (480, 560), np.random.default_rng(1), PLAIN)
    found = Classical(Settings()).fitted_to([field.image]).segment(field.image)
    counts = count(score_instances(field.label_image, found))
    f1 = f1_score(counts.tp, counts.fp, counts.fn)[IOU_THRESHOLDS.index(OBJECT_LEVEL_IOU)]
    assert f1 >= least


def disks(*centres: tuple[int, int], radius_px: int = 20) -> NDArray[np.bool_]:
    y, x = np.mgrid[:80, :120]
    return np.any([(y - cy) ** 2 + (x - cx) ** 2 <= radius_px**2 for cy, cx in centres], axis=0)


@pytest.mark.parametrize(("apart_px", "nuclei"), [(0, 1), (10, 1), (36, 2), (39, 2)])
def test_two_disks_are_parted_once_the_neck_between_them_is_narrow(apart_px: int, nuclei: int) -> None:
    found = disks((40, 40), (40, 40 + apart_px))
    assert parted(found, np.ones(found.shape, np.float32), 0.8, 40).max() == nuclei


def test_one_disk_is_parted_where_a_dark_line_crosses_it() -> None:
    found, light = disks((40, 60), radius_px=30), np.ones((80, 120), np.float32)
    light[:, 57:64] = 0.3
    assert len(np.unique(parted(found, light, 0.8, 40))) == 3


def test_no_foreground_gives_no_parts() -> None:
    assert parted(np.zeros((20, 30), np.bool_), np.zeros((20, 30), np.float32), 0.8, 40).max() == 0


def test_small_holes_are_filled_and_the_room_between_a_ring_of_nuclei_is_not() -> None:
    found = disks((40, 60), radius_px=30) & ~disks((40, 60), radius_px=3)
    assert without_holes(found, 40.0).sum() == disks((40, 60), radius_px=30).sum()
    assert without_holes(found, 20.0).sum() == found.sum()


def test_parts_grow_into_bright_pixels_around_them_and_no_farther_than_their_reach() -> None:
    parts = np.array([[0, 0, 1, 0, 0, 0, 2, 0]], np.int32)
    room = np.array([[1, 1, 1, 1, 0, 1, 1, 0]], np.bool_)
    assert grown(parts, room, 1.0).tolist() == [[0, 1, 1, 1, 0, 2, 2, 0]]


def test_a_nucleus_ends_where_its_light_falls_below_a_share_of_its_own_mean() -> None:
    parts = np.array([[1, 1, 1, 2, 2, 2]], np.int32)
    light = np.array([[10, 100, 100, 20, 20, 5]], np.float32)
    assert outlined(parts, light, 0.5).tolist() == [[0, 1, 1, 2, 2, 0]]


def test_a_disk_with_an_edge_stays_and_a_spot_without_one_goes() -> None:
    label_image = np.where(disks((40, 30)), 1, np.where(disks((40, 90)), 2, 0)).astype(np.int32)
    y, x = np.mgrid[:80, :120]
    sharp = cv2.GaussianBlur(100 * disks((40, 30)).astype(np.float32), (0, 0), 2)
    faint = 100 * np.exp(-((y - 40) ** 2 + (x - 90) ** 2) / (2 * 20**2))
    whole = np.where(x < 60, sharp, faint).astype(np.float32)
    assert np.unique(without_haze(label_image, whole)).tolist() == [0, 1]
