"""Weights that were trained elsewhere, in Matterport's naming: the COCO file, and the paper's."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.weights_file import last_part, read_weights

OUTPUTS = ("mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask")
"""Layers whose shapes depend on the number of classes."""
SHOWN = 5

log = logging.getLogger("nucleus")


def load_matterport(parts: list[Any], path: Path) -> None:
    """Give the layers of some Keras models the weights of a file.

    The outputs of the heads keep theirs where the file has another number of classes. Raises InputError for a file
    that can't be read, and for names and shapes that don't match, saying which.
    """
    stored = read_weights(path)
    layers = {layer.name: layer for part in parts for layer in part.layers if layer.weights}
    wanted = {f"{name}/{last_part(weight.name)}": weight for name, layer in layers.items() for weight in layer.weights}
    kept = {name for name in wanted if name.split("/")[0] in OUTPUTS and _differs(stored.get(name), wanted[name])}
    missing = sorted(set(wanted) - set(stored) - kept)
    other_shape = sorted(name for name in set(wanted) & set(stored) - kept if _differs(stored[name], wanted[name]))
    unknown = sorted(set(stored) - set(wanted))
    problems = [
        *_problem("lacks", missing),
        *_problem("has another shape of", other_shape),
        *_problem("has besides", unknown),
    ]
    if problems:
        raise InputError(f"{path} isn't of this network: it {'; it '.join(problems)}.")
    for name in set(wanted) - kept:
        wanted[name].assign(stored[name])
    if kept:
        log.info("%s is of another number of classes; the outputs of the heads begin anew: %s", path, sorted(kept))


def _differs(stored: NDArray[np.float32] | None, weight: Any) -> bool:
    return stored is None or stored.shape != tuple(weight.shape)


def _problem(what: str, names: list[str]) -> list[str]:
    """Say which names, some of many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{what} {', '.join(names[:SHOWN])}{more}"] if names else []
