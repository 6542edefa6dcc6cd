"""FPN2-WS, the paper's method: networks for distance map and blurred border, then a seeded watershed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.methods.fpn2_ws.network import Fpn, load_fpn
from tasks.methods.segmenter import Segmenter
from tasks.nuclei.errors import InputError
from tasks.nuclei.segmentation import SegmentationSettings, instances_from_maps, predict_maps
from tasks.nuclei.targets import TARGETS

Maps = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Distance map and blurred border of a field, (y, x) each."""


class Fpn2Ws(Segmenter):
    """Networks that together predict both maps, and what turns these into label images."""

    # The first decides which nuclei there are, the second moves their outlines.
    searched = (
        ("marker_threshold", (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)),
        ("foreground_threshold", (0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.10, 0.12, 0.14, 0.17, 0.20)),
    )

    def __init__(self, networks: Sequence[Fpn], settings: SegmentationSettings) -> None:
        super().__init__(settings)
        self._networks = networks
        channels = [target for network in networks for target in network.architecture.targets]
        if sorted(channels) != sorted(TARGETS):
            raise InputError(f"The networks predict {channels}; each of {list(TARGETS)} is needed once.")
        zooms = {network.architecture.zoom for network in networks}
        if len(zooms) > 1:
            raise InputError(f"The networks were trained at zooms {sorted(zooms)}; they must share one.")
        self._zoom = zooms.pop()
        self._order = [channels.index(target) for target in TARGETS]

    def predict_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map images (b, y, x) to distance maps and blurred borders, (b, y, x, 2) in this order."""
        maps = [network.predict(images) for network in self._networks]
        return maps[0] if len(maps) == 1 else np.concatenate(maps, axis=-1)[..., self._order]

    def look_at(self, image: NDArray[np.integer]) -> Maps:
        return predict_maps(image, self.predict_batch, self.settings, self._zoom)

    @staticmethod
    def nuclei_in(seen: Maps, settings: SegmentationSettings) -> NDArray[np.int32]:
        return instances_from_maps(*seen, settings)


def load_fpn2_ws(network_dirs: Sequence[Path], settings: SegmentationSettings) -> Fpn2Ws:
    """Load one network for both targets, or one for each."""
    return Fpn2Ws([load_fpn(folder) for folder in network_dirs], settings)
