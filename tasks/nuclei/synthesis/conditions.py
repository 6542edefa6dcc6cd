"""What differs from field to field in a laboratory: how full it is, what else glows, focus, light and exposure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tasks.nuclei.synthesis.cell_lines import NucleusKind

OUTLINED_DEFOCUS = 0.3
"""`defocus` up to which nuclei can be outlined, and have labels; what is further out of focus is haze."""


@dataclass(frozen=True)
class Conditions:
    """How a field differs from those of the paper's plates, which have the defaults."""

    density: float = 1.0
    """Factor on the number of nuclei; 0 for an empty field."""
    brightness_sd: float = 0.0
    """Standard deviation of the logarithm of a nucleus's brightness, in addition to the kind's own."""
    cytoplasm: float = 0.0
    """Brightness of the cytoplasm next to a nucleus, relative to this nucleus. It never has a label."""
    debris_per_mpx: float = 0.0
    """Specks, micronuclei, fibres and fragments of dead cells in 1,000,000 px. They never have a label."""
    blur: float = 1.0
    """Factor on the sigma of the microscope's blur in focus."""
    defocus: float = 0.0
    """Gaussian sigma of the blur of a field that is out of focus, in radii of a nucleus."""
    exposure: float = 1.0
    """Factor on the photons: noise relative to the nuclei grows with its inverse square root."""
    vignetting: float | None = None
    """Part of the light lost in the corners, below 0.59; None for the kind's own."""
    glow: float = 0.0
    """Brightest part of an uneven glow behind the nuclei, relative to a nucleus of mean brightness."""

    @property
    def are_outlined(self) -> bool:
        """Whether somebody could outline the nuclei."""
        return self.defocus <= OUTLINED_DEFOCUS

    def applied_to(self, kind: NucleusKind) -> NucleusKind:
        """Give the kind with the changes that are those of one of its numbers."""
        return replace(
            kind,
            nuclei_per_fov=round(kind.nuclei_per_fov * self.density),
            brightness_sd=math.hypot(kind.brightness_sd, self.brightness_sd),
            psf_sigma_px=kind.psf_sigma_px * self.blur,
            vignetting=kind.vignetting if self.vignetting is None else self.vignetting,
            nucleus_photons=kind.nucleus_photons * self.exposure,
            background_photons=kind.background_photons * self.exposure,
        )


PLAIN = Conditions()
"""The paper's own microscope."""


@dataclass(frozen=True)
class _Range:
    share_of_fields: float
    """The other fields have the default, or the range before for the same condition."""
    low: float
    high: float
    """Between these, all ratios are equally likely."""


VARIED = (
    ("density", _Range(1.0, 0.15, 1.4)),
    ("density", _Range(0.06, 0.0, 0.0)),
    ("brightness_sd", _Range(0.5, 0.15, 0.6)),
    ("cytoplasm", _Range(0.45, 0.05, 0.5)),
    ("debris_per_mpx", _Range(0.6, 3.0, 80.0)),
    ("blur", _Range(1.0, 0.7, 2.0)),
    ("defocus", _Range(0.12, 0.06, 0.18)),
    ("defocus", _Range(0.05, 1.0, 1.8)),
    ("exposure", _Range(1.0, 0.12, 2.0)),
    ("vignetting", _Range(0.3, 0.25, 0.5)),
    ("glow", _Range(0.35, 0.05, 1.0)),
)
"""Fields as other laboratories take them: empty ones and such that are out of focus among them."""


def draw(rng: np.random.Generator) -> Conditions:
    """Draw the conditions of one field from `VARIED`, each independently of the others."""
    drawn: dict[str, float] = {}
    for name, allowed in VARIED:
        chosen, place = rng.random(2)
        if chosen < allowed.share_of_fields:
            drawn[name] = allowed.low * (allowed.high / allowed.low) ** place if allowed.low else 0.0
    return Conditions(**drawn)
