"""Plates whose images are one OME-Zarr plate, presented as if they were files.

    my-plate/
      plate.json          PlateInfo; where there are several channels, planes, times, acquisitions, label images or
                          images of a field, it says which are used
      images.ome.zarr/    wells and fields, with one label image per field that is used, or none

Site 2 of well B07 is presented as images/my-plate_B07_T0001F002L01A01Z01C01.tif, and its label image as
the file of that name in labels/: so everything that follows handles files and names of one kind only.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError, first_of, raise_if_any
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.choosing import AXES, Axis, Value, is_wanted, problem_of_choice
from tasks.nuclei.plates.files import Fault, Fov, Plate, stated_sizes
from tasks.nuclei.plates.hcs import HcsField
from tasks.nuclei.plates.hcs_listing import HcsListing, list_hcs, refuse_fields_twice
from tasks.nuclei.plates.info import PlateInfo, read_plate_info
from tasks.nuclei.plates.layouts import HCS_FOLDER, OME_ZARR

PARTS = ("images", "labels")

UNLISTED = (
    "is on the disk, and the attributes of the plate or well don't list it, so it isn't imported; if it belongs to the "
    "plate, convert the plate again"
)

CHANNEL, Z, TIME, ACQUISITION = AXES
IMAGE = Axis("image", "kinds of images, by the ends of their names", "which one to use")


def pair_fields(folder: Path, content: Mapping[str, Any] | None = None) -> Plate:
    """Read plate.json and list the fields of images.ome.zarr; no pixels are read.

    `content` stands for that of plate.json where it isn't written yet. Raises InputError as `list_hcs` does, if
    images/ or labels/ lies beside, and where plate.json doesn't choose among several acquisitions or images of one
    field. The error names fields of which it doesn't choose the channel, plane, time or label image, those without
    labels unless it is a screening plate, and those whose pixels aren't square. A screening plate is without its faulty
    fields and wells.
    """
    listing = list_hcs(inside(folder, HCS_FOLDER))
    stated = stated_sizes(partial(getattr, field, "pixel_size") for field in listing.fields)
    info = read_plate_info(folder, stated, content)
    of_acquisition = _of_one_acquisition(listing.fields, info)
    every = _chosen(of_acquisition, IMAGE, [field.ending for field in of_acquisition], info)
    faults = [*_faulty_wells(listing, folder), *_faulty_fields(every, info, folder)]
    faulty = {fault.name for fault in faults}
    fields = [field for field in every if field.folder.relative_to(folder).as_posix() not in faulty]
    refuse_fields_twice(fields)
    problems = list(_lying_beside(folder))
    if info.role != "screen" or not fields:
        problems += [fault.problem for fault in faults]
    raise_if_any(problems, folder)

    arrays: dict[Path, Callable[[], NDArray[Any]]] = {}
    of_field = [(field, _fov(field, folder, info, arrays)) for field in fields]
    by_image = {fov.image_path: field for field, fov in of_field}
    by_labels = {fov.labels_path: field for field, fov in of_field if fov.labels_path is not None}
    not_used = {
        "images of other acquisitions": len(listing.fields) - len(of_acquisition),
        "images of other kinds": len(of_acquisition) - len(every),
    }
    return Plate(
        info,
        folder,
        tuple(sorted((fov for _, fov in of_field), key=lambda fov: fov.name)),
        read=lambda path: _as_tiff(arrays[path]()),
        not_used={what: number for what, number in not_used.items() if number},
        pixel_size=lambda path, _: by_image[path].pixel_size,
        doubts=lambda path: by_labels[path].label_doubts(info.labels, info.z, info.time),
        faults=tuple(faults),
        remarks={unlisted.relative_to(folder).as_posix(): UNLISTED for unlisted in listing.unlisted},
        layout=OME_ZARR,
    )


def _lying_beside(folder: Path) -> Iterator[str]:
    for name in PARTS:
        if (folder / name).exists():
            yield f"{name}/: lies beside {HCS_FOLDER}; keep one of them"
    if (folder / "ignored").exists():
        yield f"ignored/: is for plates of files, not beside {HCS_FOLDER}; export the plate as TIFF files"


def _faulty_wells(listing: HcsListing, folder: Path) -> Iterator[Fault]:
    for well, error in listing.faulty_wells.items():
        problem = str(error).removeprefix(f"{folder}/").rstrip(".")
        yield Fault(f"{HCS_FOLDER}: well {well}", problem, well)


def _faulty_fields(fields: Sequence[HcsField], info: PlateInfo, folder: Path) -> Iterator[Fault]:
    for field in fields:
        for problem in _problems(field, info):
            shown = problem.removeprefix(f"{folder}/")
            yield Fault(field.folder.relative_to(folder).as_posix(), shown, field.well, field.site)


def _fov(field: HcsField, folder: Path, info: PlateInfo, arrays: dict[Path, Callable[[], NDArray[Any]]]) -> Fov:
    """Present a field as files, and note in `arrays` how these are read."""
    channel = _channel_number(info.channel, field.channels)
    # Numbers that plate.json chooses stand in the name, as it would stand in one of the CV7000.
    z, time, acquisition = (1 if number is None else number for number in (info.z, info.time, info.acquisition))
    place = f"T{time:04d}F{field.site:03d}L01A{acquisition:02d}Z{z:02d}C{channel:02d}"
    name = f"{info.name}_{field.well}_{place}"
    image_path, labels_path = (folder / part / f"{name}.tif" for part in PARTS)
    arrays[image_path] = partial(field.read_image, channel, info.z, info.time)
    if field.labels_folder(info.labels) is None:
        return Fov(name, image_path, None, field.well, field.site, channel, z, time, acquisition)
    arrays[labels_path] = partial(field.read_labels, info.labels, info.z, info.time)
    return Fov(name, image_path, labels_path, field.well, field.site, channel, z, time, acquisition)


def _of_one_acquisition(fields: Sequence[HcsField], info: PlateInfo) -> Sequence[HcsField]:
    """Choose the acquisition. Wells that were taken in different ones, each in one alone, need no choice."""
    pairs = {(field.well, field.acquisition) for field in fields}
    if info.acquisition is None and len(pairs) == len({field.well for field in fields}):
        return fields
    return _chosen(fields, ACQUISITION, [field.acquisition for field in fields], info)


def _chosen(
    fields: Sequence[HcsField], axis: Axis, values: Sequence[Value | None], info: PlateInfo
) -> Sequence[HcsField]:
    """Choose among images by one of their values; every well and site must have one that is chosen."""
    wanted = getattr(info, axis.key)
    problem = problem_of_choice(axis, wanted, Counter(value for value in values if value is not None))
    if problem is not None:
        raise InputError(f"{HCS_FOLDER}: {problem}.")
    if wanted is None:
        return fields
    chosen = [field for field, value in zip(fields, values, strict=True) if is_wanted(value, wanted)]
    if lost := {field.well for field in fields} - {field.well for field in chosen}:
        raise InputError(
            f"{HCS_FOLDER}: plate.json asks for {axis.key} {wanted!r}, and {len(lost)} wells have no such image: "
            f"{first_of(sorted(lost))}; correct plate.json, or remove these wells."
        )
    return chosen


def _problems(field: HcsField, info: PlateInfo) -> Iterator[str]:
    try:
        channels, sizes, _ = field.channels, field.sizes, field.pixel_size
        has_labels = field.labels_folder(info.labels) is not None
    except InputError as error:
        yield str(error).rstrip(".")
        return
    if not has_labels and info.role != "screen":
        yield f"{field.folder}: has no label image; add one, called nuclei"
    if info.channel is None and len(channels) > 1:
        yield (
            f"{field.folder}: has {len(channels)} channels ({_shown(channels)}); "
            'say in plate.json which one shows the nuclei, such as "channel": 1'
        )
    if _channel_number(info.channel, channels) not in range(1, len(channels) + 1):
        yield (
            f"{field.folder}: has no channel {info.channel}, as plate.json asks, but {_shown(channels)}; "
            "correct plate.json"
        )
    for axis, size in ((Z, sizes.get("z", 1)), (TIME, sizes.get("t", 1))):
        wanted = getattr(info, axis.key)
        there_are = f"{field.folder}: has {size} {axis.plural}, 0 to {size - 1}"
        if wanted is None and size > 1:
            yield f'{there_are}; say in plate.json {axis.question}, such as "{axis.key}": {size // 2}, or project them'
        if wanted is not None and wanted >= size:
            yield f"{there_are}, and plate.json asks for {axis.key} {wanted}; correct plate.json"


def _channel_number(channel: int | str | None, names: Sequence[str]) -> int:
    """Give the number of a channel, counted from 1, by its number or its name; 0 if not one channel has the name."""
    if channel is None or isinstance(channel, int):
        return channel or 1
    numbers = [number for number, name in enumerate(names, start=1) if is_wanted(name, channel)]
    return numbers[0] if len(numbers) == 1 else 0


def _shown(channels: Sequence[str]) -> str:
    return ", ".join(f"{number} {name}".rstrip() for number, name in enumerate(channels, start=1))


def _as_tiff(image: NDArray[Any]) -> bytes:
    # The file is not compressed and does not name its writer, so that equal pixels give equal files everywhere.
    file = io.BytesIO()
    tifffile.imwrite(file, image, photometric="minisblack", metadata=None, software=False)
    return file.getvalue()
