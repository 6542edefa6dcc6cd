"""From a field to its label image: the network on tiles, markers, the seeded watershed, size limits.

The networks are plain functions here, from images (b, y, x) uint8 to maps (b, y, x, channels) float32,
so this module works with any of them and is tested without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
import pydantic
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from tasks.nuclei.plates import to_uint8

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

MULTIPLE_OF_PX = 32

# Along the outline the normalised distance is low, and the lower the larger the nucleus: 0.02 for a radius of
# 50 px. The border adds 0.1 there at any size. It also adds something outside, so that with a threshold of 0.05
# perfect maps make a nucleus a pixel too wide.
BORDER_SHARE = 0.25

LEAST_SCORE = 0.3
"""Of a detection that is looked at."""


class SegmentationSettings(pydantic.BaseModel):
    """How what networks say becomes nuclei. Some fields are of one method alone."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    marker_threshold: float = pydantic.Field(0.6, gt=0, lt=1)
    """Of FPN2-WS: pixels whose distance map is over this are markers, where the watershed starts. Lower:
    fewer missed nuclei. Higher: fewer merged ones."""
    foreground_threshold: float = pydantic.Field(0.09, gt=0, lt=1)
    """Of FPN2-WS: pixels whose distance map and a quarter of the blurred border add up to more than this
    belong to a nucleus. Lower: larger nuclei."""
    min_score: float = pydantic.Field(0.7, ge=LEAST_SCORE, lt=1)
    """Of Mask R-CNN: what it holds for a nucleus with a lower score isn't one. Lower: fewer missed nuclei."""
    core_depth: float = pydantic.Field(0.25, gt=0, lt=1)
    """Of Jacobkie: pixels that lie deeper in a nucleus are its core, where the watershed starts; 0 is at the outline,
    1 at the centre. Lower: fewer missed nuclei. Higher: fewer merged ones."""
    mask_threshold: float = pydantic.Field(0.5, gt=0, lt=1)
    """Of Jacobkie: pixels that are more likely than this in a nucleus belong to one. Lower: larger nuclei."""
    min_area_px: int = pydantic.Field(20, ge=0)
    """Smaller nuclei are removed."""
    max_area_px: int | None = pydantic.Field(None, ge=1)
    """Larger nuclei are removed; none if not given."""
    padding: Literal["zero", "reflect"] = "reflect"
    """What the network sees beyond the field's edges. The paper's is "zero"."""
    test_time_augmentation: bool = False
    """Of FPN2-WS: mean over the field, two flips and three rotations, six times the work."""
    max_tile_px: int = pydantic.Field(1536, ge=128, multiple_of=32)
    """Fields with a longer side go through the network in tiles no longer than this."""
    halo_px: int = pydantic.Field(64, ge=0, multiple_of=32)
    """Margin of a tile that is predicted and thrown away."""

    @property
    def settings(self) -> SegmentationSettings:
        """These alone, of params that add fields to them."""
        return SegmentationSettings(**self.model_dump(include=set(SegmentationSettings.model_fields)))

    @pydantic.model_validator(mode="after")
    def _tiles_hold_more_than_halo(self) -> SegmentationSettings:
        if self.max_tile_px <= 2 * self.halo_px:
            raise ValueError(f"max_tile_px={self.max_tile_px} must be more than twice halo_px={self.halo_px}")
        return self


