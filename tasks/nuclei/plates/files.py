"""A plate's files, paired: images with their label images, and with the images of what is ignored."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tasks.nuclei.errors import InputError, raise_if_any
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.choosing import choose_images, odd_names
from tasks.nuclei.plates.file_kinds import (
    Part,
    is_left_by_a_system,
    known_kind,
    printable,
    problem_of,
    refuse_other_folder,
    without_extension,
    without_image,
)
from tasks.nuclei.plates.image_files import EXTENSIONS, read_bytes
from tasks.nuclei.plates.info import PlateInfo, read_plate_info
from tasks.nuclei.plates.label_sets import LabelSets, find_label_sets
from tasks.nuclei.plates.name_parts import may_give_well, read_places
from tasks.nuclei.plates.pixel_size import PixelSize, pixel_size_of_image
from tasks.nuclei.plates.place import Place

PARTS: tuple[Part, ...] = ("images", "labels", "ignored")
"""Folders of a plate with a file for each field, or for some of them."""

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
    ignored_path: Path | None = None
    """Which pixels nobody said what they are, see `read_ignored`; none where all are annotated."""


class Fault(NamedTuple):
    """What is wrong with a file or a field that a screening plate is imported without."""

    name: str
    """Relative to the plate."""
    problem: str
    """With the name."""
    well: str = ""
    site: int | None = None


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
    faults: tuple[Fault, ...] = field(default=(), compare=False)
    """What a screening plate is imported without; other plates are refused."""
    label_sets: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    """Further label images, by the name of their set and the field."""
    remarks: Mapping[str, str] = field(default_factory=dict, compare=False)
    """What a person should know of the plate, by the file or folder that it is about."""


class _Listing(NamedTuple):
    """The files of a folder by their names."""

    files: dict[str, Path]
    """Images by their names without extension."""
    not_used: Counter[str]
    faults: list[Fault]
    """Of single files, which may be left out."""
    twice: set[str]
    """Names that several files have."""


def open_plate(folder: Path) -> Plate:
    """Open a plate. An imported one lists all files that it was imported with, so that reading a lost one fails.

    For a plate that isn't imported, raises InputError as `pair_files` does.
    """
    report = folder / FROZEN_REPORT
    if not report.exists():
        return pair_files(folder)
    content = json.loads(read_bytes(report))
    fovs = [_fov_of_row(row, folder) for row in content["fovs"]]
    label_sets = {
        name: {fov: inside(folder, path) for fov, path in files.items()}
        for name, files in content.get("label_sets", {}).items()
    }
    return Plate(read_plate_info(folder), folder, tuple(fovs), label_sets=label_sets)


def pair_files(folder: Path) -> Plate:
    """Read plate.json, pair the files of images/, labels/ and ignored/ by name, and choose the images that are fields.

    Raises InputError that names what is wrong: plate.json is missing or wrong or doesn't say which channel, z, time
    or acquisition is used of several; there is no image, a label image has no image, an ignored one no label image, two
    files have one name, or two images one well and site; a file is of another kind. Images without labels are allowed.
    Of a screening plate, single files that are wrong are left out.
    """
    info = read_plate_info(folder, _stated_pixel_sizes(folder))
    for part in PARTS if info.role != "screen" else PARTS[:1]:
        refuse_other_folder(folder, part)
    images, labels, ignored = (_listing(inside(folder, part)) for part in PARTS)
    faults = [*images.faults, *labels.faults, *ignored.faults, *_without_images(labels.files, images.files)]
    faults += _without_labels(ignored.files, images.files, labels.files)
    if info.role == "screen":
        # Which of the files is meant isn't known.
        for listing in (images, labels, ignored):
            for name in listing.twice:
                del listing.files[name]
    places = dict.fromkeys(images.files) if info.each_name_is_a_field else read_places(images.files, info.wells)
    if info.role == "screen":
        faults += _odd_ones(places, images.files)
        places = {name: place for name, place in places.items() if name in images.files}
    problems = []
    if not images.files and not faults:
        problems = [f"images/: holds no image; allowed are {', '.join(EXTENSIONS)}"]
    if info.role != "screen" or not images.files:
        problems += [fault.problem for fault in faults]
    sets = LabelSets({}, []) if info.role == "screen" else find_label_sets(folder, labels.files, without_extension)
    problems += sets.problems
    choice = choose_images(places, info)
    raise_if_any(problems + choice.problems, folder)
    fovs = [_fov(name, images, labels, ignored, places[name]) for name in choice.names]
    without_field = Counter({"label images of images left out": len(labels.files.keys() - set(choice.names))})
    not_used = images.not_used + labels.not_used + ignored.not_used + choice.not_used + without_field
    remarks = _remark_on_wells(fovs) if info.role == "screen" else {}
    return Plate(
        info, folder, tuple(fovs), not_used=not_used, faults=tuple(faults), label_sets=sets.files, remarks=remarks
    )


def _odd_ones(places: Mapping[str, Place | None], images: dict[str, Path]) -> list[Fault]:
    """Remove the images whose names say nothing of a well, unlike most others, or the other way round; gives them."""
    odd = odd_names(places)
    if odd is None or not odd.are_few:
        return []
    shown = [f"images/{images.pop(name).name}" for name in odd.names]
    return [
        Fault(name, f"{name}: its name gives {odd.says} well, unlike the others ({odd.other}, ...); rename it")
        for name in shown
    ]


def _without_images(labels: Mapping[str, Path], images: Mapping[str, Path]) -> Iterator[Fault]:
    for name, path in labels.items():
        if name not in images:
            shown = f"labels/{path.name}"
            yield Fault(shown, f"{shown}: {without_image(name, images)}")


def _without_labels(
    ignored: Mapping[str, Path], images: Mapping[str, Path], labels: Mapping[str, Path]
) -> Iterator[Fault]:
    for name, path in ignored.items():
        shown = f"ignored/{path.name}"
        if name not in images:
            yield Fault(shown, f"{shown}: {without_image(name, images)}")
        elif name not in labels:
            yield Fault(shown, f"{shown}: its field has no label image; add one to labels/, or remove this file")


def _remark_on_wells(fovs: Sequence[Fov]) -> dict[str, str]:
    """Say it if names that look as if they gave wells were read without."""
    looks = [fov.image_path.name for fov in fovs if may_give_well(fov.name)]
    if not looks or any(fov.well for fov in fovs):
        return {}
    words = (
        f"no well was read in the names, though some look as if they gave one ({looks[0]}), so there is no heat map; "
        "names such as screen_B07_1 are read, if all have their well in the same place"
    )
    return {"images/": words}


def _stated_pixel_sizes(folder: Path) -> Iterator[PixelSize]:
    def read(path: Path) -> PixelSize:
        return pixel_size_of_image(read_bytes(path), path)

    refuse_other_folder(folder, "images")
    yield from stated_sizes(partial(read, path) for path in _listing(inside(folder, "images")).files.values())


def stated_sizes(reads: Iterable[Callable[[], PixelSize]]) -> Iterator[PixelSize]:
    """Read the pixel sizes of images, one after the other as they are asked for.

    Faulty images are passed over, since all faults of a plate are named together; if none else states a size, raises
    InputError of the first.
    """
    first: InputError | None = None
    for read in reads:
        try:
            size = read()
        except InputError as error:
            first = first or error
            continue
        yield size
    if first is not None:
        raise first


def _listing(folder: Path) -> _Listing:
    """Sort the files of a folder by what they are, going by their names; a folder that isn't there is empty."""
    listing = _Listing({}, Counter(), [], set())
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if is_left_by_a_system(path.name):
            continue
        if (kind := known_kind(path.name)) is not None:
            listing.not_used[kind] += 1
            continue
        name, problem = without_extension(path.name), problem_of(path)
        shown = f"{folder.name}/{printable(path.name)}"
        if problem is not None:
            listing.faults.append(Fault(shown, f"{folder.name}/{problem}"))
        elif name in listing.files:
            other = listing.files[name].name
            problem = f"{shown}: has the same name as {other}; remove or rename one of them"
            listing.faults.append(Fault(shown, problem))
            listing.twice.add(name)
        elif name is not None:
            listing.files[name] = path
    return listing


def _fov(name: str, images: _Listing, labels: _Listing, ignored: _Listing, place: Place | None) -> Fov:
    image_path, labels_path = images.files[name], labels.files.get(name)
    # Of a screening plate, labels may be missing where they are faulty.
    ignored_path = ignored.files.get(name) if labels_path else None
    if place is None:
        return Fov(name, image_path, labels_path, "", None, channel=None, z=None, ignored_path=ignored_path)
    axes = (place.channel, place.z, place.time, place.acquisition)
    return Fov(name, image_path, labels_path, place.well, place.site, *axes, ignored_path)


def _fov_of_row(row: Mapping[str, Any], folder: Path) -> Fov:
    """Give a field of an imported plate. Plates that were imported long ago have neither time nor acquisition."""
    labels_path, ignored_path = (
        inside(folder, path) if (path := row.get(kind)) else None for kind in ("labels", "ignored")
    )
    axes = (row["channel"], row["z"], row.get("time"), row.get("acquisition"))
    return Fov(row["fov"], inside(folder, row["image"]), labels_path, row["well"], row["site"], *axes, ignored_path)
