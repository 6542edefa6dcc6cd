"""The plain plate that situations change: two fields of 25 round nuclei each, 16 bit, an offset camera with noise."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.fields import round_nuclei
from tests.plates import INFO

NUCLEI = 25
SIDE_PX = 320
SCREEN = {"role": "screen", "replicate": None, "annotation": None}


@cache
def field(seed: int, side_px: int = SIDE_PX) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Give the upper left part, (y, x), of an image and its label image: nuclei of 10 to 16 px radius."""
    image, label_image = (
        array[:side_px, :side_px].astype(np.uint16)
        for array in round_nuclei(seed, (SIDE_PX, SIDE_PX), NUCLEI, radius_px=13)
    )
    image.flags.writeable = label_image.flags.writeable = False
    return image, label_image


def plain_plate(folder: Path, side_px: int = SIDE_PX) -> Path:
    """Write the plate, or one of parts of its fields, and return its folder."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    write_info(folder)
    for number in (1, 2):
        image, label_image = field(number, side_px)
        put_image(folder, image, number)
        put_labels(folder, label_image, number)
    return folder


def write_info(folder: Path, **info: Any) -> None:
    """Write plate.json; keys that are None are left out."""
    content = INFO | {"name": "plain"} | info
    (folder / "plate.json").write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def put_image(folder: Path, image: NDArray[Any], number: int = 1, **options: Any) -> None:
    tifffile.imwrite(folder / f"images/f{number}.tif", image, **options)


def put_labels(folder: Path, label_image: NDArray[Any], number: int = 1, **options: Any) -> None:
    tifffile.imwrite(folder / f"labels/f{number}.tif", label_image, **options)


def to_screen(folder: Path, **info: Any) -> None:
    """Make a screening plate of it, without labels."""
    for path in (folder / "labels").iterdir():
        path.unlink()
    (folder / "labels").rmdir()
    write_info(folder, **SCREEN, **info)


def rename_fields(folder: Path, *names: str) -> None:
    """Give the fields other names, labels too where there are any."""
    for part in ("images", "labels"):
        for number, name in enumerate(names, start=1):
            if (path := folder / part / f"f{number}.tif").exists():
                path.rename(path.with_name(f"{name}.tif"))
