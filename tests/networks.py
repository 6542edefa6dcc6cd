"""Small untrained networks for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tf_keras as keras

from tasks.methods.fpn2_ws.network import Architecture, MapNetwork
from tasks.nuclei.intensity import Scaling
from tasks.nuclei.targets import TARGETS


def make_network(
    folder: Path,
    targets: tuple = TARGETS,
    zoom: float = 1.0,
    nucleus_px: float | None = None,
    scaling: Scaling = "minmax",
) -> Path:
    """Write an untrained network as `train_fpn2_ws` does; its maps are noise around one half, always the same."""
    folder.mkdir(parents=True)
    keras.utils.set_random_seed(0)
    view: dict[str, Any] = {"zoom": zoom, "nucleus_px": nucleus_px, "scaling": scaling}
    network = MapNetwork(Architecture("mobilenetv2", targets, decoder_filters=(8,), **view))
    head = network.model.get_layer("head_conv")
    weights, bias = head.get_weights()
    head.set_weights([weights * 300, bias])
    network.save(folder)
    return folder
