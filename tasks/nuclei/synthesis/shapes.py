"""Outlines of single nuclei: round ones, and those with lobes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import disk, polygon2mask

from tasks.nuclei.synthesis.cell_lines import NucleusKind

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]


def draw_mask(kind: NucleusKind, area_px: float, rng: np.random.Generator) -> Mask:
    if not kind.lobe_chances:
        return _round_mask(kind, area_px, rng)
    lobes = 1 + rng.choice(len(kind.lobe_chances), p=kind.lobe_chances)
    return _lobed_mask(lobes, area_px, rng)


def _round_mask(kind: NucleusKind, area_px: float, rng: np.random.Generator) -> Mask:
    """Draw an ellipse whose radius is changed by the Fourier terms 2 to 5 of a random outline."""
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    elongation = 1 + (kind.elongation - 1) * rng.gamma(4, 1 / 4)
    terms = np.arange(2, 6)
    amplitudes = rng.normal(0, kind.roughness * 2 / terms)
    phases = rng.uniform(0, 2 * np.pi, len(terms))
    radius = 1 + (amplitudes[:, None] * np.cos(terms[:, None] * angle + phases[:, None])).sum(axis=0)
    outline = np.stack([radius * np.sin(angle), elongation * radius * np.cos(angle)], axis=1)
    outline = outline @ _rotation(rng.uniform(0, np.pi))
    outline *= math.sqrt(area_px / _polygon_area(outline))
    outline -= outline.min(axis=0) - 1
    mask: Mask = polygon2mask(tuple(np.ceil(outline.max(axis=0) + 2).astype(int)), outline)
    return mask


def _lobed_mask(lobes: int, area_px: float, rng: np.random.Generator) -> Mask:
    """Draw discs along a bent line, large in the lobes and small in the strands between them."""
    along = np.linspace(0, 1, 10 * lobes)
    strand, lobe = rng.uniform(0.2, 0.42), ndimage.gaussian_filter1d(rng.uniform(0.7, 1.3, len(along)), 3)
    radii = strand + (lobe - strand) * np.abs(np.cos(np.pi * (lobes - 1) * along))
    length = 0.7 + 2.2 * (lobes - 1) * rng.uniform(0.9, 1.3)
    turn = rng.uniform(0.3, 1.2) * np.pi * (1.3 if lobes > 2 else 1)
    direction = rng.uniform(0, 2 * np.pi) + turn * along
    line = np.cumsum(np.stack([np.sin(direction), np.cos(direction)], axis=1), axis=0) * length / len(along)
    unit_px = 20
    unit_area = _union_of_discs(line * unit_px, radii * unit_px).sum() / unit_px**2
    scale = math.sqrt(area_px / unit_area)
    return _union_of_discs(line * scale, radii * scale)


def _union_of_discs(centres: NDArray[np.float64], radii: NDArray[np.float64]) -> Mask:
    margin = radii.max() + 1
    centres = centres - centres.min(axis=0) + margin
    mask = np.zeros(tuple(np.ceil(centres.max(axis=0) + margin).astype(int)), bool)
    for centre, radius in zip(centres, radii, strict=True):
        mask[disk(centre, radius, shape=mask.shape)] = True
    return mask


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _polygon_area(outline: NDArray[np.float64]) -> float:
    """Give the area by the shoelace formula."""
    y, x = outline.T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2