def predict_maps(
    image: NDArray[np.integer], predict: Predict, settings: SegmentationSettings, zoom: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distance map and blurred border of a field; `image` and both results are (y, x).

    The networks see the field magnified by `zoom`.
    """
    grey = to_uint8(image)
    maps = predict_tiled(magnified(grey, zoom), predict, settings)
    parts = (maps[..., 0], maps[..., 1])
    if zoom == 1:
        return parts
    back = cv2.INTER_AREA if zoom > 1 else cv2.INTER_LINEAR
    distance_map, blurred_border = (cv2.resize(part, grey.shape[::-1], interpolation=back) for part in parts)
    return distance_map, blurred_border


def magnified(grey: NDArray[np.uint8], zoom: float) -> NDArray[np.uint8]:
    """Give an image (y, x) as networks that were trained at `zoom` see it."""
    if zoom == 1:
        return grey
    how = cv2.INTER_LINEAR if zoom > 1 else cv2.INTER_AREA
    return cv2.resize(grey, None, fx=zoom, fy=zoom, interpolation=how)


def predict_tiled(
    grey: NDArray[np.uint8], predict: Predict, settings: SegmentationSettings, channels: int = 2
) -> NDArray[np.float32]:
    """Maps (y, x, channels) of a field of any size."""
    maps = np.empty((*grey.shape, channels), np.float32)
    for tile in _tiles(grey.shape, settings):
        maps[tile.core] = _predict_padded(grey[tile.seen], predict, settings)[tile.core_in_seen]
    return maps


def instances_from_maps(
    distance_map: NDArray[np.float32], blurred_border: NDArray[np.float32], settings: SegmentationSettings
) -> NDArray[np.int32]:
    """Label image (y, x), 1..n: the paper's seeded watershed on the blurred border."""
    foreground = distance_map + BORDER_SHARE * blurred_border > settings.foreground_threshold
    marked = (distance_map > settings.marker_threshold) & foreground
    return within_size_limits(flooded(marked, foreground, blurred_border), settings)


def flooded(
    marked: NDArray[np.bool_], foreground: NDArray[np.bool_], landscape: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Flood a foreground from its marked pixels, which lie in it; (y, x) each. Gives a label image, with gaps.

    Only connected pieces of foreground with several markers are flooded. In a piece with one marker
    the flood would fill the piece, and one without a marker is no nucleus.
    """
    markers = cv2.connectedComponents(marked.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)[1]
    pieces = cv2.connectedComponents(foreground.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)[1]
    first, last = _marker_range_of_pieces(pieces, markers)
    label_image = np.where(first == last, last, 0).astype(np.int32)[pieces]
    boxes = ndimage.find_objects(pieces)
    for piece in np.flatnonzero(first < last):
        box = boxes[piece - 1]
        mask = pieces[box] == piece
        label_image[box][mask] = watershed(landscape[box], np.where(mask, markers[box], 0), mask=mask)[mask]
    return label_image


def within_size_limits(label_image: NDArray[np.int32], settings: SegmentationSettings) -> NDArray[np.int32]:
    """Remove what is too small or too large and number the rest 1..n."""
    areas_px = np.bincount(label_image.ravel())
    kept = areas_px >= settings.min_area_px
    if settings.max_area_px is not None:
        kept &= areas_px <= settings.max_area_px
    kept &= areas_px > 0
    kept[0] = False
    if kept[1:].all():
        return label_image
    numbers = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return numbers[label_image]


class _Tile:
    """A tile: `core` is kept, `seen` is core and halo, slices of the field."""

    def __init__(self, core: tuple[slice, slice], seen: tuple[slice, slice]) -> None:
        self.core, self.seen = core, seen
        self.core_in_seen = tuple(
            slice(inner.start - outer.start, inner.stop - outer.start) for inner, outer in zip(core, seen, strict=True)
        )


def _tiles(shape: tuple[int, ...], settings: SegmentationSettings) -> Iterator[_Tile]:
    rows, columns = (_spans(length, settings) for length in shape)
    for core_y, seen_y in rows:
        for core_x, seen_x in columns:
            yield _Tile((core_y, core_x), (seen_y, seen_x))


def _spans(length: int, settings: SegmentationSettings) -> list[tuple[slice, slice]]:
    """Cut a side into equal cores, each with its halo."""
    if length <= settings.max_tile_px:
        return [(slice(0, length), slice(0, length))]
    parts = -(-length // (settings.max_tile_px - 2 * settings.halo_px))
    edges = [length * i // parts for i in range(parts + 1)]
    return [
        (slice(start, stop), slice(max(start - settings.halo_px, 0), min(stop + settings.halo_px, length)))
        for start, stop in pairwise(edges)
    ]


def _predict_padded(grey: NDArray[np.uint8], predict: Predict, settings: SegmentationSettings) -> NDArray[np.float32]:
    """Maps (y, x, channels) of an image of any size."""
    height, width = grey.shape
    mode = cv2.BORDER_CONSTANT if settings.padding == "zero" else cv2.BORDER_REFLECT_101
    padded = cv2.copyMakeBorder(grey, 0, -height % MULTIPLE_OF_PX, 0, -width % MULTIPLE_OF_PX, mode, value=0)
    maps = _predict_turned(padded, predict) if settings.test_time_augmentation else predict(padded[np.newaxis])[0]
    return maps[:height, :width]


def _predict_turned(grey: NDArray[np.uint8], predict: Predict) -> NDArray[np.float32]:
    """Mean over identity, two flips and three rotations, turned back."""
    total = predict(grey[np.newaxis])[0]
    for axis in (0, 1):
        total = total + np.flip(predict(np.flip(grey, axis)[np.newaxis])[0], axis)
    for turns in (1, 2, 3):
        total = total + np.rot90(predict(np.rot90(grey, turns)[np.newaxis])[0], -turns)
    return total / 6


def _marker_range_of_pieces(
    pieces: NDArray[np.int32], markers: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lowest and highest marker number of every piece, by piece number; without a marker, lowest is above highest."""
    # A marker lies in one piece: any of its pixels tells which.
    marked = markers > 0
    piece_of_marker = np.zeros(int(markers.max()) + 1, np.int64)
    piece_of_marker[markers[marked]] = pieces[marked]
    numbers = np.arange(1, len(piece_of_marker))
    amount = int(pieces.max()) + 1
    lowest, highest = np.full(amount, len(piece_of_marker), np.int64), np.zeros(amount, np.int64)
    np.minimum.at(lowest, piece_of_marker[1:], numbers)
    np.maximum.at(highest, piece_of_marker[1:], numbers)
    return lowest, highest
