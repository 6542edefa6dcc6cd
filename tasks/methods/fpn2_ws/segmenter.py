"""FPN2-WS on whole fields."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from tasks.methods.fpn2_ws.method import Settings
from tasks.methods.fpn2_ws.network import MapNetwork
from tasks.methods.fpn2_ws.nuclei import Maps, nuclei_from_maps, predict_maps
from tasks.methods.segmenter import Segmenter
from tasks.nuclei.errors import InputError
from tasks.nuclei.intensity import GreyLevels
from tasks.nuclei.segmentation import Nuclei
from tasks.nuclei.targets import TARGETS, Target

FOREGROUND: Target = "foreground"


class Fpn2Ws(Segmenter):
    """Networks that together predict both maps, and what turns these into label images."""

    settings: Settings

    def __init__(self, networks: Sequence[MapNetwork], settings: Settings) -> None:
        super().__init__(settings, networks[0].architecture)
        self._networks = networks
        channels = [target for network in networks for target in network.architecture.targets]
        if sorted(set(channels) - {FOREGROUND}) != sorted(TARGETS) or len(set(channels)) < len(channels):
            raise InputError(
                f"The networks predict {channels}; each of {list(TARGETS)} is needed once, and foreground at most once."
            )
        for what in ("zoom", "nucleus_px", "scaling"):
            values = dict.fromkeys(getattr(network.architecture, what) for network in networks)
            if len(values) > 1:
                raise InputError(
                    f"The networks were trained with {what} {' and '.join(map(str, values))}; they must share one: "
                    "train them on the same ROIs."
                )
        self._order = [channels.index(target) for target in Maps._fields if target in channels]

    def predict_batch(self, images: GreyLevels) -> NDArray[np.float32]:
        """Map images (b, y, x) to their maps, (b, y, x, 2 or 3), in the order of `Maps`."""
        maps = np.concatenate([network.predict(images) for network in self._networks], axis=-1)
        return maps if self._order == sorted(self._order) else maps[..., self._order]

    def look_at(self, image: NDArray[np.integer]) -> Maps:
        scaling, channels = self._networks[0].architecture.scaling, len(self._order)
        seen_by = self.predict_batch, self.settings, scaling, self.zoom, channels, self.least_span
        return predict_maps(image, *seen_by)

    def without_extras(self) -> Fpn2Ws:
        other = copy(self)
        other.settings = self.settings.model_copy(update={"test_time_augmentation": False})
        return other

    @staticmethod
    def nuclei_in(seen: Maps, settings: Settings) -> Nuclei:
        return nuclei_from_maps(seen, settings)

    @property
    def unused_settings(self) -> Collection[str]:
        return ("foreground_threshold",) if len(self._order) > len(TARGETS) else ("mask_threshold",)
