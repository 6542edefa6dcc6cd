"""Jacobkie on whole fields, in several zooms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.methods.jacobkie.method import Settings
from tasks.methods.jacobkie.network import MAPS, Jacobkie
from tasks.methods.jacobkie.nuclei import agreement, best_of_zooms, nuclei_from_maps
from tasks.methods.segmenter import Segmenter
from tasks.nuclei.intensity import grey_levels
from tasks.nuclei.measure import largest_pieces
from tasks.nuclei.resizing import labels_resized
from tasks.nuclei.segmentation import Nuclei, magnified, predict_tiled, within_limits

MOST_TILE_PX = 512
"""The network sees a tile magnified; larger ones take gigabytes."""
STEPS_OF_ONE = 127
"""Maps are kept in a byte: calibration holds those of many fields."""


@dataclass(frozen=True)
class SeenZooms:
    """What the network says of a field in each zoom: maps (y, x, 9) int8, 127 stands for 1."""

    maps: list[NDArray[np.int8]]
    field_shape: tuple[int, int]


class JacobkieSegmenter(Segmenter):
    """A network that says where in its nucleus a pixel lies, and what makes label images of that."""

    settings: Settings

    def __init__(self, network: Jacobkie, settings: Settings) -> None:
        super().__init__(settings, network.architecture)
        self._network = network

    def look_at(self, image: NDArray[np.integer]) -> SeenZooms:
        architecture = self._network.architecture
        grey = grey_levels(image, architecture.scaling, self.least_span)
        side_px = max(min(self.settings.max_tile_px, MOST_TILE_PX), 4 * self.settings.halo_px)
        tiling = self.settings.model_copy(update={"max_tile_px": side_px})
        zooms = [self.zoom * zoom for zoom in architecture.zooms]
        maps = [predict_tiled(magnified(grey, zoom), self._network.predict, tiling, MAPS) for zoom in zooms]
        return SeenZooms([np.rint(STEPS_OF_ONE * of_zoom).astype(np.int8) for of_zoom in maps], image.shape)

    @staticmethod
    def nuclei_in(seen: SeenZooms, settings: Settings) -> Nuclei:
        label_images, scores = [], []
        for kept in seen.maps:
            maps = np.divide(kept, STEPS_OF_ONE, dtype=np.float32)
            label_image = nuclei_from_maps(maps, settings)
            scores.append(agreement(label_image, maps))
            label_images.append(labels_resized(label_image, seen.field_shape))
        found = best_of_zooms(label_images, scores)
        return within_limits(largest_pieces(found.label_image), found.confidences, settings)
