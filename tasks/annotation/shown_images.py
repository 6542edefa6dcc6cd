"""The images that annotators see: 8-bit copies with percentile contrast, or the intensities as they are.

Of a patch, only the patch and its surroundings are shown and the rest is blank, so that coordinates are those of the
field and twenty patches aren't twenty times its size.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tasks.annotation.sheet import Sheet
from tasks.annotation.tool import Images
from tasks.nuclei.inside import inside
from tasks.nuclei.intensity import grey_levels, robust_range

T = TypeVar("T")

MARGIN_PX = 100
"""Shown around a patch and its nuclei: two nuclei of the paper's 60X images."""

COPY = (
    "8-bit copy for annotation with percentile contrast: grey levels 0 to 255 are the range of intensities in which "
    "the nuclei of this field are seen. The image in the plate is unchanged."
)

FAST = 1
"""Level of compression; a higher one takes thrice as long for a twentieth less."""


def write_grey_copies(sheets: Sequence[Sheet], images: Images, folder: Path) -> None:
    """Write NAME.png for each sheet: 8 bits, percentile contrast, which its text says."""
    folder.mkdir(parents=True, exist_ok=True)
    grey_of = _OfLatest(lambda image: grey_levels(image, "robust").astype(np.uint8, copy=False))
    for sheet in sheets:
        grey = grey_of(_image_of(sheet, images))
        text = PngInfo()
        text.add_itxt("Description", description(sheet))
        content = io.BytesIO()
        Image.fromarray(shown(grey, sheet, blank=0)).save(content, "PNG", compress_level=FAST, pnginfo=text)
        inside(folder, f"{sheet.name}.png").write_bytes(content.getvalue())


def write_images(sheets: Sequence[Sheet], images: Images, folder: Path) -> None:
    """Write NAME.tif for each sheet: intensities as they are, with the contrast in which ImageJ shows them."""
    folder.mkdir(parents=True, exist_ok=True)
    range_of = _OfLatest(robust_range)
    for sheet in sheets:
        image = _image_of(sheet, images)
        seen = range_of(image)
        tifffile.imwrite(
            inside(folder, f"{sheet.name}.tif"),
            shown(image, sheet, blank=round(seen.low)),
            imagej=True,
            metadata={"min": seen.low, "max": seen.high, "Info": _of_patch(sheet) or "The image as it was taken."},
            compression="zlib",
            compressionargs={"level": FAST},
        )


class _OfLatest(Generic[T]):
    """Computes something of an image once for all patches of it, which follow one another. Keeps one image alone."""

    def __init__(self, compute: Callable[[NDArray[Any]], T]) -> None:
        self._compute = compute
        self._latest: tuple[NDArray[Any], T] | None = None

    def __call__(self, image: NDArray[Any]) -> T:
        if self._latest is None or self._latest[0] is not image:
            self._latest = (image, self._compute(image))
        return self._latest[1]


def description(sheet: Sheet) -> str:
    """Say of the 8-bit copy of an image what was done with it."""
    return f"{COPY} {_of_patch(sheet)}".strip()


def _of_patch(sheet: Sheet) -> str:
    if sheet.patch is None:
        return ""
    y0, x0, y1, x1 = sheet.patch
    return f"To be looked at: rows {y0} to {y1 - 1}, columns {x0} to {x1 - 1}. What lies far outside is blank."


def _image_of(sheet: Sheet, images: Images) -> NDArray[Any]:
    image = images[sheet.name]
    if image.shape != sheet.size or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"The image of {sheet.name} is {image.shape} {image.dtype}, the sheet {sheet.size} px.")
    return image


def shown(image: NDArray[Any], sheet: Sheet, blank: int) -> NDArray[Any]:
    """Give the image of a sheet, of its whole field, with `blank` where it is far from the patch."""
    if sheet.patch is None:
        return image
    own = [nucleus.box for nucleus in sheet.nuclei if nucleus.kind != "context"]
    boxes = [sheet.patch.slices, *own]
    place = tuple(
        slice(
            max(min(box[axis].start for box in boxes) - MARGIN_PX, 0),
            max(box[axis].stop for box in boxes) + MARGIN_PX,
        )
        for axis in (0, 1)
    )
    of_patch = np.full_like(image, blank)
    of_patch[place] = image[place]
    return of_patch
