"""A method as a whole: trained networks with their settings, from a field to its label image; one folder on disk.

The folder is what the model registry keeps. MLflow loads it through `_load_pyfunc`, with the copy of
this package that lies beside it; so nothing of the repository needs to be on the path.
"""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.segmentation import SegmentationSettings

MOST_CHANNELS = 4
"""An array of colour images that is taken for a list of images has sides of so many px."""

Search = Sequence[tuple[str, Sequence[float]]]
"""Names of settings with the values to try, one after the other."""


class Segmenter(ABC):
    """Trained networks and settings. Looking at a field needs the networks; finding nuclei in what they say doesn't."""

    searched: ClassVar[Search]
    """Settings that `calibrate` chooses; may be none."""

    def __init__(self, settings: SegmentationSettings) -> None:
        self.settings = settings

    @abstractmethod
    def look_at(self, image: NDArray[np.integer]) -> Any:
        """Give what the networks say of a field (y, x)."""

    def look_at_all(self, images: Iterable[NDArray[np.integer]]) -> Iterator[Any]:
        """Give what the networks say of each field, in the same order."""
        return map(self.look_at, images)

    @staticmethod
    @abstractmethod
    def nuclei_in(seen: Any, settings: SegmentationSettings) -> NDArray[np.int32]:
        """Label image (y, x), 1..n, 0 = background, from what `look_at` gave. May run in any thread."""

    def segment(self, image: NDArray[np.integer]) -> NDArray[np.int32]:
        """Label image (y, x), 0 = background, of a field (y, x)."""
        return self.nuclei_in(self.look_at(image), self.settings)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """MLflow's entry: one image (y, x) gives its label image, a list or (n, y, x) array gives a list."""
        if isinstance(model_input, np.ndarray) and model_input.ndim == 2:
            return self.segment(_checked(model_input))
        return [self.segment(_checked(np.asarray(image))) for image in model_input]


def load_segmenter(network_dirs: Sequence[Path], settings: SegmentationSettings) -> Segmenter:
    """Load trained networks of one method, each a folder with `network.json` and what belongs to it."""
    methods = {_method_of(folder) for folder in network_dirs}
    if len(methods) > 1:
        raise InputError(f"The networks are of the methods {', '.join(sorted(methods))}; give networks of one.")
    # Each brings its libraries.
    match methods.pop():
        case "fpn2_ws":
            from tasks.methods.fpn2_ws.segmenter import load_fpn2_ws

            return load_fpn2_ws(network_dirs, settings)
        case "mask_rcnn":
            from tasks.methods.mask_rcnn.segmenter import load_mask_rcnn_segmenter

            return load_mask_rcnn_segmenter(network_dirs, settings)
        case "jacobkie":
            from tasks.methods.jacobkie.segmenter import load_jacobkie_segmenter

            return load_jacobkie_segmenter(network_dirs, settings)
        case "external":
            from tasks.methods.external.segmenter import load_external_segmenter

            return load_external_segmenter(network_dirs, settings)
        case unknown:
            raise InputError(f"{network_dirs[0]} holds a network of the method {unknown!r}, which isn't known.")


def _method_of(network_dir: Path) -> str:
    # Networks that were trained before there were several methods don't say it.
    return str(json.loads((network_dir / "network.json").read_text()).get("method", "fpn2_ws"))


def save_segmenter(network_dirs: Sequence[Path], settings: SegmentationSettings, folder: Path) -> None:
    """Write the folder: settings.json and the networks' folders by number."""
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(settings.model_dump_json(indent=1))
    for number, network_dir in enumerate(network_dirs):
        target = folder / f"network_{number}"
        target.mkdir()
        shutil.copyfile(network_dir / "network.json", target / "network.json")
        if (weights := network_dir / "weights.h5").exists():
            shutil.copyfile(weights, target / weights.name)
        if (model := network_dir / "model").exists():
            shutil.copytree(model, target / model.name)


def load_saved_segmenter(folder: Path) -> Segmenter:
    """Load a folder that `save_segmenter` wrote."""
    settings = SegmentationSettings(**json.loads((folder / "settings.json").read_text()))
    return load_segmenter(sorted(folder.glob("network_*")), settings)


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


def _load_pyfunc(path: str) -> Segmenter:
    return load_saved_segmenter(Path(path))
