"""Tells fields that are copies of each other.

Recognised are
- equal pixels, told by their values: saved as 8 or as 16 bit, under any name, in any format;
- a shared part of the pixels, of a fifth of the area or more: crops, and fields moved by whole pixels;
- the whole field with other intensities (8 bit in place of 16, other contrast, gamma 0.5 to 2, JPEG, inverted), of
  another size, flipped, or rotated by 90, 180 or 270°.

Not recognised are smaller shared parts, parts that are changed in intensity, size or orientation besides, rotations by
other angles, another plane or time point of the same place, and, where the pixels are not equal, fields with fewer
than five bright pieces or hardly any contrast: these are too much alike to tell copies from others.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.measure import histogram_percentile, intensity_histogram

BLOCK_PX = 16
BLOCKS = 64
"""Hashes kept of a field: the smallest of all its blocks, so that fields with equal blocks keep equal ones (min-hash,
Broder 1997)."""
SHARED_BLOCKS = 3
FEWEST_CHANGES = 48
"""Pixels of a block that no smooth surface explains; those of fewer are alike in many images."""

THUMBNAIL_PX, THUMBNAIL_SIGMA_PX = 48, 1.5
ALIKE = 0.95
"""Correlation of two thumbnails of one image; of 383 real fields no two reach 0.85, and all but one pair are below
0.35."""
FEWEST_PIECES = 5
LEAST_CONTRAST, LEAST_CONTRAST_IN_NOISE = 0.015, 0.4
"""Standard deviation of a thumbnail that is compared, as a share of the mean intensity and of the noise of a pixel."""

_ODD = tuple(int(number) | 1 for number in np.random.default_rng(1).integers(2**62, 2**63, 10))


EQUAL = "has the pixels of"
PART = "shares a part of its pixels with"
CHANGED = "has other intensities, size or orientation, and else is a copy of"
KINDS = (EQUAL, PART, CHANGED)
"""The surest first."""


class Copy(NamedTuple):
    """Two fields, and what the first is to the second in words."""

    name: str
    other: str
    kind: str


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What copies of a field have in common with it."""

    values: frozenset[str]
    """`pixels_sha256` of the field in each dtype that can hold its pixels."""
    blocks: frozenset[int] = frozenset()
    thumbnail: NDArray[np.float32] | None = field(default=None, repr=False)
    """(48, 48) with mean 0 and standard deviation 1."""

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Fingerprint:
        """Read it from a field's row of report.json; of older ones only the hash of the pixels is known."""
        kept = row.get("fingerprint", {})
        blocks = np.frombuffer(base64.b64decode(kept.get("blocks", "")), "<u8")
        thumbnail = np.frombuffer(base64.b64decode(kept.get("thumbnail", "")), np.int8)
        return cls(
            frozenset([row["pixels_sha256"], *kept.get("values", [])]),
            frozenset(blocks.tolist()),
            _normalised(thumbnail.reshape(THUMBNAIL_PX, THUMBNAIL_PX)) if len(thumbnail) else None,
        )


def fingerprint_of_row(image: NDArray[Any], with_parts: bool) -> dict[str, Any]:
    """Give the keys of a field's row by which `Fingerprint.of_row` tells copies of it; `image` is uint8 or uint16.

    Without parts, only equal pixels are told.
    """
    other = np.uint16 if image.dtype == np.uint8 else np.uint8
    fits = image.max() <= np.iinfo(other).max
    kept: dict[str, Any] = {"values": [pixels_sha256(image.astype(other))] if fits else []}
    if with_parts:
        kept["blocks"] = base64.b64encode(np.array(_blocks(image), "<u8").tobytes()).decode()
        kept["thumbnail"] = base64.b64encode(_thumbnail(image)).decode()
    return {"pixels_sha256": pixels_sha256(image), "fingerprint": kept}


def pixels_sha256(image: NDArray[Any]) -> str:
    """SHA-256 of dtype, shape and pixels of an image."""
    sha256 = hashlib.sha256(f"{image.dtype.name} {image.shape}".encode())
    sha256.update(np.ascontiguousarray(image).data)
    return sha256.hexdigest()


def copies(fields: Mapping[str, Fingerprint], known: Mapping[str, Fingerprint]) -> Iterator[Copy]:
    """Give all pairs of a field and a known one that are copies, each with the surest kind; not a name with itself."""
    by_value, by_block = defaultdict(set), defaultdict(set)
    for other, fingerprint in _with_something_in_common(fields, known):
        for value in fingerprint.values:
            by_value[value].add(other)
        for block in fingerprint.blocks:
            by_block[block].add(other)
    alike = _alike(fields, known)
    for name, fingerprint in fields.items():
        common = Counter(other for block in fingerprint.blocks for other in by_block.get(block, ()))
        kinds = dict.fromkeys(alike.get(name, ()), CHANGED)
        kinds |= {other: PART for other, n in common.items() if n >= SHARED_BLOCKS}
        equal = {other for value in fingerprint.values for other in by_value.get(value, ())}
        kinds |= dict.fromkeys(equal, EQUAL)
        yield from (Copy(name, other, kind) for other, kind in sorted(kinds.items()) if other != name)


def _with_something_in_common(
    fields: Mapping[str, Fingerprint], known: Mapping[str, Fingerprint]
) -> Iterator[tuple[str, Fingerprint]]:
    """Leave out what shares no value and no block with any field: of many known ones, nearly all."""
    values = {value for fingerprint in fields.values() for value in fingerprint.values}
    blocks = {block for fingerprint in fields.values() for block in fingerprint.blocks}
    for other, fingerprint in known.items():
        if not (values.isdisjoint(fingerprint.values) and blocks.isdisjoint(fingerprint.blocks)):
            yield other, fingerprint


