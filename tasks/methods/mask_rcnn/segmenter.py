"""Mask R-CNN on whole fields: tiles of 256 px, whose nuclei are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.methods.mask_rcnn.detections import label_image_of
from tasks.methods.mask_rcnn.method import LEAST_SCORE, Settings
from tasks.methods.mask_rcnn.network import SIDE_PX, Detections, MaskRcnn
from tasks.methods.mask_rcnn.tiles import Merged, Tile, merge_tiles, tiles_of, without_cut_pieces
from tasks.methods.segmenter import Segmenter
from tasks.nuclei.intensity import grey_levels
from tasks.nuclei.measure import largest_pieces
from tasks.nuclei.resizing import labels_resized
from tasks.nuclei.segmentation import Nuclei, magnified, within_limits

OVERLAP_PX = 50
"""Overlap of neighbouring tiles; the paper's."""
MOST_DETECTIONS = 256
"""In a tile: Matterport's 100 are too few for small crowded nuclei."""
BATCH = 8


@dataclass(frozen=True)
class SeenTiles:
    """What was detected in the tiles of a field, as the network saw it."""

    tiles: list[Tile]
    detections: list[Detections]
    shape: tuple[int, int]
    """Shape of the magnified field (y, x)."""
    field_shape: tuple[int, int]


class MaskRcnnSegmenter(Segmenter):
    """A network that detects nuclei, and what puts them together to label images."""

    def __init__(self, network: MaskRcnn, settings: Settings) -> None:
        super().__init__(settings, network.architecture)
        self._network = network

    def look_at(self, image: NDArray[np.integer]) -> SeenTiles:
        grey = grey_levels(image, self._network.architecture.scaling, self.least_span)
        seen = magnified(grey, self.zoom)
        height, width = seen.shape
        # Of a field smaller than a tile, the rest is its mirror image.
        missing = (max(SIDE_PX - height, 0), max(SIDE_PX - width, 0))
        padded = np.pad(seen, ((0, missing[0]), (0, missing[1])), mode="symmetric")
        tiles = tiles_of((height, width), SIDE_PX, OVERLAP_PX)
        images = [padded[tile.window] for tile in tiles]
        detections: list[Detections] = []
        for first in range(0, len(tiles), BATCH):
            detections += self._network.detect(np.stack(images[first : first + BATCH]), LEAST_SCORE, MOST_DETECTIONS)
        return SeenTiles(tiles, detections, (height, width), image.shape)

    @staticmethod
    def nuclei_in(seen: SeenTiles, settings: Settings) -> Nuclei:
        label_images = [_label_image(found, settings.min_score) for found in seen.detections]
        merged = merge_tiles(without_cut_pieces(label_images, seen.tiles), seen.tiles, seen.shape)
        label_image = labels_resized(merged.label_image, seen.field_shape)
        return within_limits(largest_pieces(label_image), _best_scores(merged, seen.detections), settings)


def _best_scores(merged: Merged, detections: Sequence[Detections]) -> NDArray[np.float32]:
    """Give for each number of a field the best score of what was put together under it."""
    best = np.zeros(1 + max((int(numbers.max(initial=0)) for numbers in merged.numbers), default=0), np.float32)
    for numbers, found in zip(merged.numbers, detections, strict=True):
        np.maximum.at(best, numbers, found.scores[: len(numbers)])
    return best[1:]


def _label_image(found: Detections, min_score: float) -> NDArray[np.int32]:
    """Label image of a tile, of what was found with this score or a higher one."""
    count = int((found.scores >= min_score).sum())
    return label_image_of(list(found.boxes[:count]), list(found.masks[:count]), (SIDE_PX, SIDE_PX))
