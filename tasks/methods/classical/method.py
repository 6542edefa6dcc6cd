"""The classical way, without a network: background correction, a threshold, and a watershed on the distance map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic

from tasks.methods.method import Method
from tasks.nuclei.segmentation import SegmentationSettings

if TYPE_CHECKING:
    from tasks.methods.classical.segmenter import Classical


class Settings(SegmentationSettings):
    """The thresholds; all lengths follow from the size of the plate's nuclei."""

    min_area_px: int = pydantic.Field(100, ge=0, title="Minimum area")
    """Smaller nuclei are removed; in pixels of the plate as it looks where its nuclei are 40 px wide."""
    threshold_share: float = pydantic.Field(0.5, gt=0, le=2, title="Share of Otsu's threshold")
    """Pixels above this share of the field's threshold by Otsu are searched for nuclei. A lower share finds fainter
    nuclei."""
    local_share: float = pydantic.Field(1.0, ge=0, le=1.5, title="Share of the mean around")
    """Nuclei are parted where it is darker than this share of the mean around. A higher share parts crowds better."""
    outline_level: float = pydantic.Field(0.45, gt=0, lt=1, title="Outline level")
    """A nucleus ends where its brightness has fallen to this share of its own mean. A lower level makes nuclei
    larger."""
    neck: float = pydantic.Field(0.8, gt=0, le=1, title="Neck")
    """Two parts are two nuclei if the neck between them is narrower than this share of the narrower one. A higher share
    separates more."""


def load(network_dirs: Sequence[Path], settings: Settings) -> Classical:
    """Give the segmenter; there is no network to load."""
    from tasks.methods.classical.segmenter import Classical

    return Classical(settings)


METHOD = Method(
    name="classical",
    title="Classical: thresholds and a watershed, without a network or a training",
    training="",
    settings=Settings,
    # The first three decide which nuclei there are, the next moves their outlines, the last removes false ones.
    search={
        "threshold_share": (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0),
        "local_share": (0.0, 0.8, 0.9, 1.0, 1.1),
        "neck": (0.6, 0.7, 0.75, 0.8, 0.85, 0.9),
        "outline_level": (0.25, 0.35, 0.45, 0.55, 0.65),
        "min_area_px": (20, 50, 100, 200, 300),
    },
    load=load,
    initial_weights=(),
    networks=(),
    is_baseline=True,
)
