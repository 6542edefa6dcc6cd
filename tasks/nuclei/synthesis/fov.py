"""A synthetic field of view: nuclei are placed, give light, and the camera takes the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.synthesis.camera import expose
from tasks.nuclei.synthesis.cell_lines import NucleusKind
from tasks.nuclei.synthesis.conditions import PLAIN, Conditions
from tasks.nuclei.synthesis.light import render
from tasks.nuclei.synthesis.placement import place_nuclei


@dataclass(frozen=True)
class SyntheticFov:
    """A field of view, as the camera sees it, and its nuclei."""

    image: NDArray[np.uint16]
    """(y, x), camera offset included."""
    label_image: NDArray[np.uint16]
    """(y, x), 0 = background; numbered without gaps, each label in one piece."""


def synthesize_fov(
    kind: NucleusKind, shape: tuple[int, int], rng: np.random.Generator, conditions: Conditions = PLAIN
) -> SyntheticFov:
    """Synthesize one field of `shape` (y, x) px with the kind's density of nuclei, at least one if that isn't 0.

    Nuclei touch, but labels never overlap; some are cut by the border. Nuclei too blurred to be outlined
    have no label. InputError for a field of more nuclei than 16 bits can number.
    """
    kind = conditions.applied_to(kind)
    nuclei, label_image = place_nuclei(kind, shape, rng)
    light = render(kind, nuclei, label_image, conditions, rng)
    if not conditions.are_outlined:
        label_image = np.zeros_like(label_image)
    return SyntheticFov(expose(kind, light, conditions, rng), label_image)
