"""What an OME-Zarr plate lists: its wells and their images, and what lies beside without being listed."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from tasks.nuclei.errors import InputError, raise_if_any
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.file_kinds import MAX_FIELD_BYTES, is_left_by_a_system, printable
from tasks.nuclei.plates.hcs import SITE_KEY, HcsField, attributes_of, faults_named, required
from tasks.nuclei.plates.image_files import NO_FILE
from tasks.nuclei.plates.wells import is_well, parse_well

MAX_SITE = 9999
MAX_METADATA_BYTES = 2**26
"""Of a file of attributes; that of a plate lists all its wells, and may hold those of all arrays too."""
_METADATA = (".zattrs", ".zarray", ".zgroup", ".zmetadata", "zarr.json")


class HcsListing(NamedTuple):
    """What a plate lists; no pixels have been read."""

    fields: list[HcsField]
    """By well and site; several may be of one. Those whose own attributes are lost or damaged are among them."""
    faulty_wells: dict[str, InputError]
    """Wells whose attributes can't be read, by their names."""
    unlisted: list[Path]
    """Folders of wells and images on the disk that the plate doesn't list."""


def list_hcs(folder: Path) -> HcsListing:
    """List the images of a plate.

    Raises InputError for a folder that is not a plate, for a well or an image that is listed twice, for a name that is
    not a well (B07 is column 7 or 07 in row B) or not a site (a number, with something behind or in front of it).
    """
    _refuse_other_than_files(folder)
    found = HcsListing([], {}, [])
    with faults_named(folder):
        paths = [well["path"] for well in required("plate", folder)["wells"]]
        _refuse_listed_twice(folder, paths)
        of_wells = {inside(folder, path): parse_well(path.replace("/", "").upper()).name for path in paths}
        for of_well, well in of_wells.items():
            try:
                attributes = required("well", of_well)
            except InputError as error:
                found.faulty_wells[well] = error
                continue
            fields = list(_fields_of_well(of_well, well, attributes["images"]))
            found.fields.extend(fields)
            found.unlisted.extend(_groups_in(of_well, {field.folder for field in fields}))
        for row in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
            found.unlisted.extend(group for group in _groups_in(row, of_wells) if _is_well_folder(group))
    found.fields.sort(key=lambda field: (parse_well(field.well), field.site))
    return found


def _refuse_other_than_files(folder: Path) -> None:
    """Raise InputError for links, pipes and devices at any depth, and for files that are far too large.

    zarr opens whatever has the name of a chunk, and reads all of it.
    """
    problems = []
    for entry in _entries(folder) if folder.is_dir() else ():
        name = printable(str(Path(entry.path).relative_to(folder)))
        size = entry.stat(follow_symlinks=False).st_size
        if entry.is_symlink():
            problems.append(f"{name}: is a link; put the file or folder itself in its place")
        elif not entry.is_dir() and not entry.is_file():
            problems.append(f"{name}: {NO_FILE}")
        elif entry.is_file() and size > (MAX_METADATA_BYTES if entry.name in _METADATA else MAX_FIELD_BYTES):
            problems.append(f"{name}: has {size:,} bytes, far more than such a file needs; convert the plate again")
    raise_if_any(problems, folder)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Give all that lies in a folder at any depth, but for what systems leave; links aren't followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder and is_left_by_a_system(entry.name):
                continue
            yield entry
            if is_folder:
                yield from _entries(Path(entry.path))


def _is_well_folder(folder: Path) -> bool:
    return is_well(f"{folder.parent.name}{folder.name}".upper())


def _groups_in(folder: Path, listed: Collection[Path]) -> Iterator[Path]:
    """Give the groups and arrays in a folder that aren't listed."""
    for entry in sorted(folder.iterdir()):
        if entry not in listed and any((entry / name).is_file() for name in (".zattrs", ".zgroup", "zarr.json")):
            yield entry


def _refuse_listed_twice(folder: Path, paths: Sequence[str]) -> None:
    twice = [path for path, times in Counter(paths).items() if times > 1]
    if twice:
        raise InputError(
            f"{folder}: lists {', '.join(twice)} twice in its attributes; remove one, or convert it again."
        )


def refuse_fields_twice(fields: Sequence[HcsField]) -> None:
    """Raise InputError for a well and site that two fields have; they are in the order of `list_hcs`."""
    for field, following in pairwise(fields):
        if (field.well, field.site) == (following.well, following.site):
            raise InputError(f"{field.folder} and {following.folder} are both site {field.site}; remove one of them.")


def _fields_of_well(folder: Path, well: str, images: Sequence[Mapping[str, Any]]) -> Iterator[HcsField]:
    _refuse_listed_twice(folder, [image["path"] for image in images])
    for image in images:
        field = inside(folder, image["path"])
        # 0 and 0_illum_corr, or one number anywhere, as in field_3.
        name = re.fullmatch(r"(\d{1,4})(\D.*)?|\D*(\d{1,4})\D*", image["path"])
        if name is None:
            raise InputError(f"{field}: is not the name of a field; allowed is a number, such as 0 or 0_illum_corr.")
        number, ending, acquisition = int(name[1] or name[3]), name[2] or "", image.get("acquisition")
        site = _site_of(field)
        yield HcsField(
            well,
            site if type(site) is int and 0 <= site <= MAX_SITE else number,
            field,
            ending.strip("_-"),
            acquisition if type(acquisition) is int else None,
        )


def _site_of(field: Path) -> Any:
    """Give the site that a field names; None for one without, and for one whose attributes are lost."""
    try:
        return attributes_of(field).get(SITE_KEY)
    except InputError:
        return None
