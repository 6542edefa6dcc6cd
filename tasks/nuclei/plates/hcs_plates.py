"""Plates whose images are one OME-Zarr plate, presented as if they were files.

    my-plate/
      plate.json          PlateInfo; where there are several channels, `channel` says which shows the nuclei
      images.ome.zarr/    wells and fields, with one label image per field, or none

Site 2 of well B07 is presented as images/my-plate_B07_T0001F002L01A01Z01C01.tif, and its label image as
the file of that name in labels/: so everything that follows handles files and names of one kind only.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError, raise_if_any
from tasks.nuclei.plates.files import Fov, Plate
from tasks.nuclei.plates.hcs import HcsField, hcs_fields
from tasks.nuclei.plates.info import PlateInfo, read_plate_info

HCS_FOLDER = "images.ome.zarr"

PIXEL_SIZE_TOLERANCE = 0.001
"""Share by which the pixel size in plate.json may differ from that of the images."""


def pair_fields(folder: Path) -> Plate:
    """Read plate.json and list the fields of images.ome.zarr; no pixels are read.

    Raises InputError as `hcs_fields` does, and if images/ or labels/ lies beside. The error names fields with
    several channels where plate.json names none, with another pixel size, or with several label images.
    """
    info = read_plate_info(folder)
    fields = hcs_fields(folder / HCS_FOLDER)
    beside = [name for name in ("images", "labels") if (folder / name).exists()]
    problems = [f"{name}/: lies beside {HCS_FOLDER}; keep one of them" for name in beside]
    problems += [problem for field in fields for problem in _problems(field, info)]
    raise_if_any(problems, folder)

    arrays: dict[Path, Callable[[], NDArray[Any]]] = {}
    fovs = []
    for field in fields:
        channel = info.channel or 1
        name = f"{info.name}_{field.well}_T0001F{field.site:03d}L01A01Z01C{channel:02d}"
        image_path, labels_path = (folder / part / f"{name}.tif" for part in ("images", "labels"))
        arrays[image_path] = partial(field.read_image, channel)
        if field.labels_folder is not None:
            arrays[labels_path] = field.read_labels
        given_labels = labels_path if labels_path in arrays else None
        fovs.append(Fov(name, image_path, given_labels, field.well, field.site, channel, z=1))
    fovs.sort(key=lambda fov: fov.name)
    return Plate(info, folder, tuple(fovs), read=lambda path: _as_tiff(arrays[path]()))


def _problems(field: HcsField, info: PlateInfo) -> Iterator[str]:
    try:
        channels, pixel_size_um, _ = field.channels, field.pixel_size_um, field.labels_folder
    except InputError as error:
        yield str(error).rstrip(".")
        return
    if info.channel is None and len(channels) > 1:
        names = ", ".join(f"{number} {name}".rstrip() for number, name in enumerate(channels, start=1))
        yield (
            f"{field.folder}: has {len(channels)} channels ({names}); "
            'say in plate.json which one shows the nuclei, such as "channel": 1'
        )
    if pixel_size_um and abs(pixel_size_um / info.pixel_size_um - 1) > PIXEL_SIZE_TOLERANCE:
        yield (
            f"{field.folder}: has pixels of {pixel_size_um:g} µm, and plate.json says {info.pixel_size_um:g}; "
            "correct the wrong one"
        )


def _as_tiff(image: NDArray[Any]) -> bytes:
    # The file is not compressed and does not name its writer, so that equal pixels give equal files everywhere.
    file = io.BytesIO()
    tifffile.imwrite(file, image, photometric="minisblack", metadata=None, software=False)
    return file.getvalue()
