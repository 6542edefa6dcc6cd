"""Bright spots: a classifier of pixels, a threshold on it, and a watershed between nuclei that touch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic

from tasks.methods.method import RANDOM, InitialWeights, Method, Preset
from tasks.nuclei.errors import InputError
from tasks.nuclei.segmentation import ConfidenceSettings

if TYPE_CHECKING:
    from laboratory_method.segmenter import BrightSpots


class Settings(ConfidenceSettings):
    """The threshold of its own, besides the limits that every method with confidences has."""

    level: float = pydantic.Field(0.5, gt=0, lt=1, title="Level")
    """Pixels that are more probably part of a nucleus than this belong to one. A lower level makes nuclei larger."""


def load(network_dirs: Sequence[Path], settings: Settings) -> BrightSpots:
    """Load the one classifier."""
    # Imported here, because forms are built from this module.
    from laboratory_method.classifier import load_classifier
    from laboratory_method.segmenter import BrightSpots

    if len(network_dirs) != 1:
        raise InputError(f"Bright spots is one network; {len(network_dirs)} were given.")
    return BrightSpots(load_classifier(network_dirs[0]), settings)


METHOD = Method(
    name="bright_spots",
    title="Bright spots: a classifier of pixels, seconds on a CPU",
    training="laboratory_method.train",
    settings=Settings,
    search={"level": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)},
    load=load,
    initial_weights=(InitialWeights(RANDOM, "a training from scratch"),),
    presets={"laptop": Preset({"cycles": 10}), "paper": Preset()},
)
