"""Nuclei placed in a field: some touch, none overlap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtri

from tasks.nuclei.errors import InputError
from tasks.nuclei.synthesis.cell_lines import NucleusKind
from tasks.nuclei.synthesis.shapes import Mask, draw_mask

Window = tuple[slice, slice]

MIN_VISIBLE_FRACTION = 0.1
"""A nucleus cut by the border shows at least this part of itself; nobody would outline less."""
MOST_NUCLEI = np.iinfo(np.uint16).max
MAX_TRIES = 400
"""Positions tried for one nucleus before it is left out."""


@dataclass(frozen=True)
class Nucleus:
    mask: Mask
    """(y, x), in its own bounding box, which may reach over the field's border."""
    top: int
    left: int

    @property
    def centre(self) -> NDArray[np.float64]:
        return np.array([self.top + self.mask.shape[0] / 2, self.left + self.mask.shape[1] / 2])

    @property
    def radius(self) -> float:
        return math.sqrt(self.mask.sum() / math.pi)

    def windows(self, shape: tuple[int, ...]) -> tuple[Window, Window]:
        """Give slices of a field of `shape` and of the mask for the part that lies in the field; empty if none does."""
        rows = _overlap(self.top, self.mask.shape[0], shape[0])
        columns = _overlap(self.left, self.mask.shape[1], shape[1])
        return (rows[0], columns[0]), (rows[1], columns[1])


def _overlap(start: int, length: int, size: int) -> tuple[slice, slice]:
    """Give the part of start ... start + length within 0 ... size, counted from 0 and from `start`."""
    first = max(start, 0)
    last = max(first, min(start + length, size))
    return slice(first, last), slice(first - start, last - start)


def place_nuclei(
    kind: NucleusKind, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[list[Nucleus], NDArray[np.uint16]]:
    """Place one nucleus after the other where it has room; one that finds none is left out.

    InputError for more nuclei than the labels' 16 bits can number.
    """
    label_image = np.zeros(shape, np.uint16)
    nuclei: list[Nucleus] = []
    for area_px in _draw_areas(kind, _count(kind, shape), rng):
        nucleus = _find_room(kind, draw_mask(kind, area_px, rng), nuclei, label_image, rng)
        if nucleus is not None:
            nuclei.append(nucleus)
            in_field, own = nucleus.windows(shape)
            label_image[in_field][nucleus.mask[own]] = len(nuclei)
    return nuclei, label_image


def _count(kind: NucleusKind, shape: tuple[int, int]) -> int:
    if kind.nuclei_per_fov == 0:
        return 0
    density = kind.nuclei_per_fov / math.prod(kind.fov_shape_px)
    count = max(1, round(density * math.prod(shape)))
    if count > MOST_NUCLEI:
        raise InputError(
            f"A field of {shape[0]} x {shape[1]} px would hold {count} nuclei; at most {MOST_NUCLEI} have a number in "
            "16 bits. Ask for smaller fields or a higher magnification."
        )
    return count


def _draw_areas(kind: NucleusKind, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw log-normal areas, one from each of `count` equally likely ranges: small fields keep mean and sd too."""
    ranks = (rng.permutation(count) + rng.uniform(0.01, 0.99, count)) / count
    sigma = math.sqrt(math.log(1 + (kind.area_sd_px / kind.area_mean_px) ** 2))
    areas: NDArray[np.float64] = kind.area_mean_px * np.exp(sigma * ndtri(ranks) - sigma**2 / 2)
    return areas


def _find_room(
    kind: NucleusKind, mask: Mask, nuclei: list[Nucleus], label_image: NDArray[np.uint16], rng: np.random.Generator
) -> Nucleus | None:
    """Try positions until the nucleus fits; it loses the few pixels that a neighbour holds already."""
    half_size = np.array(mask.shape) / 2
    area = mask.sum()
    for _ in range(MAX_TRIES):
        top, left = np.rint(_propose_centre(kind, area, nuclei, label_image.shape, rng) - half_size).astype(int)
        nucleus = Nucleus(mask, top, left)
        in_field, own = nucleus.windows(label_image.shape)
        visible = mask[own]
        taken = visible & (label_image[in_field] > 0)
        if visible.sum() < MIN_VISIBLE_FRACTION * area or taken.sum() > kind.max_overlap * visible.sum():
            continue
        free = mask.copy()
        free[own][taken] = False
        if ndimage.label(free[own])[1] == 1:
            return Nucleus(free, top, left)
    return None


def _propose_centre(
    kind: NucleusKind, area: int, nuclei: list[Nucleus], shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.float64]:
    radius = math.sqrt(area / math.pi)
    if not nuclei or rng.random() > kind.contact_chance:
        return rng.uniform(-radius, np.array(shape) + radius)
    neighbour = nuclei[rng.integers(len(nuclei))]
    angle = rng.uniform(0, 2 * math.pi)
    distance = (radius + neighbour.radius) * rng.uniform(0.85, 1.15)
    return neighbour.centre + distance * np.array([math.sin(angle), math.cos(angle)])
