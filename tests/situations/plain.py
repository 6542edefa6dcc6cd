"""The plain plate that situations change: two fields of 25 round nuclei each, 16 bit, an offset camera with noise."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special
import tifffile
from numpy.typing import NDArray

from tests.plates import INFO

NUCLEI = 25
SIDE_PX = 320
SCREEN = {"role": "screen", "replicate": None, "annotation": None}


@cache
def field(seed: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """Give image and label image (y, x): round nuclei of 11 to 15 px radius, 300 to 500 on a background of 110."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    label_image = np.zeros((SIDE_PX, SIDE_PX), np.uint16)
    image = np.full(label_image.shape, 110.0)
    number = 0
    while number < NUCLEI:
        (centre_y, centre_x), radius = rng.uniform(0, SIDE_PX, 2), rng.uniform(11, 15)
        distance = np.hypot(y - centre_y, x - centre_x)
        if label_image[distance < radius + 2].any() or (distance < radius).sum() < 100:
            continue
        number += 1
        label_image[distance < radius] = number
        image += rng.uniform(300, 500) * scipy.special.expit(2 * (radius - distance))
    pixels = np.rint(image + rng.normal(0, 5, image.shape)).clip(0, 65535).astype(np.uint16)
    pixels.flags.writeable = label_image.flags.writeable = False
    return pixels, label_image


def plain_plate(folder: Path) -> Path:
    """Write the plate and return its folder."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    write_info(folder)
    for number in (1, 2):
        put_image(folder, field(number)[0], number)
        put_labels(folder, field(number)[1], number)
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