def copies_within(fields: Mapping[str, Fingerprint]) -> list[Copy]:
    """Give each pair of fields that are copies once, the later one first."""
    place = {name: number for number, name in enumerate(fields)}
    return [copy for copy in copies(fields, fields) if place[copy.name] > place[copy.other]]


def grouped(names: Sequence[str], pairs: Iterable[Copy]) -> list[list[str]]:
    """Put copies, and copies of copies, together; the groups are in the order of their first names."""
    group_of = {name: [name] for name in names}
    for name, other, _ in pairs:
        one, two = group_of[name], group_of[other]
        if one is not two:
            one += two
            group_of |= dict.fromkeys(two, one)
    place = {name: number for number, name in enumerate(names)}
    groups = {id(group): sorted(group, key=place.__getitem__) for group in group_of.values()}
    return sorted(groups.values(), key=lambda group: place[group[0]])


def _blocks(image: NDArray[Any]) -> list[int]:
    """Give the smallest hashes of the blocks of 16 x 16 px at all places.

    A hash depends on the values and their places within the block alone (a rolling hash, Karp and Rabin 1987, along
    both axes).
    """
    if min(image.shape) < BLOCK_PX:
        return []
    # Differences of uint16 wrap around, and are 0 only where they are.
    steps = np.diff(image.astype(np.uint16), axis=0)
    is_change = (steps[:, 1:] != steps[:, :-1]).astype(np.uint8)
    changes = cv2.boxFilter(is_change, cv2.CV_16U, (BLOCK_PX - 1,) * 2, anchor=(0, 0), normalize=False)
    height, width = (length - BLOCK_PX + 1 for length in image.shape)
    rich = changes[:height, :width] >= FEWEST_CHANGES
    hashes = image.astype(np.uint64) * np.uint64(_ODD[0])
    for number, step in enumerate((1, 2, 4, 8), start=1):
        hashes = hashes[:-step] * np.uint64(_ODD[number]) + hashes[step:]
    for number, step in enumerate((1, 2, 4, 8), start=5):
        hashes = hashes[:, :-step] * np.uint64(_ODD[number]) + hashes[:, step:]
    mixed = _mixed(hashes[rich])
    if len(mixed) > BLOCKS * 64:
        mixed = np.partition(mixed, BLOCKS * 64)[: BLOCKS * 64]
    return [int(value) for value in np.unique(mixed)[:BLOCKS]]


def _mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every bit over all bits (the finalizer of MurmurHash3)."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(factor)
    return hashes ^ (hashes >> np.uint64(33))


def _thumbnail(image: NDArray[Any]) -> bytes:
    """Give the field made small, without slow changes of brightness, as int8; nothing where it shows too little."""
    pixels, histogram = image.astype(np.float32), intensity_histogram(image)
    clipped = np.clip(pixels, histogram_percentile(histogram, 0.5), histogram_percentile(histogram, 99.5))
    small = cv2.resize(clipped, (THUMBNAIL_PX,) * 2, interpolation=cv2.INTER_AREA)
    small = small - cv2.GaussianBlur(small, (0, 0), THUMBNAIL_SIGMA_PX, borderType=cv2.BORDER_REPLICATE)
    contrast = float(small.std())
    # From black or from white, whichever is nearer, so that it is the same for an inverted copy.
    mean = min(float(pixels.mean()), float(np.iinfo(image.dtype).max - pixels.mean()))
    if contrast < max(LEAST_CONTRAST * mean, LEAST_CONTRAST_IN_NOISE * _noise(pixels)):
        return b""
    normalised = _normalised(small)
    # Nuclei stand out from the rest, bright or dark: an inverted copy has as many pieces as its original.
    standing_out = normalised if float((normalised**3).sum()) > 0 else -normalised
    pieces = cv2.connectedComponents((standing_out > 1).astype(np.uint8))[0] - 1
    return np.clip(np.rint(normalised * 24), -127, 127).astype(np.int8).tobytes() if pieces >= FEWEST_PIECES else b""


def _noise(pixels: NDArray[np.float32]) -> float:
    """Estimate the standard deviation of a pixel's noise from differences of neighbours, rounding at least."""
    mixed = np.abs(pixels[:-1, :-1] - pixels[1:, :-1] - pixels[:-1, 1:] + pixels[1:, 1:])
    return max(float(np.median(mixed)) / 0.6745 / 2, 0.3) if mixed.size else 0.3


def _normalised(thumbnail: NDArray[Any]) -> NDArray[np.float32]:
    values = thumbnail.astype(np.float32)
    return np.asarray((values - values.mean()) / values.std(), np.float32)


def _alike(fields: Mapping[str, Fingerprint], known: Mapping[str, Fingerprint]) -> dict[str, list[str]]:
    """Give the known fields whose thumbnails are those of a field, turned, inverted or not."""
    thumbnails, compared = (
        {name: one.thumbnail for name, one in some.items() if one.thumbnail is not None} for some in (fields, known)
    )
    if not thumbnails or not compared:
        return {}
    rows = np.stack(list(thumbnails.values()))
    columns = np.stack(list(compared.values())).reshape(len(compared), -1)
    best = np.full((len(rows), len(columns)), -1.0, np.float32)
    for side in (rows, rows.transpose(0, 2, 1)):
        for turns in range(4):
            turned = np.rot90(side, turns, axes=(1, 2)).reshape(len(rows), -1)
            np.maximum(best, np.abs(turned @ columns.T) / columns.shape[1], out=best)
    return {
        name: [other for other, correlation in zip(compared, row, strict=True) if correlation >= ALIKE]
        for name, row in zip(thumbnails, best, strict=True)
    }
