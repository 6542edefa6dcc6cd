"""What is looked at of a plate that arrives, before it is imported: what refuses it, and what a person should know."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tasks.nuclei.errors import InputError, raise_if_any
from tasks.nuclei.plates.field_check import FieldCheck, check_field, judge_labels
from tasks.nuclei.plates.files import Plate, pair_files
from tasks.nuclei.plates.hcs_plates import pair_fields
from tasks.nuclei.plates.info import Role
from tasks.nuclei.plates.layouts import OME_ZARR, layout_of
from tasks.nuclei.plates.pixel_size import PixelSize, disagreement
from tasks.nuclei.plates.pixel_size import doubt as doubt_of_sizes

READERS = 4

log = logging.getLogger("nucleus")

T = TypeVar("T")
R = TypeVar("R")


def open_arrival(folder: Path, role: Role | None = None, content: Mapping[str, Any] | None = None) -> Plate:
    """Open a plate in any layout. `content` stands for that of plate.json where it isn't written yet.

    Raises InputError unless its role is the one asked for, and every image that needs labels has them; and as
    `pair_files` and `pair_fields` do.
    """
    try:
        pair = pair_fields if layout_of(folder) is OME_ZARR else pair_files
        plate = pair(folder, content)
    except PermissionError as error:
        who = f"user {os.getuid()} may not read it ({error.strerror})"
        raise InputError(f"{error.filename}: {who}; give others the right to read the plate.") from None
    given = plate.info.role
    if role not in (None, given):
        raise InputError(
            f"{plate.folder}/plate.json: role is {given!r}, and the plate was given as a {role} plate; "
            f"correct the role, or give it as a {given} plate."
        )
    unlabelled = [fov.image_path.name for fov in plate.fovs if fov.labels_path is None and given != "screen"]
    lacking = plate.layout.lacking
    raise_if_any([f"images/{name}: has no label image; {lacking}" for name in unlabelled], plate.shown)
    return plate


def check_fields(plate: Plate, copy_to: Path | None = None) -> list[FieldCheck]:
    """Check all fields of a plate, each alone and their labels together; copy what is without faults as yet."""
    checks = list(in_threads(lambda fov: check_field(fov, plate, copy_to), plate.fovs, "checked"))
    judge_labels(checks, are_needed=plate.info.role != "screen", are_exact=plate.info.annotation == "synthetic")
    return checks


def refusing(plate: Plate, checks: Sequence[FieldCheck]) -> list[str]:
    """Say why a plate is refused; empty for a screening plate of which not all fields are faulty.

    Images that state another pixel size than plate.json refuse any plate.
    """
    problems = [problem for check in checks for problem in check.problems]
    of_sizes = disagreement(_pixel_sizes(checks), plate.info.pixel_size_um)
    if of_sizes:
        return of_sizes + problems
    if plate.info.role == "screen":
        return problems if all(check.problems for check in checks) else []
    if not problems and not any(len(check.areas_px) for check in checks):
        return [f"labels/: holds no nucleus in any of its {len(plate.fovs)} files; label at least one"]
    return problems


def warnings_of(plate: Plate, checks: Sequence[FieldCheck]) -> list[dict[str, Any]]:
    """Give what to look at in a plate that isn't refused: file, problem, and for a single nucleus its label."""
    good = [check for check in checks if not check.problems]
    of_sizes = doubt_of_sizes(_pixel_sizes(good), plate.info.pixel_size_um, plate.info.size_is_of_images)
    of_files = of_sizes | dict(plate.remarks)
    warnings = [{"file": file, "problem": problem} for file, problem in of_files.items()]
    return warnings + [warning for check in good for warning in check.warnings]


def left_out_of(plate: Plate, checks: Sequence[FieldCheck]) -> list[dict[str, Any]]:
    """Give the fields that a screening plate is imported without: fov, file, well, site, problem."""
    of_fields = [
        {
            "fov": check.fov.name,
            "file": check.names[0],
            "well": check.fov.well,
            "site": check.fov.site,
            "problem": "; ".join(check.problems),
        }
        for check in checks
        if check.problems
    ]
    return of_fields + [
        {"fov": fault.name, "file": fault.name, "well": fault.well, "site": fault.site, "problem": fault.problem}
        for fault in plate.faults
    ]


def sentence_of(warning: Mapping[str, Any]) -> str:
    if "label" not in warning:
        return f"{warning['file']}: {warning['problem']}"
    what = f"label {warning['label']} has {warning['problem']}"
    return f"{warning['file']}: {what}; a nucleus is one piece of 5 px or more, look at it"


def _pixel_sizes(checks: Iterable[FieldCheck]) -> dict[str, PixelSize]:
    return {check.names[0]: check.pixel_size for check in checks}


def in_threads(function: Callable[[T], R], items: Iterable[T], done: str) -> Iterator[R]:
    """Apply `function` in threads, in order; a progress line for every tenth of many items."""
    items = list(items)
    step = max(len(items) // 10, 50)
    with ThreadPoolExecutor(READERS) as threads:
        for number, result in enumerate(threads.map(function, items), start=1):
            if number % step == 0:
                log.info("%s %d of %d", done, number, len(items))
            yield result
