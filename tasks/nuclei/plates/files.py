"""A plate's files, paired: images with their label images, and with the images of what is ignored.

In whatever layout they arrive, they are presented as files of images/ and labels/.
"""

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
    OF_CELLPOSE,
    extension_of,
    is_left_by_a_system,
    known_kind,
    printable,
    problem_of,
    read_file,
    refuse_other_folder,
    without_extension,
    without_image,
)
from tasks.nuclei.plates.image_files import EXTENSIONS, read_bytes
from tasks.nuclei.plates.info import PlateInfo, read_plate_info
from tasks.nuclei.plates.label_sets import LabelSets, find_label_sets
from tasks.nuclei.plates.layouts import (
    LABELS,
    OWN_ENTRIES,
    Layout,
    image_of_mask,
    is_named_as_mask,
    layout_of,
    owners_of,
    picture_of_cellpose,
)
from tasks.nuclei.plates.name_parts import may_give_well, read_places
from tasks.nuclei.plates.pixel_size import PixelSize, pixel_size_of_image
from tasks.nuclei.plates.place import Place

FROZEN_REPORT = "report.json"
"""`ingest` writes it into its copy of a plate: what it found, and the files of every field."""


@dataclass(frozen=True)
class Fov:
    """One field of view: an image, and its label image if there is one."""

    name: str
    """File name without the extension, accents composed."""
    image_path: Path
    """In images/ of the plate, whatever the layout in which that arrives; `Plate.read` knows where the file is."""
    labels_path: Path | None
    """In labels/, likewise."""
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
    layout: Layout = field(default=LABELS, compare=False)
    """In which it arrived."""

    @property
    def shown(self) -> str:
        """The plate's folder, and what images/ and labels/ mean in it, for the beginning of a message."""
        return _shown(self.folder, self.layout)


class Listing(NamedTuple):
    """The files of a folder by the names of the fields that they are of."""

    files: dict[str, Path]
    """Images; a field's name is that of its image without extension."""
    not_used: Counter[str]
    faults: list[Fault]
    """Of single files, which may be left out."""
    twice: set[str]
    """Names that several files have."""


class PlateFiles(NamedTuple):
    """The files of a plate that arrives; nothing but names has been read."""

    layout: Layout
    images: Listing
    labels: Listing
    ignored: Listing


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


def pair_files(folder: Path, content: Mapping[str, Any] | None = None) -> Plate:
    """Read plate.json, pair images, label images and what is ignored by name, and choose the images that are fields.

    `content` stands for that of plate.json where it isn't written yet. Raises InputError that names what is wrong:
    plate.json is missing or wrong or doesn't say which channel, z, time or acquisition is used of several; the files
    can be read in several ways; there is no image, a label image has no image, an ignored one no label image, two files
    have one name, or two images one well and site; a file is of another kind. Images without labels are allowed. Of a
    screening plate, single files that are wrong are left out.
    """
    info = read_plate_info(folder, _stated_pixel_sizes(folder), content)
    layout, images, labels, ignored = list_files(folder, needs_labels=info.role != "screen")
    faults = [*images.faults, *labels.faults, *ignored.faults, *_without_images(labels.files, images.files, folder)]
    faults += _without_labels(ignored.files, images.files, labels.files)
    if info.role == "screen":
        # Which of the files is meant isn't known.
        for listing in (images, labels, ignored):
            for name in listing.twice:
                listing.files.pop(name, None)
    places = dict.fromkeys(images.files) if info.each_name_is_a_field else read_places(images.files, info.wells)
    if info.role == "screen":
        faults += _odd_ones(places, images.files)
        places = {name: place for name, place in places.items() if name in images.files}
    problems = []
    if not images.files and not faults:
        problems = [f"images/: holds no image; allowed are {', '.join(EXTENSIONS)}"]
    if info.role != "screen" or not images.files:
        problems += [fault.problem for fault in faults]
    sets = LabelSets({}, []) if info.role == "screen" else find_label_sets(folder, labels.files)
    problems += sets.problems
    choice = choose_images(places, info)
    raise_if_any(problems + choice.problems, _shown(folder, layout))
    arrived: dict[Path, Path] = {}
    fovs = [_fov(name, images, labels, ignored, places[name], folder, arrived) for name in choice.names]
    without_field = Counter({"label images of images left out": len(labels.files.keys() - set(choice.names))})
    not_used = images.not_used + labels.not_used + ignored.not_used + choice.not_used + without_field
    return Plate(
        info,
        folder,
        tuple(fovs),
        read=lambda path: read_file(arrived.get(path, path), folder),
        not_used=not_used,
        faults=tuple(faults),
        label_sets=sets.files,
        remarks=_remark_on_wells(fovs) if info.role == "screen" else {},
        layout=layout,
    )


