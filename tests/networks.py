"""Small untrained networks for the tests."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from functools import cache
from pathlib import Path

import tf_keras as keras

from tasks.methods.fpn2_ws.network import Architecture, MapNetwork
from tasks.nuclei.intensity import Scaling
from tasks.nuclei.targets import TARGETS
from tasks.nuclei.view import View


def make_network(
    folder: Path,
    targets: tuple = TARGETS,
    zoom: float = 1.0,
    nucleus_px: float | None = None,
    scaling: Scaling = "minmax",
) -> Path:
    """Write an untrained network as `train_fpn2_ws` does; its maps are noise around one half, always the same."""
    folder.mkdir(parents=True)
    for name, content in _files_of_network(targets, View(zoom=zoom, nucleus_px=nucleus_px, scaling=scaling)).items():
        (folder / name).write_bytes(content)
    return folder


@cache
def _files_of_network(targets: tuple, view: View) -> dict[str, bytes]:
    """Give the files of a network by name. Building one takes seconds."""
    keras.utils.set_random_seed(0)
    network = MapNetwork(Architecture("mobilenetv2", targets, decoder_filters=(8,), **asdict(view)))
    head = network.model.get_layer("head_conv")
    weights, bias = head.get_weights()
    head.set_weights([weights * 300, bias])
    with tempfile.TemporaryDirectory() as folder:
        network.save(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}
