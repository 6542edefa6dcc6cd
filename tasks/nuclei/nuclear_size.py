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

from tasks.nuclei.ignored import counted, cut_nuclei
from tasks.nuclei.measure import edge_pixels
from tasks.nuclei.segmentation import Nuclei

LEAST_ZOOM, MOST_ZOOM = 0.25, 4.0
ZOOMS_OF_A_DOUBLING = 8
"""They are 9 % apart, so that parts of a plate get the same zoom on machines that don't compute the same to the bit."""
NEXT_ZOOM = 1.5 / ZOOMS_OF_A_DOUBLING
"""Nuclei that look larger or smaller by fewer doublings than this have the zoom that is asked for, or the next one."""
STARTS = (1.0, 0.5, 2.0)
"""Zooms that searches begin with. One from a start at which nuclei look too small may end at clumps of them."""
MOST_LOOKS = 5
"""Of one search."""
MUCH_APART = 1.5
"""Diameters that differ by more than this are of different things."""
RIVAL_FIT = 1 / 3
"""A size that fits less than this share of the best is none that it may be."""
FEW_NUCLEI = 5
"""Fewer may be something else, such as debris in empty wells."""


class Areas(NamedTuple):
    """Areas in px of the nuclei of a field, one array each."""

    whole: NDArray[np.integer]
    cut: NDArray[np.integer]
    """Of those that an edge of the image or of what is ignored cuts."""


class NuclearSize(NamedTuple):
    """How large the nuclei of a plate are, and what follows from it."""

    diameter_px: float | None
    """None where no nucleus was found."""
    zoom: float
    remarks: tuple[str, ...] = ()
    """Sentences on why a person should look at what is found."""


def areas_in(label_image: NDArray[Any], ignored: NDArray[np.bool_] | None = None) -> Areas:
    """Measure the nuclei of a (y, x) label image with labels 1..n, but for those that are mostly ignored."""
    areas_px = np.bincount(label_image.ravel())
    areas_px[0] = 0
    at_edge = np.zeros(len(areas_px), bool)
    at_edge[edge_pixels(label_image)] = True
    if ignored is not None:
        at_edge |= cut_nuclei(label_image, ignored)
        areas_px[~counted(label_image, ignored)] = 0
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
    """Give the zoom at which nuclei of a diameter look `nucleus_px` wide, within 5 % and the bounds of all zooms.

    It is 1 where that is right within 14 %: interpolation, which moves outlines, costs more than the size gives.
    """
    doublings = math.log2(nucleus_px / diameter_px)
    if abs(doublings) < NEXT_ZOOM:
        return 1.0
    return float(np.clip(2 ** (round(ZOOMS_OF_A_DOUBLING * doublings) / ZOOMS_OF_A_DOUBLING), LEAST_ZOOM, MOST_ZOOM))


def given_size(diameter_px: float, nucleus_px: float) -> NuclearSize:
    """Give the size that a person states."""
    zoom = zoom_for(diameter_px, nucleus_px)
    return NuclearSize(diameter_px, zoom, tuple(_beyond_bounds(diameter_px, zoom, nucleus_px)))


def find_size(nuclei_at: Callable[[float], Sequence[Nuclei]], nucleus_px: float) -> NuclearSize:
    """Find the size of the nuclei of a plate by what is found at some zooms; the same finds give the same size.

    `nuclei_at` gives the nuclei of some fields, looked at with a zoom, in label images that aren't magnified. Of
    several sizes that look right it is the smallest: clumps pass for nuclei where they look as large as these, and fit
    nearly as well; pieces of nuclei don't. A size at which nuclei look unlike what the networks know, as specks do also
    at the bound of all zooms, is taken only where none looks right.
    """
    look_at = cache(lambda zoom: _look(zoom, nuclei_at(zoom)))
    looks = [look for look in (_search(start, look_at, nucleus_px) for start in STARTS) if look.nuclei]
    if not looks:
        return NuclearSize(None, STARTS[0])
    least_fit = RIVAL_FIT * max(look.fit for look in looks)
    looks = [look for look in looks if look.fit >= least_fit]
    right = [look for look in looks if look.looks_right(nucleus_px)]
    best = min(right or looks, key=lambda look: look.diameter_px)
    zoom = zoom_for(best.diameter_px, nucleus_px)
    remarks = _beyond_bounds(best.diameter_px, zoom, nucleus_px) + _in_doubt(best, looks, nucleus_px)
    return NuclearSize(best.diameter_px, zoom, tuple(remarks))


