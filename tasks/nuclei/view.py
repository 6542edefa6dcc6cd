"""How networks see fields, in training as in use: in which grey levels, and how much magnified."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.nuclei.intensity import Scaling


@dataclass(frozen=True, kw_only=True)
class View:
    """What ROIs are made by, and what a network is kept with."""

    scaling: Scaling
    """How intensities become grey levels."""
    zoom: float = 1.0
    """How much all fields are magnified, whatever the size of their nuclei; 1 where that decides."""
    nucleus_px: float | None = None
    """Diameter that nuclei have once a plate is magnified, where each one is by the size of its own nuclei; see
    `nuclear_size`."""
