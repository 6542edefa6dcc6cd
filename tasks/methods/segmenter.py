"""A segmenter: trained networks with their settings, from a field to its label image."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import copy
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError
from tasks.nuclei.intensity import brighter, least_span
from tasks.nuclei.nuclear_size import NuclearSize, find_size
from tasks.nuclei.segmentation import Nuclei, SegmentationSettings, limits_of_field
from tasks.nuclei.view import View

MOST_CHANNELS = 4
"""An array of colour images that is taken for a list of images has sides of so many px."""
SAMPLED_FIELDS = 6
"""Of a plate, for finding the size and the level of its nuclei."""
SAMPLE_PX = 384
"""Their size is found in a square of this side of each, as the networks see it."""
CONTRAST_PERCENTILES = (10, 99)
"""What lies between is the contrast of an image, by which the brighter ones of a plate are chosen."""

T = TypeVar("T")

log = logging.getLogger("nucleus")


class Segmenter(ABC):
    """Trained networks and settings. Looking at a field needs the networks; finding nuclei in what they say doesn't."""

    def __init__(self, settings: SegmentationSettings, view: View | None = None) -> None:
        """`view` is the networks'; what sees fields as they are needs none."""
        self.settings = settings
        self.zoom = 1.0 if view is None else view.zoom
        """How much `look_at` magnifies fields."""
        self.nucleus_px = None if view is None else view.nucleus_px
        """Diameter of nuclei that the networks know; where it is given, each plate has a zoom, see `magnifying`."""
        self.needs_level = view is not None and view.scaling != "minmax"
        """Whether the level of a plate changes how fields are seen; what sees them as they are, or by `minmax`, has no
        use for it."""
        self.least_span = 0.0
        """How many intensities the grey levels cover at least; each plate has its own, see `covering`."""

    def magnifying(self, zoom: float) -> Self:
        """Give the segmenter that magnifies fields by `zoom`."""
        other = copy(self)
        other.zoom = zoom
        return other

    def at_the_level_of(self, images: Iterable[NDArray[np.integer]]) -> Self:
        """Give the segmenter that takes for nothing what is much fainter than the nuclei in these images (y, x).

        They are the brighter ones of a plate, see `brighter`.
        """
        return self.covering(least_span(images))

    def covering(self, span: float) -> Self:
        """Give the segmenter whose grey levels cover at least so many intensities."""
        other = copy(self)
        other.least_span = span
        return other

    def size_in(self, images: Sequence[NDArray[np.integer]]) -> NuclearSize:
        """Find the size of the nuclei of a plate, of which some fields (y, x) are given; `nucleus_px` must be."""
        assert self.nucleus_px is not None
        quick = self.without_extras()

        def nuclei_at(zoom: float) -> list[Nuclei]:
            looking = quick.magnifying(zoom)
            return [looking.nuclei_of(middle_of(image, round(SAMPLE_PX / zoom))) for image in images]

        return find_size(nuclei_at, self.nucleus_px)

    def fitted_to(self, images: Sequence[NDArray[np.integer]]) -> Self:
        """Give the segmenter that sees these images (y, x) by the level and by the size of their nuclei.

        They count as fields of one plate, of which some are looked at.
        """
        bright = [float(np.ptp(np.percentile(image, CONTRAST_PERCENTILES))) for image in images]
        fitted = self.at_the_level_of(brighter(images, bright, SAMPLED_FIELDS))
        if self.nucleus_px is None:
            return fitted
        size = fitted.size_in(spread(images))
        for remark in size.remarks:
            log.warning("Of these images, %s.", remark)
        return fitted.magnifying(size.zoom)

    def without_extras(self) -> Segmenter:
        """Give a segmenter that finds nuclei of the same size in less time, if there is one."""
        return self

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

    def in_field_px(self, settings: SegmentationSettings) -> SegmentationSettings:
        """Give settings for `nuclei_in`, whose limits of areas are in px of a field that isn't magnified.

        Where each plate has its own zoom, limits are in px as the networks see nuclei, so that they hold for all.
        """
        return settings if self.nucleus_px is None else limits_of_field(settings, self.zoom)

    def nuclei_of(self, image: NDArray[np.integer]) -> Nuclei:
        """Find the nuclei of a field (y, x)."""
        return self.nuclei_in(self.look_at(image), self.in_field_px(self.settings))

    def segment(self, image: NDArray[np.integer]) -> NDArray[np.int32]:
        """Label image (y, x), 0 = background, of a field (y, x)."""
        return self.nuclei_of(image).label_image

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """MLflow's entry: one image (y, x) gives its label image, a list or (n, y, x) array gives a list.

        The images of a call count as fields of one plate: where the networks need it, one zoom is chosen for all.
        """
        is_one = isinstance(model_input, np.ndarray) and model_input.ndim == 2
        images = [_checked(np.asarray(image)) for image in ([model_input] if is_one else model_input)]
        fitted = self.fitted_to(images)
        label_images = [fitted.segment(image) for image in images]
        return label_images[0] if is_one else label_images


def spread(fields: Sequence[T]) -> list[T]:
    """Choose a few fields for finding the size of a plate's nuclei, evenly spread; the same ones every time."""
    amount = min(len(fields), SAMPLED_FIELDS)
    return [fields[(2 * number + 1) * len(fields) // (2 * amount)] for number in range(amount)]


def middle_of(image: NDArray[Any], side_px: int) -> NDArray[Any]:
    """Give the middle of an image (y, x), no more than `side_px` high and wide."""
    starts = [max(length - side_px, 0) // 2 for length in image.shape]
    return image[starts[0] : starts[0] + side_px, starts[1] : starts[1] + side_px]


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
