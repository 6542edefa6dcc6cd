"""What a folder that may become a plate holds, by its names and by what its images say besides their pixels.

A form is prefilled with it: nothing here needs a plate.json.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.choosing import AXES, Value
from tasks.nuclei.plates.file_kinds import read_file
from tasks.nuclei.plates.files import list_files
from tasks.nuclei.plates.hcs import HcsField
from tasks.nuclei.plates.hcs_listing import list_hcs
from tasks.nuclei.plates.layouts import HCS_FOLDER, OME_ZARR, Layout, layout_of
from tasks.nuclei.plates.name_parts import read_places
from tasks.nuclei.plates.ome_metadata import Microscope, microscope_of_image
from tasks.nuclei.plates.pixel_size import PixelSize, is_credible, stated_in_image
from tasks.nuclei.plates.place import Place

MOST_READ = 5
"""Images whose metadata are read: the first ones may be damaged or exported anew."""


class Proposal(NamedTuple):
    """A value for a key of plate.json."""

    value: Any
    source: str
    """Where it comes from, in words."""


@dataclass(frozen=True)
class Recognised:
    """What a folder holds."""

    layout: Layout
    images: int
    labels: int
    """Label images of these images."""
    wells: tuple[str, ...]
    """In order; empty where the names give none."""
    sites: int
    """Of the well with the most."""
    axes: Mapping[str, Counter[Value]]
    """Channels, planes, time points and acquisitions by their keys in plate.json, each with the number of images; only
    what the names, or OME-Zarr, say."""
    not_used: Mapping[str, int]
    image_files: Mapping[str, Path] = field(default_factory=dict)
    """Images by the names of their fields; none of OME-Zarr."""
    label_files: Mapping[str, Path] = field(default_factory=dict)
    proposals: Mapping[str, Proposal] = field(default_factory=dict)
    """By key of plate.json."""


def recognise(folder: Path, each_name_is_a_field: bool = False, wells: int | None = None) -> Recognised:
    """Look at names and metadata; no pixels are read. The two values are those of plate.json.

    Raises InputError where the folder can be read in several ways, or holds no folder for images.
    """
    if layout_of(folder) is OME_ZARR:
        return _recognise_hcs(folder)
    files = list_files(folder, needs_labels=False)
    names = files.images.files
    places = [place for place in ({} if each_name_is_a_field else read_places(names, wells)).values() if place]
    labelled = {name: path for name, path in files.labels.files.items() if name in names}
    return Recognised(
        layout=files.layout,
        images=len(names),
        labels=len(labelled),
        wells=tuple(sorted({place.well for place in places} - {""})),
        sites=_most_sites({(place.well, place.site) for place in places if place.well}),
        axes={axis.key: counts for axis in AXES if (counts := _values(axis.key, places))},
        not_used=files.images.not_used + files.labels.not_used + files.ignored.not_used,
        image_files=names,
        label_files=labelled,
        proposals=_general(folder, bool(labelled)) | dict(_of_images(folder, list(names.values())[:MOST_READ])),
    )


def _recognise_hcs(folder: Path) -> Recognised:
    fields = list_hcs(inside(folder, HCS_FOLDER)).fields
    labelled = sum(_has_labels(field) for field in fields)
    channels, sizes = _channels_and_sizes(fields[0]) if fields else ([], {})
    axes: dict[str, Counter[Value]] = {
        "channel": Counter({name or number: len(fields) for number, name in enumerate(channels, start=1)}),
        "z": Counter(dict.fromkeys(range(sizes.get("z", 0)), len(fields))),
        "time": Counter(dict.fromkeys(range(sizes.get("t", 0)), len(fields))),
        "acquisition": Counter(field.acquisition for field in fields if field.acquisition is not None),
        "image": Counter(field.ending for field in fields if field.ending),
    }
    return Recognised(
        layout=OME_ZARR,
        images=len(fields),
        labels=labelled,
        wells=tuple(dict.fromkeys(field.well for field in fields)),
        sites=_most_sites({(field.well, field.site) for field in fields}),
        axes={key: counts for key, counts in axes.items() if counts},
        not_used={},
        proposals=_general(folder, labelled > 0) | dict(_of_fields(folder, fields[:MOST_READ])),
    )


def _values(key: str, places: Sequence[Place]) -> Counter[Value]:
    return Counter(value for place in places if (value := getattr(place, key)) is not None)


def _most_sites(sites: Collection[tuple[str, int | None]]) -> int:
    return max(Counter(well for well, _ in sites).values(), default=0)


def _general(folder: Path, has_labels: bool) -> dict[str, Proposal]:
    role = (
        Proposal("train", "there are label images") if has_labels else Proposal("screen", "there are no label images")
    )
    return {"name": Proposal(valid_name(folder.name), "the name of the folder"), "role": role}


def valid_name(text: str) -> str:
    """Make the name of a plate of any text: accents are left out, and other characters become underscores."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "_", plain).strip("._-")[:100] or "plate"


def _of_images(folder: Path, paths: Sequence[Path]) -> Iterator[tuple[str, Proposal]]:
    """Give the pixel size, objective and binning that images state, each by the first that does; it is the last."""
    for path in reversed(paths):
        shown = path.relative_to(folder).as_posix()
        with suppress(InputError):
            content = read_file(path, folder)
            yield from _of_microscope(microscope_of_image(content), f"OME metadata of {shown}")
            size, words = stated_in_image(content, path)
            yield from _of_size(size, f"{words} of {shown}")


def _of_fields(folder: Path, fields: Sequence[HcsField]) -> Iterator[tuple[str, Proposal]]:
    for of_well in reversed(fields):
        with suppress(InputError):
            yield from _of_size(of_well.pixel_size, f"metadata of {of_well.folder.relative_to(folder).as_posix()}")


def _of_microscope(microscope: Microscope, source: str) -> Iterator[tuple[str, Proposal]]:
    for key, value in microscope._asdict().items():
        if value is not None:
            yield key, Proposal(value, source)


def _of_size(size: PixelSize, source: str) -> Iterator[tuple[str, Proposal]]:
    if size.um is not None and is_credible(size.um):
        yield "pixel_size_um", Proposal(float(f"{size.um:.6g}"), source)


def _has_labels(of_well: HcsField) -> bool:
    # Which of several is meant, plate.json must say.
    try:
        return of_well.labels_folder() is not None
    except InputError:
        return True


def _channels_and_sizes(of_well: HcsField) -> tuple[list[str], dict[str, int]]:
    """Give the names of the channels and the lengths of the axes; none of a field whose check will say why."""
    try:
        return of_well.channels, of_well.sizes
    except InputError:
        return [], {}
