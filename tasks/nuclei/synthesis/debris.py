"""What glows and is no nucleus: specks, micronuclei, fibres, fragments of dead cells."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from skimage.draw import disk

from tasks.nuclei.synthesis.shapes import Floats

FRAGMENTS_OF_A_CELL = (3, 9)


def debris_light(
    pieces_per_mpx: float, radius: float, label_image: NDArray[np.uint16], rng: np.random.Generator
) -> Floats:
    """Give the sharp light of debris, (y, x), 1 for that of a nucleus; `radius` is that of a nucleus in px.

    Pieces begin where there is no nucleus; fibres may cross some.
    """
    light = np.zeros(label_image.shape, np.float32)
    background = np.flatnonzero(label_image == 0)
    for _ in range(rng.poisson(pieces_per_mpx * label_image.size / 1e6) if len(background) else 0):
        centre = np.array(np.unravel_index(background[rng.integers(len(background))], light.shape), float)
        draw_piece = PIECES[rng.choice(len(PIECES), p=PIECE_CHANCES)]
        draw_piece(light, centre, radius, rng)
    return light


def _draw_speck(light: Floats, centre: NDArray[np.float64], radius: float, rng: np.random.Generator) -> None:
    _add_disk(light, centre, rng.uniform(0.8, 2.0), _between(0.3, 8, rng))


def _draw_micronucleus(light: Floats, centre: NDArray[np.float64], radius: float, rng: np.random.Generator) -> None:
    _add_disk(light, centre, radius * rng.uniform(0.08, 0.22), _between(0.2, 1.2, rng))


def _draw_fibre(light: Floats, centre: NDArray[np.float64], radius: float, rng: np.random.Generator) -> None:
    """Draw a thread that bends evenly."""
    length, thickness = _between(1, 10, rng) * radius, rng.uniform(0.7, 1.6)
    direction = rng.uniform(0, 2 * math.pi) + np.linspace(0, rng.normal(0, 1.5), max(2, round(length)))
    line = centre + np.cumsum(np.stack([np.sin(direction), np.cos(direction)], axis=1), axis=0)
    thread = np.zeros(light.shape, bool)
    for point in line:
        thread[disk(point, thickness, shape=light.shape)] = True
    light[thread] += _between(0.2, 3, rng)


def _draw_fragments(light: Floats, centre: NDArray[np.float64], radius: float, rng: np.random.Generator) -> None:
    """Draw the pieces that a cell leaves when it dies, some of them far brighter than nuclei."""
    brightness = _between(0.6, 6, rng)
    for _ in range(rng.integers(*FRAGMENTS_OF_A_CELL)):
        place = centre + rng.normal(0, 0.45 * radius, 2)
        _add_disk(light, place, radius * rng.uniform(0.06, 0.3), brightness * rng.uniform(0.5, 1.2))


PIECES: tuple[Callable[[Floats, NDArray[np.float64], float, np.random.Generator], None], ...] = (
    _draw_speck,
    _draw_micronucleus,
    _draw_fibre,
    _draw_fragments,
)
PIECE_CHANCES = (0.45, 0.25, 0.12, 0.18)


def _add_disk(light: Floats, centre: NDArray[np.float64], radius_px: float, brightness: float) -> None:
    light[disk(centre, max(radius_px, 0.8), shape=light.shape)] += brightness


def _between(low: float, high: float, rng: np.random.Generator) -> float:
    """Draw a number between two, all ratios equally likely."""
    return float(low * (high / low) ** rng.random())
