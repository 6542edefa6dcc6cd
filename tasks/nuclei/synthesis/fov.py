"""A synthetic field of view: nuclei are placed, give light, and the camera takes the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.synthesis.camera import expose
from tasks.nuclei.synthesis.cell_lines import NucleusKind
from tasks.nuclei.synthesis.light import render
from tasks.nuclei.synthesis.placement import place_nuclei


@dataclass(frozen=True)
class SyntheticFov:
    """A field of view, as the camera sees it, and its nuclei."""

    image: NDArray[np.uint16]
    """(y, x), camera offset included."""
    label_image: NDArray[np.uint16]
    """(y, x), 0 = background; numbered without gaps, each label in one piece."""


def synthesize_fov(kind: NucleusKind, shape: tuple[int, int], rng: np.random.Generator) -> SyntheticFov:
    """Synthesize one field of `shape` (y, x) px with the kind's density of nuclei, at least one.

    Nuclei touch, but labels never overlap; some are cut by the border. Nuclei too blurred to be outlined
    have no label.
    """
    nuclei, label_image = place_nuclei(kind, shape, rng)
    light = render(kind, nuclei, label_image, rng)
    return SyntheticFov(expose(kind, light, rng), label_image)
