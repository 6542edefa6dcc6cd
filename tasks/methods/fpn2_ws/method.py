"""FPN2-WS, the paper's method: networks for distance map and blurred border, then a seeded watershed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic

from tasks.methods.method import RANDOM, InitialWeights, Method, Networks, Preset
from tasks.nuclei.segmentation import ConfidenceSettings, TiledSettings

if TYPE_CHECKING:
    from tasks.methods.fpn2_ws.segmenter import Fpn2Ws


class Settings(TiledSettings, ConfidenceSettings):
    """Thresholds of the watershed, and how the networks see a field."""

    marker_threshold: float = pydantic.Field(0.6, gt=0, lt=1, title="Marker threshold")
    """Pixels whose distance map is above this are markers, where the watershed starts. A lower threshold finds more
    nuclei, a higher one separates clumps better. The paper's is 0.6."""
    foreground_threshold: float = pydantic.Field(0.09, gt=0, lt=1, title="Foreground threshold")
    """Pixels whose distance map and a quarter of the blurred border add up to more than this belong to a nucleus. A
    lower threshold makes nuclei larger. For networks that don't predict the foreground."""
    mask_threshold: float = pydantic.Field(0.5, gt=0, lt=1, title="Mask threshold")
    """Pixels that are more likely than this in a nucleus belong to one. A lower threshold makes nuclei larger. With
    FPN2-WS for networks that predict the foreground."""
    test_time_augmentation: bool = pydantic.Field(False, title="Test-time augmentation")
    """The networks see every field in six turned and mirrored forms. Outlines get better, segmenting takes six times
    as long."""


def load(network_dirs: Sequence[Path], settings: Settings) -> Fpn2Ws:
    """Load one network for both targets, or one for each."""
    from tasks.methods.fpn2_ws.network import load_map_network
    from tasks.methods.fpn2_ws.segmenter import Fpn2Ws

    return Fpn2Ws([load_map_network(folder) for folder in network_dirs], settings)


def _imagenet_file(params: Any) -> Path:
    from tasks.methods.fpn2_ws.imagenet import imagenet_file

    return imagenet_file(params)


# What reached the highest F1 for CPU minutes on two cores; see tests/README.md.
LAPTOP: dict[str, Any] = {
    "encoder": "mobilenetv2",
    "decoder": "unet",
    "precision": "bfloat16",
    "cycles": 4,
    "warmup_cycles": 0,
    "batch_size": 4,
    "learning_rate": 2e-3,
    "schedule": "cosine",
    "loss": "binary_crossentropy",
    "outline_weight": 4.0,
    "averaging": 0.99,
}
NETWORK_PARAMS = ("encoder", "decoder", "decoder_filters")
"""Those of the training that `network.json` has too."""
FINE_TUNING: dict[str, Any] = {"cycles": 2, "learning_rate": 5e-4}
"""What differs in a training that begins from the base model."""
BASE = Path(__file__).with_name("base")
"""The base model, which `make base-model` trains; README.md there is its card."""


def base_weights() -> InitialWeights:
    """Give the weights of the base model, with the network that they are of."""
    built = json.loads((BASE / "network.json").read_text())
    return InitialWeights(
        "base",
        "the base model, which comes with the pipeline and can be used without a training; if nothing else is given, "
        "it is trained for {cycles} epochs with the learning rate {learning_rate}".format(**FINE_TUNING),
        is_whole=True,
        params={**LAPTOP, **FINE_TUNING},
        network={"target": "all"} | {name: built[name] for name in NETWORK_PARAMS if name in built},
        folder=BASE,
    )


METHOD = Method(
    name="fpn2_ws",
    title="FPN2-WS: networks and a watershed, the paper's best",
    training="tasks.methods.fpn2_ws.train",
    settings=Settings,
    # The first decides which nuclei there are, the next two move their outlines, the last two remove false ones.
    search={
        "marker_threshold": (0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
        "foreground_threshold": (0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.10, 0.12, 0.14, 0.17, 0.20),
        "mask_threshold": (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7),
        "min_area_px": (20, 30, 45, 70, 100, 150),
        "min_confidence": (0.0, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7),
    },
    segmentation_version=4,
    load=load,
    networks=(
        Networks(
            "foreground",
            "one network for distance map, border and foreground: the best outlines for nuclei of all sizes",
            ({"target": "all"},),
        ),
        Networks("shared", "one network for distance map and border: half the time of two", ({"target": "both"},)),
        Networks(
            "two",
            "two networks, one for each target: the paper's",
            ({"target": "distance_map"}, {"target": "blurred_border"}),
        ),
    ),
    initial_weights=(
        base_weights(),
        InitialWeights(
            "imagenet", "the encoder's, from a file in NUCLEUS_WEIGHTS or from the internet", find=_imagenet_file
        ),
        InitialWeights(RANDOM, "a training from scratch", params={"warmup_cycles": 0}),
    ),
    presets={
        "laptop": Preset({**LAPTOP, "initialisation": "base"}, networks="foreground"),
        "paper": Preset(networks="two"),
    },
    earlier_tasks=("train_fpn",),
    is_default=True,
)
