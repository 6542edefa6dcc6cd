"""FPN2-WS as a whole: the trained networks with the settings of the watershed, one folder on disk.

The folder is what the model registry keeps. MLflow loads it through `_load_pyfunc`, with the copy of
this package that lies beside it; so nothing of the repository needs to be on the path.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.models.fpn import Fpn, load_fpn
from tasks.nuclei.segmentation import SegmentationSettings, instances_from_maps, predict_maps
from tasks.nuclei.targets import TARGETS

MOST_CHANNELS = 4
"""An array of colour images that is taken for a list of images has sides of so many px."""


class Fpn2Ws:
    """Networks that together predict both maps, and what turns these into label images."""

    def __init__(self, networks: list[Fpn], settings: SegmentationSettings) -> None:
        self._networks, self.settings = networks, settings
        channels = [target for network in networks for target in network.architecture.targets]
        if sorted(channels) != sorted(TARGETS):
            raise InputError(f"The networks predict {channels}; each of {list(TARGETS)} is needed once.")
        zooms = {network.architecture.zoom for network in networks}
        if len(zooms) > 1:
            raise InputError(f"The networks were trained at zooms {sorted(zooms)}; they must share one.")
        self._zoom = zooms.pop()
        self._order = [channels.index(target) for target in TARGETS]

    def predict_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map images (b, y, x) to distance maps and blurred borders, (b, y, x, 2) in this order."""
        maps = [network.predict(images) for network in self._networks]
        return maps[0] if len(maps) == 1 else np.concatenate(maps, axis=-1)[..., self._order]

    def predict_maps(self, image: NDArray[np.integer]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Distance map and blurred border of a field, (y, x) each."""
        return predict_maps(image, self.predict_batch, self.settings, self._zoom)

    def segment(self, image: NDArray[np.integer]) -> NDArray[np.int32]:
        """Label image (y, x), 0 = background, of a field (y, x)."""
        return instances_from_maps(*self.predict_maps(image), self.settings)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """MLflow's entry: one image (y, x) gives its label image, a list or (n, y, x) array gives a list."""
        if isinstance(model_input, np.ndarray) and model_input.ndim == 2:
            return self.segment(_checked(model_input))
        return [self.segment(_checked(np.asarray(image))) for image in model_input]


def save_fpn2_ws(network_dirs: list[Path], settings: SegmentationSettings, folder: Path) -> None:
    """Write the folder: settings.json and the networks' folders by number."""
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(settings.model_dump_json(indent=1))
    for number, network_dir in enumerate(network_dirs):
        target = folder / f"network_{number}"
        target.mkdir()
        for name in ("network.json", "weights.h5"):
            shutil.copyfile(network_dir / name, target / name)


def load_fpn2_ws(folder: Path) -> Fpn2Ws:
    """Load a folder that `save_fpn2_ws` wrote."""
    settings = SegmentationSettings(**json.loads((folder / "settings.json").read_text()))
    return Fpn2Ws([load_fpn(path) for path in sorted(folder.glob("network_*"))], settings)


def _checked(image: NDArray[Any]) -> NDArray[Any]:
    if image.ndim != 2 or image.dtype.kind not in "uif":
        raise InputError(
            f"An image has the shape {image.shape} and is {image.dtype}; give grey images (y, x), numbers."
        )
    if min(image.shape) <= MOST_CHANNELS:
        raise InputError(f"An image is {image.shape} px; colour isn't known, give grey images (y, x).")
    if not np.isfinite(image).all():
        raise InputError("An image has pixels that are no finite numbers; mend it, else no nucleus would be found.")
    return image


def _load_pyfunc(path: str) -> Fpn2Ws:
    return load_fpn2_ws(Path(path))
