"""Where the initial weights of a training lie: a file in `NUCLEUS_WEIGHTS`, or an earlier network of the store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tasks.contract import Workspace
from tasks.methods.method import InitialWeights, Method
from tasks.methods.registry import name_of_network
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside


def weights_folder() -> Path | None:
    """Give the folder with pretrained weights, `NUCLEUS_WEIGHTS`."""
    folder = os.environ.get("NUCLEUS_WEIGHTS")
    return Path(folder) if folder else None


def file_of(weights: InitialWeights | None, params: Any) -> Path | None:
    """Give the file of pretrained weights; None for weights that have none. Raises InputError if it isn't there.

    `params` are those of the training.
    """
    if weights is not None and weights.find is not None:
        return weights.find(params)
    if weights is None or weights.file is None:
        return None
    what = f"{weights.file} of {weights.origin}"
    if (folder := weights_folder()) is None:
        raise InputError(
            f'initialisation "{weights.name}" needs the file {what}; put it into a folder, name that in '
            'NUCLEUS_WEIGHTS, or choose initialisation "random".'
        )
    if not (folder / weights.file).exists():
        raise InputError(f"{folder / weights.file} does not exist; put the file {what} there.")
    return folder / weights.file


def earlier_network(initialisation: str, method: Method, workspace: Workspace) -> Path:
    """Give the folder of an earlier network of the method in the store."""
    folder = inside(workspace.store, initialisation)
    words = ", ".join(f'"{weights.name}"' for weights in method.initial_weights)
    if not initialisation.startswith("train_") or not (folder / "network.json").exists():
        raise InputError(
            f"initialisation: {initialisation!r} is no network of the store; give {words} or an output of "
            f"{method.task}."
        )
    if (name := name_of_network(folder)) != method.name:
        raise InputError(
            f"initialisation: {initialisation} is a network of {name}, not of {method.name}; give {words}."
        )
    return folder
