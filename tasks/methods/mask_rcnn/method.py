"""Mask R-CNN, the paper's second method: boxes and masks on tiles that overlap."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic

from tasks.methods.method import RANDOM, InitialWeights, Method, Preset
from tasks.methods.shared.coco import COCO
from tasks.nuclei.segmentation import SegmentationSettings

if TYPE_CHECKING:
    from tasks.methods.mask_rcnn.segmenter import MaskRcnnSegmenter

LEAST_SCORE = 0.3
"""Detections with a lower score aren't kept."""


class Settings(SegmentationSettings):
    """Which detections count."""

    min_score: float = pydantic.Field(0.7, ge=LEAST_SCORE, lt=1, title="Minimum score")
    """Detections with a lower score are discarded. A lower score finds more nuclei."""


def load(network_dirs: Sequence[Path], settings: Settings) -> MaskRcnnSegmenter:
    """Load the one network."""
    from tasks.methods.mask_rcnn.network import load_mask_rcnn
    from tasks.methods.mask_rcnn.segmenter import MaskRcnnSegmenter
    from tasks.methods.shared.kept_network import the_one_network

    return MaskRcnnSegmenter(load_mask_rcnn(the_one_network(network_dirs, "Mask R-CNN")), settings)


METHOD = Method(
    name="mask_rcnn",
    title="Mask R-CNN: boxes and masks, slower",
    training="tasks.methods.mask_rcnn.train",
    settings=Settings,
    search={"min_score": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)},
    segmentation_version=4,
    load=load,
    initial_weights=(
        COCO,
        InitialWeights(
            "pretrained",
            "a whole network for nuclei in Matterport's naming, such as the paper's",
            file="mask_rcnn_nuclei.h5",
            origin="the paper, renamed",
            is_whole=True,
            params={"cycles": 0},
        ),
        InitialWeights(RANDOM, "a training from scratch", params={"stages": "all", "batch_norm_learns": True}),
    ),
    presets={
        "laptop": Preset(
            {
                "depth": 50,
                "pyramid_filters": 64,
                "rpn_filters": 64,
                "head_units": 256,
                "mask_filters": 64,
                "initialisation": RANDOM,
                "precision": "bfloat16",
                "cycles": 4,
                "batch_size": 4,
                "proposals": 48,
                "learning_rate": 1e-3,
                "schedule": "cosine",
                "stages": "all",
                "optimiser": "adam",
                "batch_norm_learns": True,
            }
        ),
        "paper": Preset(),
    },
)
