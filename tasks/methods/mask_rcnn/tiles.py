"""Tiles of a field whose nuclei are found tile by tile, and the label image of the field from those of its tiles.

A nucleus in an overlap is found in several tiles, or in parts. Labels of different tiles that share at least
`min_shared_px` pixels are one nucleus, as in the paper; so are all that hang together that way. Pieces that a tile cuts
off and another one holds can be taken out first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components

EDGE_PX = 2
"""What ends so near to a tile's edge is cut by it."""
HELD_SHARE = 0.5
"""A piece of which this share is in nuclei that other tiles see whole is held by them."""


@dataclass(frozen=True)
class Tile:
    """Where a tile lies in its field; its end may be beyond the field's."""

    y: int
    x: int
    size_px: int

    @property
    def window(self) -> tuple[slice, slice]:
        return slice(self.y, self.y + self.size_px), slice(self.x, self.x + self.size_px)


class Merged(NamedTuple):
    """The label image of a field that was put together from those of its tiles."""

    label_image: NDArray[np.int32]
    """(y, x); numbers may have gaps."""
    numbers: list[NDArray[np.int32]]
    """Of each tile: the numbers there of its labels 1..m, (m,)."""


def tiles_of(shape: tuple[int, int], size_px: int, overlap_px: int) -> list[Tile]:
    """Cover a field of `shape` with square tiles, neighbours overlapping by `overlap_px` or more.

    No tile goes beyond the field, but where the field is smaller than a tile.
    """
    if not 0 <= overlap_px < size_px:
        raise ValueError(f"overlap_px={overlap_px} must be at least 0 and less than size_px={size_px}.")
    rows, columns = (_starts(length, size_px, overlap_px) for length in shape)
    return [Tile(y, x, size_px) for y in rows for x in columns]


def without_cut_pieces(label_images: Sequence[NDArray[np.integer]], tiles: Sequence[Tile]) -> list[NDArray[np.integer]]:
    """Take out of each tile what its edge cuts off and another tile holds; labels 1..m, with gaps then.

    What a network makes of a piece is less sure than of the whole, and a loose piece would unite the nuclei beside it.
    A nucleus about as wide as the overlap may be cut for all tiles that see it, and then stays in all.
    """
    rows, columns = ({getattr(tile, axis) for tile in tiles} for axis in ("y", "x"))
    cut, whole = [], []
    for label_image, tile in zip(label_images, tiles, strict=True):
        shared = _seen_by_neighbours(tile.y, rows, tile.size_px), _seen_by_neighbours(tile.x, columns, tile.size_px)
        boxes = ndimage.find_objects(label_image)
        is_cut = [box is not None and _is_left_to_neighbour(box, shared, tile.size_px) for box in boxes]
        cut.append(np.array([False, *is_cut]))
        whole.append((label_image > 0) & ~cut[-1][label_image])
    holding = _numbers_of_tiles(whole, tiles)
    kept = []
    for label_image, tile, of_edge, own in zip(label_images, tiles, cut, whole, strict=True):
        areas_px = np.bincount(label_image.ravel(), minlength=len(of_edge))
        held_px = np.bincount(label_image[holding[tile.window] > own], minlength=len(of_edge))
        is_held = of_edge & (held_px >= HELD_SHARE * areas_px)
        kept.append(np.where(is_held[label_image], 0, label_image))
    return kept


def merge_tiles(
    label_images: Sequence[NDArray[np.integer]], tiles: Sequence[Tile], shape: tuple[int, int], min_shared_px: int = 10
) -> Merged:
    """Give the label image of a field from those of its tiles, each (size_px, size_px) with labels 1..m.

    Where different nuclei claim a pixel, it is the one's whose tile comes first.
    """
    firsts = np.cumsum([0, *(int(label_image.max(initial=0)) for label_image in label_images)])
    merged = _merged_numbers(label_images, tiles, firsts, min_shared_px)
    field = np.zeros(shape, np.int32)
    for label_image, tile, first in zip(label_images, tiles, firsts, strict=False):
        seen = field[tile.window]
        inside = label_image[: seen.shape[0], : seen.shape[1]]
        free = (seen == 0) & (inside > 0)
        seen[free] = merged[inside[free] + first]
    return Merged(field, [merged[first + 1 : end + 1] for first, end in pairwise(firsts)])


