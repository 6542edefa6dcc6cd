"""A model as the registry keeps it: a folder with trained networks, their settings, and which method they are of.

MLflow loads it through `_load_pyfunc`, with the copy of the code that lies beside it; so nothing of the repository
needs to be on the path, and no package needs to be installed that declares the method.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tasks.methods.method import Method
from tasks.methods.registry import load_method, place_of
from tasks.methods.segmenter import Segmenter
from tasks.nuclei.errors import InputError
from tasks.nuclei.segmentation import SegmentationSettings

NOT_OF_THE_NETWORK = {"result.json", "files.json", "history.json"}
"""What the task that trained a network keeps beside it."""


def save_model(method: Method, network_dirs: Sequence[Path], settings: SegmentationSettings, folder: Path) -> None:
    """Write the folder: `model.json` and the networks' folders by number."""
    folder.mkdir(parents=True)
    content = {"method": place_of(method), "settings": settings.model_dump(mode="json")}
    (folder / "model.json").write_text(json.dumps(content, indent=1))
    for number, network_dir in enumerate(network_dirs):
        shutil.copytree(network_dir, folder / f"network_{number}", ignore=partial(_not_of_the_network, network_dir))


def _not_of_the_network(network_dir: Path, folder: str, names: Sequence[str]) -> set[str]:
    """Give what isn't copied. In a folder of the network, as what a tool learnt, such names are its own."""
    return NOT_OF_THE_NETWORK & set(names) if Path(folder) == network_dir else set()


def load_model(folder: Path) -> Segmenter:
    """Load a folder that `save_model` wrote."""
    content = json.loads((folder / "model.json").read_text())
    method, network_dirs = load_method(content["method"]), sorted(folder.glob("network_*"))
    try:
        return method.load(network_dirs, method.settings(**content["settings"]))
    except InputError as error:
        if not (needs := method.needs(network_dirs)):
            raise
        raise InputError(f"{error} This model needs {needs}.") from error


def _load_pyfunc(path: str) -> Segmenter:
    return load_model(Path(path))
