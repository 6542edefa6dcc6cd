"""A plate's files, paired: images with their label images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tasks.nuclei.errors import InputError, raise_if_any
from tasks.nuclei.plates.choosing import choose_images
from tasks.nuclei.plates.field_names import Place, read_place
from tasks.nuclei.plates.file_names import is_left_by_a_system, known_kind, printable, problem_of, without_extension
from tasks.nuclei.plates.image_files import EXTENSIONS, read_bytes
from tasks.nuclei.plates.info import PlateInfo, read_plate_info
from tasks.nuclei.plates.pixel_size import PixelSize, pixel_size_of_image

FROZEN_REPORT = "report.json"
"""`ingest` writes it into its copy of a plate: what it found, and the files of every field."""


@dataclass(frozen=True)
class Fov:
    """One field of view: an image, and its label image if there is one."""

    name: str
    """File name without the extension, accents composed."""
    image_path: Path
    labels_path: Path | None
    well: str
    """Such as B07, W0025 where wells are only numbered, or empty where the file name gives none."""
    site: int | None
    channel: int | str | None
    z: int | None
    time: int | None = None
    acquisition: int | None = None


@dataclass(frozen=True)
class Plate:
    """The files of a plate, paired; nothing but plate.json has been read."""

    info: PlateInfo
    folder: Path
    fovs: tuple[Fov, ...]
    """Sorted by name; at least one."""
    read: Callable[[Path], bytes] = field(default=lambda path: read_bytes(path), compare=False)
    """Gives the content of a file of a fov."""
    not_used: Mapping[str, int] = field(default_factory=dict, compare=False)
    """How many files are no fields, by what they are, in the plural: thumbnails, images of other channels."""
    pixel_size: Callable[[Path, bytes], PixelSize] = field(
        default=lambda path, content: pixel_size_of_image(content, path), compare=False
    )
    """Gives the pixel size that an image states, from its path and its content."""
    doubts: Callable[[Path], list[str]] = field(default=lambda path: [], compare=False)
    """Says what a person should look at in a file of a fov and isn't seen in its content."""


class _Listing(NamedTuple):
    """The files of a folder by their names."""

    files: dict[str, Path]
    """Images by their names without extension."""
    not_used: Counter[str]
    problems: list[str]


def open_plate(folder: Path) -> Plate:
    """Open a plate. An imported one lists all files that it was imported with, so that reading a lost one fails.

    For a plate that isn't imported, raises InputError as `pair_files` does.
    """
    report = folder / FROZEN_REPORT
    if not report.exists():
        return pair_files(folder)
    fovs = [_fov_of_row(row, folder) for row in json.loads(read_bytes(report))["fovs"]]
    return Plate(read_plate_info(folder), folder, tuple(fovs))


def pair_files(folder: Path) -> Plate:
    """Read plate.json, pair the files of images/ and labels/ by name, and choose the images that are fields.

    Raises InputError that names what is wrong: plate.json is missing or wrong or doesn't say which channel, z, time
    or acquisition is used of several; there is no image, a label image has no image, two files have one name, or two
    images one well and site; a file is of another kind. Images without labels are allowed.
    """
    info = read_plate_info(folder, _stated_pixel_sizes(folder / "images"))
    _refuse_other_spelling(folder)
    images, labels = _listing(folder / "images"), _listing(folder / "labels")
    problems = [*images.problems, *labels.problems]
    problems += [
        f"labels/{path.name}: has no image; add its image to images/ or remove it"
        for name, path in labels.files.items()
        if name not in images.files
    ]
    if not images.files and not problems:
        problems = [f"images/: holds no image; allowed are {', '.join(EXTENSIONS)}"]
    places = {name: read_place(name, info.wells) for name in images.files}
    choice = choose_images(places, info)
    raise_if_any(problems + choice.problems, folder)
    fovs = [_fov(name, images.files[name], labels.files.get(name), places[name]) for name in choice.names]
    without_field = Counter({"label images of images left out": len(labels.files.keys() - set(choice.names))})
    not_used = images.not_used + labels.not_used + choice.not_used + without_field
    return Plate(info, folder, tuple(fovs), not_used=not_used)


def _stated_pixel_sizes(images: Path) -> Iterator[PixelSize]:
    """Read the pixel sizes of the images, one after the other as they are asked for."""
    for path in _listing(images).files.values():
        yield pixel_size_of_image(read_bytes(path), path)


def _refuse_other_spelling(folder: Path) -> None:
    for name in ("images", "labels"):
        other = next((path.name for path in folder.iterdir() if path.name.lower() == name != path.name), None)
        if other is not None and not (folder / name).exists():
            raise InputError(f"{folder}: has a folder {printable(other)}/; rename it to {name}/, in small letters.")
    if not (folder / "images").is_dir():
        raise InputError(f"{folder}: has no folder images/; put the plate's images there.")


def _listing(folder: Path) -> _Listing:
    """Sort the files of a folder by what they are, going by their names; a folder that isn't there is empty."""
    listing = _Listing({}, Counter(), [])
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if is_left_by_a_system(path.name):
            continue
        if (kind := known_kind(path.name)) is not None:
            listing.not_used[kind] += 1
            continue
        name, problem = without_extension(path.name), problem_of(path)
        if name is not None and name in listing.files:
            problem = f"{path.name}: has the same name as {listing.files[name].name}; remove or rename one of them"
        if problem is not None:
            listing.problems.append(f"{folder.name}/{problem}")
        elif name is not None:
            listing.files[name] = path
    return listing


def _fov(name: str, image_path: Path, labels_path: Path | None, place: Place | None) -> Fov:
    if place is None:
        return Fov(name, image_path, labels_path, well="", site=None, channel=None, z=None)
    axes = (place.channel, place.z, place.time, place.acquisition)
    return Fov(name, image_path, labels_path, place.well, place.site, *axes)


def _fov_of_row(row: Mapping[str, Any], folder: Path) -> Fov:
    """Give a field of an imported plate. Plates that were imported long ago have neither time nor acquisition."""
    labels_path = folder / row["labels"] if row["labels"] else None
    axes = (row["channel"], row["z"], row.get("time"), row.get("acquisition"))
    return Fov(row["fov"], folder / row["image"], labels_path, row["well"], row["site"], *axes)
