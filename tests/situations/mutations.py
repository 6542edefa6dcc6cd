"""Files that are nearly right: bytes changed, cut off, left out, put in twice or out of bounds."""

from __future__ import annotations

import numpy as np

LONGEST = 64
HEADER = 600
"""Half of the changes fall into this many first bytes, where most of what a format says of itself stands."""
EXTREMES = (b"\x00" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80")


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Give the content of a file with one to three changes."""
    for _ in range(rng.integers(1, 4)):
        data = _changed(data, rng)
    return data


def _changed(data: bytes, rng: np.random.Generator) -> bytes:
    size = len(data)
    limit = min(size, HEADER) if rng.random() < 0.5 else size
    at, length = int(rng.integers(0, max(limit, 1))), int(rng.integers(1, LONGEST))
    before, part, after = data[:at], data[at : at + length], data[at + length :]
    changes = (
        before,
        before + rng.bytes(len(part)) + after,
        before + bytes(len(part)) + after,
        before + after,
        before + part + part + after,
        before + EXTREMES[rng.integers(len(EXTREMES))] + data[at + 4 :],
        before + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :] if at < size else data,
    )
    # Files that break off are the most usual, and tell least of the rest.
    weights = np.array([1, 3, 2, 2, 2, 4, 6], float)
    return changes[rng.choice(len(changes), p=weights / weights.sum())]
