"""The image that the camera takes of the light: shading, noise, grey levels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.synthesis.cell_lines import NucleusKind
from tasks.nuclei.synthesis.conditions import Conditions
from tasks.nuclei.synthesis.shapes import Floats

CAMERA_OFFSET = 100.0
READ_NOISE = 3.0
GREY_LEVELS_PER_PHOTON = 2.0


def expose(kind: NucleusKind, light: Floats, conditions: Conditions, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Give the image of a 16-bit sCMOS camera: glow, shading, photon noise, read noise, offset."""
    if conditions.glow:
        light = light + conditions.glow * _glow(light.shape, rng)
    photons = (kind.background_photons + kind.nucleus_photons * light) * _shading(kind, light.shape, rng)
    image = rng.poisson(photons) * GREY_LEVELS_PER_PHOTON + CAMERA_OFFSET
    image += READ_NOISE * rng.standard_normal(light.shape, np.float32)
    grey_levels: NDArray[np.uint16] = np.clip(np.rint(image), 0, 65535).astype(np.uint16)
    return grey_levels


def _shading(kind: NucleusKind, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Give the uneven illumination: 1 at a point near the middle, falling with the square of the distance from it."""
    centre_y, centre_x = rng.uniform(-0.3, 0.3, 2)
    y, x = _coordinates(shape)
    shading: Floats = 1 - kind.vignetting / 2 * ((y - centre_y) ** 2 + (x - centre_x) ** 2)
    return shading


def _glow(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Draw a glow from 0 to 1 that rises to one side, with a wide spot anywhere in the field or beside it."""
    y, x = _coordinates(shape)
    angle, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.0)
    spot_y, spot_x = rng.uniform(-1.2, 1.2, 2)
    spot = np.exp(-((y - spot_y) ** 2 + (x - spot_x) ** 2) / (2 * width**2))
    glow = rng.uniform(0, 1) * (np.sin(angle) * y + np.cos(angle) * x) + rng.uniform(0, 2) * spot
    scaled: Floats = ((glow - glow.min()) / np.ptp(glow)).astype(np.float32)
    return scaled


def _coordinates(shape: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Give y, (height, 1), and x, (width,), from -1 at one edge of the field to 1 at the other."""
    return (
        np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None],
        np.linspace(-1, 1, shape[1], dtype=np.float32),
    )
