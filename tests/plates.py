"""Small plates for the tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from tasks.nuclei.plates.image_files import EXTENSIONS

INFO: dict[str, Any] = {
    "name": "plate",
    "cell_line": "U2OS",
    "objective": "20X",
    "binning": 1,
    "pixel_size_um": 0.5,
    "role": "train",
    "replicate": "technical",
    "annotation": "manual",
}


def make_plate(
    folder: Path,
    images: Mapping[str, NDArray[Any]],
    label_images: Mapping[str, NDArray[Any]],
    ignored: Mapping[str, NDArray[Any]] | None = None,
    label_sets: Mapping[str, Mapping[str, NDArray[Any]]] | None = None,
    **info: Any,
) -> Path:
    """Write a plate folder and return it. Names without an extension get `.tif`; `info` overrides keys of plate.json.

    Arrays are written as they are, of any shape and dtype, so that faulty plates can be made too.
    """
    folder.mkdir(parents=True)
    (folder / "plate.json").write_text(json.dumps(INFO | {"name": folder.name} | info))
    _write_all(folder / "images", images)
    _write_all(folder / "labels", label_images)
    if ignored is not None:
        _write_all(folder / "ignored", ignored)
    for name, arrays in (label_sets or {}).items():
        _write_all(folder / "label_sets" / name, arrays)
    return folder


def two_squares() -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """A (20, 30) image of two square nuclei, 4 x 4 and 6 x 6 px, 1,000 on a background of 100; and its labels 1, 2."""
    label_image = np.zeros((20, 30), np.uint16)
    label_image[2:6, 2:6] = 1
    label_image[10:16, 20:26] = 2
    return np.where(label_image > 0, 1000, 100).astype(np.uint16), label_image


def _write_all(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        path = folder / (name if name.lower().endswith(EXTENSIONS) else f"{name}.tif")
        if path.suffix == ".png":
            path.write_bytes(imagecodecs.png_encode(array))
        else:
            tifffile.imwrite(path, array, ome=".ome." in name)
