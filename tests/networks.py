"""Small untrained networks for the tests."""

from __future__ import annotations

from pathlib import Path

from tasks.nuclei.models.fpn import Architecture, Fpn
from tasks.nuclei.targets import TARGETS


def make_network(folder: Path, targets: tuple = TARGETS, zoom: float = 1.0) -> Path:
    """Write an untrained network as `train_fpn` does; its maps are noise, but always the same for a folder."""
    folder.mkdir(parents=True)
    Fpn(Architecture("mobilenetv2", targets, decoder_filters=8, zoom=zoom)).save(folder)
    return folder
