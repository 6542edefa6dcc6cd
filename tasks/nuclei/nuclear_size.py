"""How large the nuclei of a plate are, and how much it is magnified for networks that know nuclei of one size.

All plates of a training are magnified by the size of their true nuclei. In use, the size is found by looking: what is
found at one zoom says which is the next, until it stays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.measure import edge_pixels
from tasks.nuclei.segmentation import Nuclei

LEAST_ZOOM, MOST_ZOOM = 0.25, 4.0
ZOOMS_OF_A_DOUBLING = 8
"""They are 9 % apart, so that parts of a plate get the same zoom on machines that don't compute the same to the bit."""
STARTS = (1.0, 0.5, 2.0)
"""Zooms that a search begins with."""
MOST_LOOKS = 3
"""At most so many after one another from one start."""
MUCH_APART = 1.5
"""Diameters that differ by more than this are of different things."""


class Areas(NamedTuple):
    """Areas in px of the nuclei of a field, one array each."""

    whole: NDArray[np.integer]
    cut: NDArray[np.integer]
    """Of those that an edge of the image cuts."""


class NuclearSize(NamedTuple):
    """How large the nuclei of a plate are, and what follows from it."""

    diameter_px: float | None
    """None where no nucleus was found."""
    zoom: float
    remarks: tuple[str, ...] = ()
    """Sentences on why a person should look at what is found."""


def areas_in(label_image: NDArray[Any]) -> Areas:
    """Measure the nuclei of a (y, x) label image with labels 1..n."""
    areas_px = np.bincount(label_image.ravel())
    areas_px[0] = 0
    at_edge = np.zeros(len(areas_px), bool)
    at_edge[edge_pixels(label_image)] = True
    return Areas(areas_px[~at_edge & (areas_px > 0)], areas_px[at_edge & (areas_px > 0)])


def nuclear_diameter_px(fields: Sequence[Areas]) -> float | None:
    """Give the diameter of the nuclei of all fields of a plate; None if there are none.

    Half of the area of all nuclei is in larger ones, half in smaller ones: specks don't count, however many they are.
    It is that of a disk of the same area, sqrt(4 A / pi). Nuclei that an edge cuts count only if it cuts all.
    """
    whole = [area_px for field in fields for area_px in field.whole]
    areas_px = np.sort(whole or [area_px for field in fields for area_px in field.cut])
    if not len(areas_px):
        return None
    summed = np.cumsum(areas_px)
    return math.sqrt(4 * areas_px[np.searchsorted(summed, summed[-1] / 2)] / math.pi)


def zoom_for(diameter_px: float, nucleus_px: float) -> float:
    """Give the zoom at which nuclei of a diameter look `nucleus_px` wide, within 5 % and the bounds of all zooms."""
    steps = round(ZOOMS_OF_A_DOUBLING * math.log2(nucleus_px / diameter_px))
    return float(np.clip(2 ** (steps / ZOOMS_OF_A_DOUBLING), LEAST_ZOOM, MOST_ZOOM))


def given_size(diameter_px: float, nucleus_px: float) -> NuclearSize:
    """Give the size that a person states."""
    zoom = zoom_for(diameter_px, nucleus_px)
    return NuclearSize(diameter_px, zoom, tuple(_beyond_bounds(diameter_px, zoom, nucleus_px)))


def find_size(nuclei_at: Callable[[float], Sequence[Nuclei]], nucleus_px: float) -> NuclearSize:
    """Find the size of the nuclei of a plate by what is found at some zooms; the same finds give the same size.

    `nuclei_at` gives the nuclei of some fields, looked at with a zoom; label images and areas are of the fields as
    they are, not magnified.
    """
    look_at = cache(lambda zoom: _look(nuclei_at(zoom)))
    ends = [_settled(start, look_at, nucleus_px) for start in STARTS]
    best = max(ends, key=lambda end: end.fit)
    if best.diameter_px is None:
        return NuclearSize(None, STARTS[0])
    zoom = zoom_for(best.diameter_px, nucleus_px)
    remarks = [*_beyond_bounds(best.diameter_px, zoom, nucleus_px), *_in_doubt(best, ends)]
    return NuclearSize(best.diameter_px, zoom, tuple(remarks))


class _Look(NamedTuple):
    """What is found at a zoom."""

    diameter_px: float | None
    fit: float
    """Share of the pixels that are in nuclei, times the confidence of each; 1 where a method has none."""


def _look(fields: Sequence[Nuclei]) -> _Look:
    sure_px, pixels = 0.0, 0
    for label_image, confidences in fields:
        sure_px += float(np.bincount(label_image.ravel())[1:] @ np.nan_to_num(confidences, nan=1.0))
        pixels += label_image.size
    return _Look(nuclear_diameter_px([areas_in(field.label_image) for field in fields]), sure_px / max(pixels, 1))


def _settled(start: float, look_at: Callable[[float], _Look], nucleus_px: float) -> _Look:
    """Look at the zoom that follows from the last look, until it stays; gives the last look."""
    zoom = start
    for _ in range(MOST_LOOKS):
        look = look_at(zoom)
        if look.diameter_px is None:
            break
        following = zoom_for(look.diameter_px, nucleus_px)
        if abs(math.log2(following / zoom)) < 1.5 / ZOOMS_OF_A_DOUBLING:
            break
        zoom = following
    return look


def _beyond_bounds(diameter_px: float, zoom: float, nucleus_px: float) -> list[str]:
    """Say where nuclei look larger or smaller than those that the networks know."""
    seen_px = zoom * diameter_px
    if max(seen_px / nucleus_px, nucleus_px / seen_px) < MUCH_APART:
        return []
    return [
        f"its nuclei are {diameter_px:.0f} px across; at the bound of all zooms, {zoom:g}, they look {seen_px:.0f} px "
        f"across, where the networks know {nucleus_px:g}: look whether they are outlined well"
    ]


def _in_doubt(best: _Look, ends: Sequence[_Look]) -> list[str]:
    """Say where searches that began at other zooms ended at nuclei of another size."""
    assert best.diameter_px is not None
    others = [
        end.diameter_px
        for end in ends
        if end.diameter_px is not None and abs(math.log2(end.diameter_px / best.diameter_px)) > math.log2(MUCH_APART)
    ]
    if not others:
        return []
    return [
        f"its nuclei seem to be {best.diameter_px:.0f} px across, but may be {others[0]:.0f}: look at the outlines "
        "and, if they are wrong, segment it again with its nuclear diameter given"
    ]
