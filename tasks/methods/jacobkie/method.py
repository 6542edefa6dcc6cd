"""Jacobkie: a network that says of each pixel where in its nucleus it lies; the paper uses it pretrained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic

from tasks.methods.method import RANDOM, InitialWeights, Method, Preset
from tasks.methods.shared.coco import COCO
from tasks.nuclei.segmentation import ConfidenceSettings, TiledSettings

if TYPE_CHECKING:
    from tasks.methods.jacobkie.segmenter import JacobkieSegmenter


class Settings(TiledSettings, ConfidenceSettings):
    """Where the watershed starts and where a nucleus ends."""

    core_depth: float = pydantic.Field(0.25, gt=0, lt=1, title="Core depth")
    """Pixels that lie deeper in a nucleus are its core, where the watershed starts; 0 is at the outline, 1 at the
    centre. A lower depth finds more nuclei, a higher one merges fewer."""
    mask_threshold: float = pydantic.Field(0.5, gt=0, lt=1, title="Mask threshold")
    """Pixels that are more likely than this in a nucleus belong to one. A lower threshold makes nuclei larger."""


def load(network_dirs: Sequence[Path], settings: Settings) -> JacobkieSegmenter:
    """Load the one network."""
    from tasks.methods.jacobkie.network import load_jacobkie
    from tasks.methods.jacobkie.segmenter import JacobkieSegmenter
    from tasks.methods.shared.kept_network import the_one_network

    return JacobkieSegmenter(load_jacobkie(the_one_network(network_dirs, "Jacobkie")), settings)


METHOD = Method(
    name="jacobkie",
    title="Jacobkie: positions of pixels in their nuclei, slower",
    training="tasks.methods.jacobkie.train",
    settings=Settings,
    # The first decides which nuclei there are, the second moves their outlines.
    search={
        "core_depth": (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5),
        "mask_threshold": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    },
    segmentation_version=4,
    load=load,
    initial_weights=(
        InitialWeights(
            "pretrained",
            "the author's whole network",
            file="jacobkie_2018dsb.h5",
            origin="the project jacobkie/2018DSB (what its merge_model_weight.sh makes, renamed)",
            is_whole=True,
            params={"cycles": 0},
        ),
        replace(COCO, is_part_of_more=True),
        InitialWeights(RANDOM, "a training from scratch", params={"batch_norm_learns": True}),
    ),
    presets={
        "laptop": Preset(
            {
                "depth": 50,
                "filters": 64,
                "magnification": 2,
                "zooms": (1.0,),
                "initialisation": RANDOM,
                "precision": "bfloat16",
                "cycles": 4,
                "batch_size": 4,
                "learning_rate": 1e-3,
                "schedule": "cosine",
                "optimiser": "adam",
                "batch_norm_learns": True,
            }
        ),
        "paper": Preset(),
    },
)
