"""Made-up fields without a nucleus, for training.

A scaling by percentiles gives uneven light the whole range of grey levels where no nucleus is brighter. Networks that
never saw that may take a well of it for one large nucleus.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

BRIGHTEST = 255.0
MOST_LAYERS = 3
MOST_NOISE = 12.0
"""Standard deviation of a pixel in grey levels: an empty well has some 8."""
SMOOTH_SIGMA_PX = (3.0, 40.0)
"""Of clouds: as fine as nuclei, and much coarser."""

Floats = NDArray[np.float32]


def empty_field(side_px: int, rng: np.random.Generator) -> Floats:
    """Draw grey levels (side_px, side_px), 0 to 255, of light that is uneven in some ways at once, and of noise."""
    layers = rng.choice(len(_LAYERS), rng.integers(1, MOST_LAYERS + 1))
    light = np.sum([rng.uniform(0.2, 1) * _to_unit(_LAYERS[layer](side_px, rng)) for layer in layers], axis=0)
    low, high = np.sort(rng.uniform(0, BRIGHTEST, 2))
    noise = rng.uniform(0, MOST_NOISE) * rng.standard_normal((side_px, side_px), np.float32)
    field: Floats = np.clip(low + (high - low) * _to_unit(light) + noise, 0, BRIGHTEST).astype(np.float32)
    return field


def _to_unit(light: Floats) -> Floats:
    span = float(np.ptp(light))
    return (light - light.min()) / span if span else np.zeros_like(light)


def _gradient(side_px: int, rng: np.random.Generator) -> Floats:
    y, x = _centred(side_px, 0, 0)
    angle = rng.uniform(0, 2 * np.pi)
    return np.asarray(np.cos(angle) * y + np.sin(angle) * x)


def _vignette(side_px: int, rng: np.random.Generator) -> Floats:
    y, x = _centred(side_px, *rng.uniform(-1, 1, 2))
    return np.asarray(-(y**2) - x**2)


def _spot(side_px: int, rng: np.random.Generator) -> Floats:
    y, x = _centred(side_px, *rng.uniform(-1, 1, 2))
    return np.asarray(np.exp(-(y**2 + x**2) / (2 * rng.uniform(0.15, 0.8) ** 2)))


def _clouds(side_px: int, rng: np.random.Generator) -> Floats:
    sigma_px = float(np.exp(rng.uniform(*np.log(SMOOTH_SIGMA_PX))))
    noise = rng.standard_normal((side_px, side_px), np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT))


def _centred(side_px: int, centre_y: float, centre_x: float) -> tuple[Floats, Floats]:
    """Give y (side_px, 1) and x (1, side_px), from -1 to 1, less the centre."""
    along = np.linspace(-1, 1, side_px, dtype=np.float32)
    return along[:, np.newaxis] - np.float32(centre_y), along[np.newaxis] - np.float32(centre_x)


_LAYERS: tuple[Callable[[int, np.random.Generator], Floats], ...] = (_gradient, _vignette, _spot, _clouds)