def _starts(length: int, size_px: int, overlap_px: int) -> list[int]:
    """Give where tiles begin along a side; they are spread evenly."""
    if length <= size_px:
        return [0]
    steps = -(-(length - size_px) // (size_px - overlap_px))
    return [(length - size_px) * step // steps for step in range(steps + 1)]


def _seen_by_neighbours(start: int, starts: Collection[int], size_px: int) -> tuple[int, int]:
    """Along an axis: where, in the tile, what the one before sees ends and what the next one sees begins."""
    before = (other - start + size_px for other in starts if start - size_px < other < start)
    after = (other - start for other in starts if start < other < start + size_px)
    return max(before, default=0), min(after, default=size_px)


def _is_left_to_neighbour(box: tuple[slice, ...], shared: Sequence[tuple[int, int]], size_px: int) -> bool:
    """Say whether an edge cuts a box of a tile that lies, but for the cut, inside the next tile along an axis."""
    return any(
        (span.start < EDGE_PX and span.stop <= end - EDGE_PX)
        or (span.stop > size_px - EDGE_PX and span.start >= begin + EDGE_PX)
        for span, (end, begin) in zip(box, shared, strict=True)
    )


def _numbers_of_tiles(masks: Sequence[NDArray[np.bool_]], tiles: Sequence[Tile]) -> NDArray[np.uint16]:
    """Give in how many tiles each pixel of the field (y, x) is in the mask, to the last tile's end."""
    shape = tuple(max(getattr(tile, axis) + tile.size_px for tile in tiles) for axis in ("y", "x"))
    numbers = np.zeros(shape, np.uint16)
    for mask, tile in zip(masks, tiles, strict=True):
        numbers[tile.window] += mask
    return numbers


def _merged_numbers(
    label_images: Sequence[NDArray[np.integer]], tiles: Sequence[Tile], firsts: NDArray[np.integer], min_shared_px: int
) -> NDArray[np.int32]:
    """Number of each nucleus by the number of its label, counted over all tiles from 1; 0 stays 0."""
    amount = int(firsts[-1]) + 1
    pairs = [np.zeros((0, 2), np.int64)]
    for (one, tile_one), (other, tile_other) in _overlapping(tiles):
        shared = _labels_in_overlap(label_images[one], tile_one, label_images[other], tile_other)
        both = (shared > 0).all(axis=0)
        found, counts = np.unique(shared[:, both], axis=1, return_counts=True)
        enough = found[:, counts >= min_shared_px].T
        pairs.append(enough + np.array([firsts[one], firsts[other]]))
    edges = np.concatenate(pairs)
    graph = sparse.coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(amount, amount))
    # The background is a component of its own, the first.
    return np.asarray(connected_components(graph, directed=False)[1], np.int32)


def _overlapping(tiles: Sequence[Tile]) -> Iterator[tuple[tuple[int, Tile], tuple[int, Tile]]]:
    for (one, first), (other, second) in combinations(enumerate(tiles), 2):
        if abs(first.y - second.y) < first.size_px and abs(first.x - second.x) < first.size_px:
            yield (one, first), (other, second)


def _labels_in_overlap(
    image_one: NDArray[np.integer], one: Tile, image_other: NDArray[np.integer], other: Tile
) -> NDArray[Any]:
    """Labels (2, n) of both tiles at the pixels that both see."""
    y, x = max(one.y, other.y), max(one.x, other.x)
    end_y, end_x = min(one.y, other.y) + one.size_px, min(one.x, other.x) + one.size_px
    parts = [
        image[y - tile.y : end_y - tile.y, x - tile.x : end_x - tile.x].ravel()
        for image, tile in ((image_one, one), (image_other, other))
    ]
    return np.stack(parts).astype(np.int64)
