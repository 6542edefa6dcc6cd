"""Cytoplasm that glows: ragged cell bodies around the nuclei, brighter next to them, with patches and granules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tasks.nuclei.synthesis.shapes import Floats

GLOWING_CELLS = (0.3, 1.0)
"""Share of the cells of a field whose cytoplasm glows."""
REACH_RADII = (0.7, 4.0)
"""How far a cell's body reaches from the outline of its nucleus, in radii of a nucleus."""
MOST_RELATIVE_TO_NUCLEUS = 0.6
"""No cytoplasm is brighter than this share of its own nucleus."""
PATCHES = ((0.3, 1.2, 3.0), (0.1, 1.8, 2.0))
"""Patches of about a third of a nucleus, and granules: scale in radii of a nucleus, from how many standard deviations
of their noise on there is one, and how much brighter it is than the body."""


def cytoplasm_light(
    brightness: float,
    radius: float,
    nuclei: Floats,
    label_image: NDArray[np.uint16],
    rng: np.random.Generator,
) -> Floats:
    """Give the light of the cytoplasm, (y, x), outside of the labels and, smoothed, below them.

    `brightness` is relative to the nucleus of the same cell, whose light is in `nuclei`; `radius` is that of a typical
    nucleus in px. A cell is what lies nearer to its nucleus than to all others, up to its own reach.
    """
    if not label_image.any():
        return np.zeros(label_image.shape, np.float32)
    distance, nearest = ndimage.distance_transform_edt(label_image == 0, return_indices=True)
    cell = label_image[tuple(nearest)]
    level, reach = _draw_cells(brightness, nuclei, label_image, rng)
    body = _body(distance.astype(np.float32) / radius, reach[cell], radius, rng)
    body *= _patches(body, radius, rng)
    light: Floats = np.minimum(brightness * body, MOST_RELATIVE_TO_NUCLEUS) * level[cell]
    smooth: Floats = ndimage.gaussian_filter(light, 0.05 * radius)
    return smooth


def _draw_cells(
    brightness: float, nuclei: Floats, label_image: NDArray[np.uint16], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Draw the brightness of the nuclei of cells that glow, 0 of others, and reaches; by label, that of 0 unused."""
    count = int(label_image.max()) + 1
    own = ndimage.mean(nuclei, label_image, np.arange(count))
    glows = rng.random(count) < rng.uniform(*GLOWING_CELLS)
    least, most = REACH_RADII
    reach = least * (most / least) ** rng.random(count)
    return np.where(glows, own, 0).astype(np.float32), reach.astype(np.float32)


def _body(distance: Floats, reach: Floats, radius: float, rng: np.random.Generator) -> Floats:
    """Give how bright cell bodies are, 1 on the average next to the nucleus; distances and reaches are in radii."""
    ragged = _noise(distance.shape, 0.6 * radius, rng)
    inside = np.clip((reach * (1 + 0.5 * ragged) - distance) / 0.4, 0, 1)
    folds = np.exp(0.35 * _noise(distance.shape, 0.25 * radius, rng))
    body: Floats = inside * folds * np.exp(-distance / 2.5)
    return body


def _patches(body: Floats, radius: float, rng: np.random.Generator) -> Floats:
    """Give the factor by which patches and granules are brighter than the body."""
    factor = np.ones(body.shape, np.float32)
    for scale, threshold, brighter in PATCHES:
        factor += brighter * np.clip(2 * (_noise(body.shape, scale * radius, rng) - threshold), 0, 1)
    return factor


def _noise(shape: tuple[int, ...], sigma_px: float, rng: np.random.Generator) -> Floats:
    """Draw smooth noise with mean 0 and standard deviation 1; the cost doesn't grow with `sigma_px`."""
    step = max(1, int(sigma_px / 2))
    coarse_shape = [length // step + 4 for length in shape]
    coarse = ndimage.gaussian_filter(rng.standard_normal(coarse_shape, np.float32), sigma_px / step, mode="wrap")
    noise: Floats = ndimage.zoom(coarse / coarse.std(), step, order=1, grid_mode=True, mode="nearest")
    return noise[: shape[0], : shape[1]]
