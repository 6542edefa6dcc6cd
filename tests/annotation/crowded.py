"""Crowded fields, and label images that are hard to outline."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.annotation.sheet import Sheet, label_image_of, sheet_of
from tasks.annotation.tool import Tool
from tasks.nuclei.synthesis import HCT116
from tasks.nuclei.synthesis.placement import place_nuclei

SHAPE = (150, 190)


@cache
def label_image_with_ids(seed: int, largest: int) -> NDArray[np.int32]:
    """Touching nuclei with holes, pieces and single pixels, whose labels have gaps and end with `largest`."""
    rng = np.random.default_rng(seed)
    label_image = place_nuclei(HCT116, SHAPE, rng)[1].astype(np.int64)
    # Pixels that change places make holes, pieces and outlines that touch themselves.
    spots = rng.random(SHAPE) < 0.03
    label_image[spots] = np.roll(label_image, (2, 5), axis=(0, 1))[spots]
    labels = np.unique(label_image[label_image > 0])
    ids = np.sort(rng.choice(np.arange(1, largest), len(labels), replace=False))
    ids[-1:] = largest
    numbered = np.zeros(int(labels.max()) + 1, np.int32)
    numbered[labels] = ids
    found = numbered[label_image]
    found.flags.writeable = False
    return found


def image_of(label_image: NDArray[np.integer], seed: int = 0) -> NDArray[np.uint16]:
    noise = np.random.default_rng(seed).normal(0, 8, label_image.shape)
    return np.rint(300 + 900 * (label_image > 0) + noise).astype(np.uint16)


def there_and_back(
    tool: Tool, sheets: list[Sheet], folder: Path, edit: Callable[[Path], object] = lambda _: None
) -> dict[str, Sheet]:
    """Write sheets with images, let an annotator edit the files, and read them; by name."""
    shapes = {sheet.name: sheet.size for sheet in sheets}
    tool.write(sheets, {name: image_of(np.zeros(shape, np.int32)) for name, shape in shapes.items()}, folder)
    edit(folder)
    return {sheet.name: sheet for sheet in tool.read(folder)}


def one_field(label_image: NDArray[np.integer], name: str = "B07_1") -> list[Sheet]:
    return [sheet_of(name, label_image)]


def painted(sheet: Sheet, shape: tuple[int, int] = SHAPE) -> NDArray[np.int32]:
    return label_image_of(sheet.nuclei, shape)


def disc(diameter_px: int) -> NDArray[np.bool_]:
    centre = (diameter_px - 1) / 2
    y, x = np.mgrid[:diameter_px, :diameter_px]
    inside: NDArray[np.bool_] = (y - centre) ** 2 + (x - centre) ** 2 <= (diameter_px / 2) ** 2
    return inside
