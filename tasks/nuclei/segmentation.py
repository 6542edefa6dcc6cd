"""What methods of segmentation share: fields cut into tiles for a network, the flood from markers, limits of nuclei.

The networks are plain functions here, from grey levels (b, y, x) to maps (b, y, x, channels) float32,
so this module works with any of them and is tested without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Self

import cv2
import numpy as np
import pydantic
from numpy.typing import NDArray
from skimage.segmentation import watershed

from tasks.nuclei.intensity import GreyLevels
from tasks.nuclei.runs import row_runs

Predict = Callable[[GreyLevels], NDArray[np.float32]]

MULTIPLE_OF_PX = 32


class Nuclei(NamedTuple):
    """The nuclei that were found in a field."""

    label_image: NDArray[np.int32]
    """(y, x), 1..n, 0 = background"""
    confidences: NDArray[np.float32]
    """(n,) in [0, 1], of the labels 1..n; NaN where the method has none."""


class SegmentationSettings(pydantic.BaseModel):
    """How the output of a network becomes nuclei: what every method has. A method adds thresholds of its own.

    A field with a title is one that a person may set in the form of a DAG.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    min_area_px: int = pydantic.Field(20, ge=0, title="Minimum area")
    """Smaller nuclei are removed; in pixels, of the magnified plate where each is magnified by the size of its
    nuclei."""
    max_area_px: int | None = pydantic.Field(None, ge=1, title="Maximum area")
    """Larger nuclei are removed; in pixels like the minimum. None are removed if it is not given."""
    for_cell_lines: dict[str, dict[str, int | float]] = pydantic.Field({})
    """Settings that differ for plates of a cell line, by its name."""

    @pydantic.model_validator(mode="after")
    def _cell_lines_have_settings_of_this_kind(self) -> Self:
        for own in self.for_cell_lines.values():
            type(self).model_validate({**self.model_dump(exclude={"for_cell_lines"}), **own})
        return self

    def of_cell_line(self, name: str) -> Self:
        """Give the settings for plates of a cell line, those for all where it has none of its own."""
        return self.model_copy(update={**self.for_cell_lines.get(name, {}), "for_cell_lines": {}})


class ConfidenceSettings(SegmentationSettings):
    """Settings of methods that find a nucleus first and then say how sure it is."""

    min_confidence: float = pydantic.Field(0.0, ge=0, lt=1, title="Minimum confidence")
    """Nuclei with a lower confidence are removed, 0 removes none. The confidence of each one that stays is in the table
    of nuclei."""


class TiledSettings(SegmentationSettings):
    """Settings of methods whose network sees a field in tiles of any size."""

    padding: Literal["zero", "reflect"] = pydantic.Field("reflect", title="Padding")
    """What the network sees beyond the edges of a field. The paper pads with "zero"."""
    max_tile_px: int = pydantic.Field(1536, ge=128, le=8192, multiple_of=MULTIPLE_OF_PX, title="Maximum tile size")
    """Fields with a longer side go through the network in tiles no longer than this; in pixels. Smaller tiles take
    less memory."""
    halo_px: int = pydantic.Field(
        64,
        ge=0,
        le=1024,
        multiple_of=MULTIPLE_OF_PX,
        title="Tile margin",
        json_schema_extra={"lessThanHalfOf": "max_tile_px"},  # For forms, which don't run the validator below.
    )
    """Margin of a tile that is predicted and discarded; in pixels, less than half of a tile."""

    @pydantic.model_validator(mode="after")
    def _tiles_hold_more_than_halo(self) -> TiledSettings:
        if self.max_tile_px <= 2 * self.halo_px:
            raise ValueError(f"max_tile_px={self.max_tile_px} must be more than twice halo_px={self.halo_px}")
        return self


def limits_of_field(settings: SegmentationSettings, zoom: float) -> SegmentationSettings:
    """Give settings whose limits of areas are in px of a field, from those in px of it as it is seen with a zoom."""
    most = settings.max_area_px
    limits = {
        "min_area_px": round(settings.min_area_px / zoom**2),
        "max_area_px": None if most is None else max(round(most / zoom**2), 1),
    }
    return settings.model_copy(update=limits)


def magnified(grey: GreyLevels, zoom: float) -> GreyLevels:
    """Give an image (y, x) as networks that were trained at `zoom` see it."""
    if zoom == 1:
        return grey
    how = cv2.INTER_LINEAR if zoom > 1 else cv2.INTER_AREA
    height, width = (max(round(zoom * side), 1) for side in grey.shape)
    # By factors in place of a size, the rounding of the size would move the image on its way there and back.
    resized: GreyLevels = cv2.resize(grey, (width, height), interpolation=how)
    return resized


