"""Cellpose's window: a dict as pickle beside the image.

    NAME.tif                      the image
    NAME_seg.npy                  its nuclei

The window numbers nuclei anew and has no classes: nuclei that are corrected elsewhere aren't shown, none can be called
unsure, and when it has saved, nuclei are known again by their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from tasks.annotation.data_pickle import load_npy_dict
from tasks.annotation.returned_files import MOST_BYTES, faults_named, some_ending, stem_of
from tasks.annotation.sheet import Sheet, label_image_of, nuclei_in, patch_in
from tasks.annotation.shown_images import write_images
from tasks.annotation.tool import Images, Tool
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.image_files import read_bytes
from tasks.nuclei.plates.label_numbers import number_labels

TITLE = "Cellpose"
ENDING = "_seg.npy"
IDS_KEY = "sent_ids"
"""Not Cellpose's: the numbers that nuclei 1..n were sent with. It is gone when Cellpose has saved."""


def _write(sheets: Sequence[Sheet], images: Images, folder: Path) -> None:
    for sheet in sheets:
        if any(nucleus.kind == "unsure" for nucleus in sheet.nuclei):
            raise InputError(
                f"{sheet.name} has nuclei that are unsure, and Cellpose has no classes, so that they would come back "
                "as sure; choose another tool."
            )
    write_images(sheets, images, folder)
    for sheet in sheets:
        content = np.array(_segmentation(sheet), dtype=object)
        np.save(inside(folder, f"{sheet.name}{ENDING}"), content, allow_pickle=True)


def _segmentation(sheet: Sheet) -> dict[str, Any]:
    painted = label_image_of([nucleus for nucleus in sheet.nuclei if nucleus.kind == "nucleus"], sheet.size)
    numbered = number_labels(painted)
    count = len(numbered.ids)
    dtype = np.uint16 if count < np.iinfo(np.uint16).max else np.uint32
    masks = numbered.label_image.astype(dtype)
    return {
        "filename": f"{sheet.name}.tif",
        "masks": masks,
        "outlines": np.where(find_boundaries(masks, mode="inner"), masks, dtype(0)),
        "colors": _colours(count),
        "ismanual": np.zeros(count, np.bool_),
        "chan_choose": [0, 0],
        "flows": [[], [], [], [], [[]]],
        "manual_changes": [],
        IDS_KEY: numbered.ids.astype(np.int64),
    }


def _colours(count: int) -> NDArray[np.uint8]:
    """Give colours that differ from those of the neighbours in number; Cellpose wants one for each nucleus."""
    colours: NDArray[np.uint8] = np.random.default_rng(0).integers(64, 256, (count, 3), np.uint8)
    return colours


def _read(folder: Path) -> list[Sheet]:
    return [_sheet(path) for path in some_ending(folder, ENDING, TITLE)]


def _sheet(path: Path) -> Sheet:
    name = stem_of(path.name, ENDING)
    content = read_bytes(path, MOST_BYTES)
    with faults_named(path, TITLE):
        segmentation = load_npy_dict(content)
        masks = np.squeeze(segmentation["masks"])
        if masks.ndim != 2:
            raise InputError(f"has masks of the shape {masks.shape}; allowed is one plane, (y, x).")
        numbered = number_labels(masks)
        ids = _sent_ids(segmentation, numbered.ids)
    nuclei = [
        replace(nucleus, sent_id=ids[position]) for position, nucleus in enumerate(nuclei_in(numbered.label_image))
    ]
    return Sheet(name, masks.shape[0], masks.shape[1], patch_in(name), tuple(nuclei))


def _sent_ids(segmentation: dict[str, Any], numbers: NDArray[Any]) -> Sequence[int | None]:
    """Give the number that each nucleus was sent with; None for all once Cellpose numbered them anew."""
    known = segmentation.get(IDS_KEY)
    if known is None:
        return [None] * len(numbers)
    return [int(known[number - 1]) for number in numbers.tolist()]


TOOL = Tool("cellpose", TITLE, by_patches=False, classes=None, write=_write, read_files=_read)