class _Look(NamedTuple):
    """What is found at a zoom."""

    zoom: float
    nuclei: int
    diameter_px: float
    """0 without nuclei."""
    fit: float
    """Share of the pixels that are in nuclei, times the confidence of each; 1 where a method has none."""

    def following_zoom(self, nucleus_px: float) -> float:
        return zoom_for(self.diameter_px, nucleus_px) if self.nuclei else self.zoom

    def looks_right(self, nucleus_px: float) -> bool:
        """Whether nuclei look about as wide as those that the networks know."""
        return self.nuclei > 0 and abs(math.log2(nucleus_px / (self.diameter_px * self.zoom))) < NEXT_ZOOM

    def is_settled(self, nucleus_px: float) -> bool:
        """Whether the zoom that follows is the same, or the next one."""
        return self.following_zoom(nucleus_px) == self.zoom or self.looks_right(nucleus_px)


def _look(zoom: float, fields: Sequence[Nuclei]) -> _Look:
    sure_px, pixels = 0.0, 0
    for label_image, confidences in fields:
        sure_px += float(np.bincount(label_image.ravel())[1:] @ np.nan_to_num(confidences, nan=1.0))
        pixels += label_image.size
    diameter_px = nuclear_diameter_px([areas_in(field.label_image) for field in fields])
    return _Look(zoom, sum(len(field.confidences) for field in fields), diameter_px or 0, sure_px / max(pixels, 1))


def _search(start: float, look_at: Callable[[float], _Look], nucleus_px: float) -> _Look:
    """Look at the zoom that follows from the last look until it stays; gives the last look."""
    look = look_at(start)
    for _ in range(MOST_LOOKS - 1):
        if look.is_settled(nucleus_px):
            break
        look = look_at(look.following_zoom(nucleus_px))
    return look


def _beyond_bounds(diameter_px: float, zoom: float, nucleus_px: float) -> list[str]:
    """Say where nuclei look larger or smaller than those that the networks know."""
    seen_px = zoom * diameter_px
    if not _are_much_apart(seen_px, nucleus_px):
        return []
    return [
        f"its nuclei are {diameter_px:.0f} px across; at the bound of all zooms, {zoom:g}, they look {seen_px:.0f} px "
        f"across, where the networks know {nucleus_px:g}: look whether they are outlined well"
    ]


def _are_much_apart(diameter_px: float, other_px: float) -> bool:
    return max(diameter_px / other_px, other_px / diameter_px) > MUCH_APART


def _in_doubt(best: _Look, looks: Sequence[_Look], nucleus_px: float) -> list[str]:
    """Say why the size may be another one."""
    size = f"its nuclei seem to be {best.diameter_px:.0f} px across"
    advice = "look at the outlines and, if they are wrong, segment it again with its nuclear diameter given"
    rivals = sorted(look.diameter_px for look in looks if _are_much_apart(look.diameter_px, best.diameter_px))
    others = " or ".join(dict.fromkeys(f"{diameter_px:.0f}" for diameter_px in rivals))
    doubts = [f"{size}, but may be {others}: {advice}"] if rivals else []
    if best.nuclei < FEW_NUCLEI:
        doubts.append(f"{size}, but only {best.nuclei} were found in the fields that were looked at first: {advice}")
    if not best.is_settled(nucleus_px):
        doubts.append(f"{size}, but at the zoom that follows from this they look different: {advice}")
    return doubts
