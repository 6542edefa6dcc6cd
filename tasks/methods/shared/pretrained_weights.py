"""Pretrained weights, for networks whose layers have the names of the file."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.methods.shared.weights_file import last_part, read_weights
from tasks.nuclei.errors import InputError, first_of

SHOWN = 5

log = logging.getLogger("nucleus")


def load_pretrained(parts: Sequence[Any], path: Path, own: Collection[str] = (), part_of_more: bool = False) -> None:
    """Give the layers of some Keras models the weights of a file, by name.

    Layers named in `own` keep theirs where the file has none of the same shape. `part_of_more` says that the file
    is of a larger network. Raises InputError for a file that can't be read, and for names and shapes that don't match,
    saying which.
    """
    stored = read_weights(path)
    layers = {layer.name: layer for part in parts for layer in part.layers if layer.weights}
    wanted = {f"{name}/{last_part(weight.name)}": weight for name, layer in layers.items() for weight in layer.weights}
    kept = {name for name in wanted if name.split("/")[0] in own and _differs(stored.get(name), wanted[name])}
    missing = sorted(set(wanted) - set(stored) - kept)
    other_shape = sorted(name for name in set(wanted) & set(stored) - kept if _differs(stored[name], wanted[name]))
    unknown = [] if part_of_more else sorted(set(stored) - set(wanted))
    taken = {name: stored[name] for name in sorted(set(wanted) & set(stored) - kept)}
    not_finite = [name for name, values in taken.items() if values.dtype.kind != "f" or not np.isfinite(values).all()]
    # Where a copy has a hole, zeros are read. Biases may be 0.
    empty = [name for name, values in taken.items() if last_part(name) == "kernel" and not values.any()]
    problems = [
        *_problem("lacks", missing),
        *_problem("has another shape of", other_shape),
        *_problem("has besides", unknown),
        *_problem("has values that aren't numbers in", not_finite),
        *_problem("has only zeros in", empty),
    ]
    if problems:
        raise InputError(f"{path} isn't of this network: it {'; it '.join(problems)}.")
    for name in set(wanted) - kept:
        wanted[name].assign(stored[name])
    if kept:
        log.info(
            "%s has no such layers, or of other shapes; they begin from random weights: %s",
            path,
            ", ".join(sorted(kept)),
        )


def _differs(stored: NDArray[np.float32] | None, weight: Any) -> bool:
    return stored is None or stored.shape != tuple(weight.shape)


def _problem(what: str, names: list[str]) -> list[str]:
    """Say which names, some of many."""
    return [f"{what} {first_of(names, SHOWN)}"] if names else []
