"""Small untrained networks for the tests."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import tf_keras as keras

from tasks.methods.fpn2_ws.network import Architecture, MapNetwork
from tasks.methods.jacobkie.network import Architecture as JacobkieArchitecture
from tasks.methods.jacobkie.network import Jacobkie
from tasks.methods.mask_rcnn.network import Architecture as MaskRcnnArchitecture
from tasks.methods.mask_rcnn.network import MaskRcnn
from tasks.methods.shared.kept_network import KeptNetwork
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
    view = View(zoom=zoom, nucleus_px=nucleus_px, scaling=scaling)
    return _write(folder, _network_of_noise, Architecture("mobilenetv2", targets, decoder_filters=(8,), **asdict(view)))


def make_mask_rcnn(folder: Path) -> Path:
    """Write an untrained network as `train_mask_rcnn` does."""
    return _write(folder, MaskRcnn, MaskRcnnArchitecture(50, 8, 8, 8, 8, scaling="robust"))


def make_jacobkie(folder: Path) -> Path:
    """Write an untrained network as `train_jacobkie` does."""
    return _write(folder, Jacobkie, JacobkieArchitecture(50, 8, 2, zooms=(0.5, 1.0), scaling="robust"))


def _network_of_noise(architecture: Architecture) -> MapNetwork:
    network = MapNetwork(architecture)
    head = network.model.get_layer("head_conv")
    weights, bias = head.get_weights()
    head.set_weights([weights * 300, bias])
    return network


def _write(folder: Path, build: Callable[[Any], KeptNetwork], architecture: View) -> Path:
    folder.mkdir(parents=True)
    for name, content in _files_of(build, architecture).items():
        (folder / name).write_bytes(content)
    return folder


@cache
def _files_of(build: Callable[[Any], KeptNetwork], architecture: View) -> dict[str, bytes]:
    """Give the files of a network by name. Building one takes seconds."""
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        build(architecture).save(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}
