"""A segmenter: trained networks with their settings, from a field to its label image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.segmentation import Nuclei, SegmentationSettings

MOST_CHANNELS = 4
"""An array of colour images that is taken for a list of images has sides of so many px."""


class Segmenter(ABC):
    """Trained networks and settings. Looking at a field needs the networks; finding nuclei in what they say doesn't."""

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
    def nuclei_in(seen: Any, settings: Any) -> Nuclei:
        """Give the nuclei, and how sure each is, from what `look_at` gave. May run in any thread."""

    @staticmethod
    def doubts_about(seen: Any) -> Sequence[str]:
        """Say why the nuclei in what `look_at` gave may be wrong, in sentences without the field's name."""
        return ()

    @property
    def unused_settings(self) -> Collection[str]:
        """Names of settings of the method that change nothing with these networks."""
        return ()

    def segment(self, image: NDArray[np.integer]) -> NDArray[np.int32]:
        """Label image (y, x), 0 = background, of a field (y, x)."""
        return self.nuclei_in(self.look_at(image), self.settings).label_image

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """MLflow's entry: one image (y, x) gives its label image, a list or (n, y, x) array gives a list."""
        if isinstance(model_input, np.ndarray) and model_input.ndim == 2:
            return self.segment(_checked(model_input))
        return [self.segment(_checked(np.asarray(image))) for image in model_input]


def _checked(image: NDArray[Any]) -> NDArray[Any]:
    if image.ndim != 2 or image.dtype.kind not in "uif":
        raise InputError(
            f"An image has the shape {image.shape} and is {image.dtype}; give grey images (y, x), numbers."
        )
    if min(image.shape) <= MOST_CHANNELS:
        raise InputError(f"An image is {image.shape} px; colour isn't known, give grey images (y, x).")
    if not np.isfinite(image).all():
        raise InputError("An image has pixels that are no finite numbers; correct it, else no nucleus would be found.")
    return image
