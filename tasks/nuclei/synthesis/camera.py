"""The image that the camera takes of the light: shading, noise, grey levels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.synthesis.cell_lines import NucleusKind
from tasks.nuclei.synthesis.light import Floats

CAMERA_OFFSET = 100.0
READ_NOISE = 3.0
GREY_LEVELS_PER_PHOTON = 2.0


def expose(kind: NucleusKind, light: Floats, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Give the image of a 16-bit sCMOS camera: shading, photon noise, read noise, offset."""
    photons = (kind.background_photons + kind.nucleus_photons * light) * _shading(kind, light.shape, rng)
    image = rng.poisson(photons) * GREY_LEVELS_PER_PHOTON + CAMERA_OFFSET
    image += READ_NOISE * rng.standard_normal(light.shape, np.float32)
    grey_levels: NDArray[np.uint16] = np.clip(np.rint(image), 0, 65535).astype(np.uint16)
    return grey_levels


def _shading(kind: NucleusKind, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Give the uneven illumination: 1 at a point near the middle, falling with the square of the distance from it."""
    centre_y, centre_x = rng.uniform(-0.3, 0.3, 2)
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)
    shading: Floats = 1 - kind.vignetting / 2 * ((y - centre_y) ** 2 + (x - centre_x) ** 2)
    return shading
