"""Chunks of Zarr arrays that are missing. Zarr puts the fill value in their place and says nothing.

Where they lie depends on the version, the separator in their names and on shards, which hold many. So they are looked
for by their effect: pixels that follow the fill value when it changes are in no file.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import zarr
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.raster import MAX_FIELD_PIXELS, refuse_too_large

MAX_CHUNKS = 2**16
"""Of a plane. A damaged size of a chunk makes millions, each of which would be looked for on the disk."""


class Plane(NamedTuple):
    """One plane of an array."""

    pixels: NDArray[Any]
    """(y, x), dtype as stored, in the machine's byte order."""
    missing: int
    """How many of its chunks are in no file, so that their pixels are the fill value."""
    chunks: int
    chunk: tuple[int, int]
    """Height and width of a chunk."""


def read_plane(array: zarr.Array[Any], place: tuple[int | slice, ...]) -> Plane:
    """Read a plane; `place` has a slice of everything for y and for x, and an index for every other axis.

    A plane without the fill value lacks nothing; only another is read twice. Raises InputError for sizes beyond all
    bounds; the decoders raise many types besides.
    """
    axes = [axis for axis, index in enumerate(place) if isinstance(index, slice)]
    refuse_too_large(tuple(array.shape[axis] for axis in axes), MAX_FIELD_PIXELS)
    refuse_too_large(array.chunks, MAX_FIELD_PIXELS)
    height, width = (array.chunks[axis] for axis in axes)
    starts = [np.arange(0, array.shape[axis], array.chunks[axis]) for axis in axes]
    if len(starts[0]) * len(starts[1]) > MAX_CHUNKS:
        raise InputError(f"has chunks of {height} x {width} px, over {MAX_CHUNKS:,} in all; write it in larger chunks.")
    if array.dtype.kind not in "uifb":
        raise InputError(f"its pixels are {array.dtype}, and no numbers; convert it again.")
    stored = np.asarray(array[place])
    pixels = np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("="))
    fill_value, missing = _fill_value(array), 0
    if (pixels == fill_value).any():
        differs = pixels != np.asarray(_with_fill_value(array, 1 if fill_value == 0 else 0)[place])
        by_rows = np.logical_or.reduceat(differs, starts[0], axis=0)
        missing = int(np.count_nonzero(np.logical_or.reduceat(by_rows, starts[1], axis=1)))
    return Plane(pixels, missing, len(starts[0]) * len(starts[1]), (height, width))


def _fill_value(array: zarr.Array[Any]) -> Any:
    # Version 2 may give none; zarr then fills with 0.
    return 0 if array.metadata.fill_value is None else array.metadata.fill_value


def _with_fill_value(array: zarr.Array[Any], value: int) -> zarr.Array[Any]:
    metadata = replace(array.metadata, fill_value=array.dtype.type(value))
    return zarr.Array(zarr.AsyncArray(metadata=metadata, store_path=array.store_path))