def predict_tiled(
    grey: GreyLevels, predict: Predict, settings: TiledSettings, channels: int = 2
) -> NDArray[np.float32]:
    """Maps (y, x, channels) of a field of any size."""
    maps = np.empty((*grey.shape, channels), np.float32)
    for tile in _tiles(grey.shape, settings):
        maps[tile.core] = _predict_padded(grey[tile.seen], predict, settings)[tile.core_in_seen]
    return maps


def flooded(
    marked: NDArray[np.bool_], foreground: NDArray[np.bool_], landscape: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Flood a foreground from its marked pixels, which lie in it; (y, x) each. Gives a label image, with gaps.

    Only connected pieces of foreground with several markers are flooded. In a piece with one marker
    the flood would fill the piece, and one without a marker is no nucleus.
    """
    markers = cv2.connectedComponents(marked.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)[1]
    pieces = cv2.connectedComponents(foreground.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)[1]
    runs = row_runs(pieces, markers)
    piece_of_run = runs.labels(pieces)
    first, last = _marker_range_of_pieces(piece_of_run, runs.labels(markers))
    label_image = runs.filled(np.where(first == last, last, 0).astype(np.int32)[piece_of_run])
    several = np.flatnonzero(first < last)
    for piece, box in zip(several, runs.boxes(piece_of_run, several), strict=True):
        mask = pieces[box] == piece
        label_image[box][mask] = watershed(landscape[box], np.where(mask, markers[box], 0), mask=mask)[mask]
    return label_image


def within_limits(
    label_image: NDArray[np.int32], confidences: NDArray[np.floating] | None, settings: SegmentationSettings
) -> Nuclei:
    """Remove what is too small, too large or too uncertain and number the rest 1..n.

    `label_image` is (y, x) with labels 1..m, of which some may be missing; `confidences` are (m,), None where the
    method has none. A method does this last: `calibrate` tries limits on what is found without any.
    """
    runs = row_runs(label_image)
    label_of_run = runs.labels(label_image)
    areas_px = np.bincount(label_of_run, weights=runs.length_px)[1:]
    sure = np.full(len(areas_px), np.nan, np.float32)
    if confidences is not None:
        sure[:] = confidences[: len(areas_px)]
    kept = (areas_px > 0) & (areas_px >= settings.min_area_px)
    if settings.max_area_px is not None:
        kept &= areas_px <= settings.max_area_px
    if isinstance(settings, ConfidenceSettings):
        kept &= ~(sure < settings.min_confidence)
    if not kept.all():
        numbers = np.concatenate(([0], np.where(kept, np.cumsum(kept), 0))).astype(np.int32)
        label_image = runs.filled(numbers[label_of_run])
    return Nuclei(label_image, sure[kept])


class _Tile:
    """A tile: `core` is kept, `seen` is core and halo, slices of the field."""

    def __init__(self, core: tuple[slice, slice], seen: tuple[slice, slice]) -> None:
        self.core, self.seen = core, seen
        self.core_in_seen = tuple(
            slice(inner.start - outer.start, inner.stop - outer.start) for inner, outer in zip(core, seen, strict=True)
        )


def _tiles(shape: tuple[int, ...], settings: TiledSettings) -> Iterator[_Tile]:
    rows, columns = (_spans(length, settings) for length in shape)
    for core_y, seen_y in rows:
        for core_x, seen_x in columns:
            yield _Tile((core_y, core_x), (seen_y, seen_x))


def _spans(length: int, settings: TiledSettings) -> list[tuple[slice, slice]]:
    """Cut a side into cores of one size, the last of which is shorter, each with its halo.

    All begin at multiples of what the network halves again and again, so that its grid is the same in every tile.
    """
    if length <= settings.max_tile_px:
        return [(slice(0, length), slice(0, length))]
    parts = -(-length // (settings.max_tile_px - 2 * settings.halo_px))
    core_px = -(-length // (parts * MULTIPLE_OF_PX)) * MULTIPLE_OF_PX
    edges = [*range(0, length, core_px), length]
    return [
        (slice(start, stop), slice(max(start - settings.halo_px, 0), min(stop + settings.halo_px, length)))
        for start, stop in pairwise(edges)
    ]


def _predict_padded(grey: GreyLevels, predict: Predict, settings: TiledSettings) -> NDArray[np.float32]:
    """Maps (y, x, channels) of an image of any size."""
    height, width = grey.shape
    mode = cv2.BORDER_CONSTANT if settings.padding == "zero" else cv2.BORDER_REFLECT_101
    padded = cv2.copyMakeBorder(grey, 0, -height % MULTIPLE_OF_PX, 0, -width % MULTIPLE_OF_PX, mode, value=0)
    return predict(padded[np.newaxis])[0, :height, :width]


def _marker_range_of_pieces(pieces: NDArray[np.int32], markers: NDArray[np.int32]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Lowest and highest marker number of every piece, by piece number; without a marker, lowest is above highest.

    The arrays have the piece and the marker of each run of pixels, 0 for none.
    """
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
