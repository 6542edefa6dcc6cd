"""Further label images of the same fields, such as a second annotator's: label_sets/<name of the set>/.

What is in labels/ is trained on and judged by; the others are scored beside it. An origins.csv in the folder of a set
says how its labels came.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.file_kinds import (
    is_left_by_a_system,
    printable,
    problem_of,
    problem_of_link,
    read_file,
    without_extension,
)
from tasks.nuclei.plates.image_files import decode_numbered
from tasks.nuclei.plates.origins import ORIGINS

LABEL_SETS = "label_sets"
SET_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}"
SET_NAME_IN_WORDS = "up to 40 letters from A to Z, digits, underscore and hyphen, with a letter or digit first"

Files = Mapping[str, Path]
"""By the names of fields."""


class LabelSets(NamedTuple):
    """The sets of a plate, by name, and what is wrong with them, in sentences."""

    files: dict[str, dict[str, Path]]
    problems: list[str]


def find_label_sets(plate_folder: Path, labelled: Collection[str]) -> LabelSets:
    """List the files of all sets. A set may hold a part of the fields that have labels."""
    sets = LabelSets({}, [])
    folder = inside(plate_folder, LABEL_SETS)
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        shown = f"{LABEL_SETS}/{printable(path.name)}"
        if is_left_by_a_system(path.name):
            continue
        if not path.is_dir() or not re.fullmatch(SET_NAME, path.name):
            sets.problems.append(
                f"{shown}: must be a folder of label images with the name of its set, {SET_NAME_IN_WORDS}; rename it"
            )
            continue
        if problem := problem_of_link(path, plate_folder, shown):
            sets.problems.append(problem)
            continue
        sets.files[path.name] = dict(_files_of(path, plate_folder, labelled, sets.problems))
    return sets


def _files_of(
    folder: Path, plate_folder: Path, labelled: Collection[str], problems: list[str]
) -> Iterator[tuple[str, Path]]:
    found: set[str] = set()
    for path in sorted(folder.iterdir()):
        if is_left_by_a_system(path.name) or path.name == ORIGINS:
            continue
        name, shown = without_extension(path.name), f"{LABEL_SETS}/{folder.name}/{printable(path.name)}"
        if problem := problem_of(path, plate_folder):
            problems.append(f"{LABEL_SETS}/{folder.name}/{problem}")
        elif name is None or name not in labelled:
            problems.append(f"{shown}: there is no field of this name with labels; rename it or remove it")
        elif name in found:
            problems.append(f"{shown}: another file has the same name but for its ending; remove one of them")
        else:
            found.add(name)
            yield name, path


def problems_of_sizes(sets: Mapping[str, Files], sizes: Mapping[str, tuple[int, int]], plate_folder: Path) -> list[str]:
    """Read all label images; say which can't be, and which haven't the size in px of their field's image."""
    problems = []
    for files in sets.values():
        for name, path in files.items():
            shown = path.relative_to(plate_folder).as_posix()
            try:
                size = decode_numbered(read_file(path, plate_folder), path).label_image.shape
            except InputError as error:
                problems.append(str(error).removeprefix(f"{plate_folder}/").rstrip("."))
                continue
            if name in sizes and size != sizes[name]:
                given, needed = (f"{height} x {width}" for height, width in (size, sizes[name]))
                problems.append(f"{shown}: is {given} px and its image {needed} px; they must be equal")
    return problems
