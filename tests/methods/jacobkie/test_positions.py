"""Positions of pixels in their nuclei, counted by hand."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tasks.methods.jacobkie.positions import DIRECTIONS, position_maps
from tasks.nuclei.synthesis import KINDS, synthesize_fov


def maps_of(label_image: np.ndarray) -> dict[str, np.ndarray]:
    maps = position_maps(label_image)
    assert maps.dtype == np.float32
    names = (*DIRECTIONS, *(f"l{direction}" for direction in DIRECTIONS))
    return {name: maps[..., channel] for channel, name in enumerate(names)}


def test_positions_in_a_square_rise_from_its_first_to_its_last_pixel() -> None:
    label_image = np.zeros((5, 6), int)
    label_image[1:4, 2:5] = 7
    maps = maps_of(label_image)
    square = np.s_[1:4, 2:5]
    assert_allclose(maps["y"][square], [[-1, -1, -1], [0, 0, 0], [1, 1, 1]])
    assert_allclose(maps["x"][square], [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]])
    assert_allclose(maps["dr"][square], [[-1, -0.5, 0], [-0.5, 0, 0.5], [0, 0.5, 1]])
    assert_allclose(maps["dl"][square], [[0, -0.5, -1], [0.5, 0, -0.5], [1, 0.5, 0]])
    assert_allclose(maps["ly"][square], maps["y"][square])
    assert_allclose(maps["lx"][square], maps["x"][square])
    assert_allclose(maps["ldr"][square], [[-1, -1, 0], [-1, 0, 1], [0, 1, 1]])
    assert_allclose(maps["ldl"][square], [[0, -1, -1], [1, 0, -1], [1, 1, 0]])
    assert all((of_name[label_image == 0] == 0).all() for of_name in maps.values())


def test_positions_in_a_run_begin_anew_after_a_gap_and_at_a_neighbour() -> None:
    maps = maps_of(np.array([[3, 3, 0, 3, 3, 3, 5, 5]]))
    assert_allclose(maps["lx"], [[-1, 1, 0, -1, 0, 1, -1, 1]])
    assert_allclose(maps["x"], [[-1, -0.6, 0, 0.2, 0.6, 1, -1, 1]], atol=1e-6)
    assert_allclose(maps["ly"], np.zeros((1, 8)))


def test_a_single_pixel_and_an_empty_image_are_at_0() -> None:
    one = np.zeros((3, 3), int)
    one[1, 1] = 1
    assert not position_maps(one).any()
    assert not position_maps(np.zeros((3, 3), int)).any()


@pytest.mark.parametrize("kind", ["MCF10A", "Eosinophils"])
def test_a_turned_image_has_turned_positions(kind: str) -> None:
    label_image = synthesize_fov(KINDS[kind], (90, 120), np.random.default_rng(0)).label_image
    maps, upside_down = maps_of(label_image), maps_of(label_image[::-1])
    transposed = maps_of(label_image.T)
    for names in (("y", "ly"), ("x", "lx")):
        sign = -1 if names[0] == "y" else 1
        for name in names:
            assert_allclose(upside_down[name], sign * maps[name][::-1], atol=1e-6)
    # Down to the right, upside down, is up to the right: the other way along down to the left.
    assert_allclose(upside_down["ldr"], -maps["ldl"][::-1], atol=1e-6)
    assert_allclose(upside_down["dl"], -maps["dr"][::-1], atol=1e-6)
    assert_allclose(transposed["lx"], maps["ly"].T, atol=1e-6)
    assert_allclose(transposed["ldr"], maps["ldr"].T, atol=1e-6)