def list_files(folder: Path, needs_labels: bool = True) -> PlateFiles:
    """List the files of a plate that aren't OME-Zarr, by their names.

    Raises InputError where they can be read in several ways, there is no folder for the images, or one for a part has
    another name.
    """
    layout = layout_of(folder)
    if layout.images:
        refuse_other_folder(folder, "images")
        if needs_labels and layout.labels == LABELS.labels:
            refuse_other_folder(folder, "labels")
    if needs_labels:
        refuse_other_folder(folder, "ignored")
    images, ignored = _listing(folder, layout.images), _listing(folder, "ignored")
    owners = owners_of(path.name for path in images.files.values())
    for name in [name for name in images.files if picture_of_cellpose(name, owners)]:
        del images.files[name]
        images.not_used[OF_CELLPOSE] += 1
    masks = _take_masks(images) if layout.labels_lie_beside else _listing(folder, layout.labels)
    return PlateFiles(layout, images, _by_images(masks, images.files, owners, folder), ignored)


def _take_masks(images: Listing) -> Listing:
    """Take the label images out of a listing that has images and label images."""
    names = [name for name in images.files if is_named_as_mask(name)]
    return Listing({name: images.files.pop(name) for name in names}, Counter(), [], images.twice & set(names))


def _by_images(masks: Listing, images: Mapping[str, Path], owners: dict[str, str], folder: Path) -> Listing:
    """Give label images by the names of their images; one without an image keeps its own."""

    def owner(name: str) -> str:
        return name if name in images else image_of_mask(name, owners) or name

    labels = Listing({}, masks.not_used, masks.faults, {owner(name) for name in masks.twice})
    for name, path in masks.files.items():
        image, shown = owner(name), path.relative_to(folder).as_posix()
        if image in labels.files:
            other = labels.files[image].name
            problem = f"{shown}: is a second label image of {image}, beside {other}; remove one of them"
            labels.faults.append(Fault(shown, problem))
            labels.twice.add(image)
        else:
            labels.files[image] = path
    return labels


def _shown(folder: Path, layout: Layout) -> str:
    return f"{folder} ({layout.meaning})" if layout.meaning else str(folder)


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


def _without_images(labels: Mapping[str, Path], images: Mapping[str, Path], folder: Path) -> Iterator[Fault]:
    for name, path in labels.items():
        if name not in images:
            shown = path.relative_to(folder).as_posix()
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
        return pixel_size_of_image(read_file(path, folder), path)

    images = list_files(folder, needs_labels=False).images
    yield from stated_sizes(partial(read, path) for path in images.files.values())


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


def _listing(plate_folder: Path, part: str) -> Listing:
    """Sort the files of a folder of a plate by what they are, going by their names; one that isn't there is empty.

    Where that is the plate's own folder, it holds plate.json and the like besides.
    """
    folder = inside(plate_folder, part) if part else plate_folder
    listing = Listing({}, Counter(), [], set())
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if is_left_by_a_system(path.name) or (not part and path.name in OWN_ENTRIES):
            continue
        if (kind := known_kind(path.name)) is not None:
            listing.not_used[kind] += 1
            continue
        name, problem = without_extension(path.name), problem_of(path, plate_folder)
        prefix = f"{part}/" if part else ""
        shown = f"{prefix}{printable(path.name)}"
        if problem is not None:
            listing.faults.append(Fault(shown, f"{prefix}{problem}"))
        elif name in listing.files:
            other = listing.files[name].name
            problem = f"{shown}: has the same name as {other}; remove or rename one of them"
            listing.faults.append(Fault(shown, problem))
            listing.twice.add(name)
        elif name is not None:
            listing.files[name] = path
    return listing


def _fov(
    name: str,
    images: Listing,
    labels: Listing,
    ignored: Listing,
    place: Place | None,
    folder: Path,
    arrived: dict[Path, Path],
) -> Fov:
    """Present a field as files of images/ and labels/, and note in `arrived` where other ones lie."""
    image_path = folder / "images" / images.files[name].name
    arrived[image_path] = images.files[name]
    labels_path = None
    if (mask := labels.files.get(name)) is not None:
        # Where a mask has a name of its own, it gets that of its image.
        own = without_extension(mask.name) == name
        labels_path = folder / "labels" / (mask.name if own else f"{name}{extension_of(mask.name)}")
        arrived[labels_path] = mask
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
