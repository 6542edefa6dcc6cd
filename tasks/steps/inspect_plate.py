"""Inspect: look at a folder that may become a plate, without importing it.

Writes inspection.json and previews/: what was recognised in the folder, by which a form is prefilled; what `ingest`
would refuse or doubt with the values given so far, by the same checks; what was not checked; and pictures of some
fields with the outlines of their labels. What is wrong with a plate is an answer, not a failure.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import imagecodecs
import numpy as np
import pydantic
from numpy.typing import NDArray

from tasks.contract import LIGHT, Outcome, Resources, Task, TaskParams, Workspace
from tasks.nuclei import figures
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.plates import other_files
from tasks.nuclei.plates.arrival import check_fields, left_out_of, open_arrival, refusing, sentence_of, warnings_of
from tasks.nuclei.plates.choosing import in_order
from tasks.nuclei.plates.field_check import FieldCheck, copies_among
from tasks.nuclei.plates.file_kinds import read_file
from tasks.nuclei.plates.files import Plate
from tasks.nuclei.plates.image_files import decode_image, decode_numbered
from tasks.nuclei.plates.info import content_of, problems_of_values
from tasks.nuclei.plates.pixel_size import NOT_STATED
from tasks.nuclei.plates.recognition import Recognised, recognise
from tasks.store.imported_plates import newest_version, problems_of_name

MOST_CHECKED = 16
"""Fields that are opened: a field of 2160 x 2160 px with 300 labels takes about a CPU second, and a person waits."""
MOST_PREVIEWS = 6

STAND_INS = {
    "name": "plate",
    "cell_line": "not given",
    "objective": "not given",
    "binning": 1,
    "pixel_size_um": 1.0,
    "replicate": "technical",
    "annotation": "manual",
}
"""Values in place of those that are wrong or not given yet, so that files are checked all the same. None of them
decides about a file; a pixel size that isn't known isn't held against those of the images."""

T = TypeVar("T")


class Params(TaskParams):
    folder: Annotated[str, pydantic.Field(pattern=r"^/")]
    """Absolute path of the folder. A plate.json in it may lack, or lack values."""
    values: dict[str, Any] = pydantic.Field(default_factory=dict)
    """What a person has given so far, by keys of plate.json; an empty value is none. It comes before plate.json, and
    that before what the files propose."""


@dataclass
class Findings:
    """What is found in a folder; content of inspection.json."""

    recognised: dict[str, Any] = field(default_factory=dict)
    proposed: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By key of plate.json: value, and source in words."""
    values: dict[str, Any] = field(default_factory=dict)
    """Of plate.json, as they would be imported."""
    wrong_values: dict[str, str] = field(default_factory=dict)
    """By key of plate.json what is wrong with it; under "" what is wrong with several together."""
    refused: list[str] = field(default_factory=list)
    """Why `ingest` would refuse the plate, besides the wrong values."""
    left_out: list[str] = field(default_factory=list)
    """Without what a screening plate would be imported."""
    doubts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    known_version: str | None = None
    """The newest imported version of a plate of this name, of which this would become a new one."""
    previews: list[dict[str, str]] = field(default_factory=list)
    """File in previews/, and the image that it shows."""


def depends_on(params: Params, store: Path) -> Sequence[str]:
    """Give the state of all files in the folder, and of the imported plates of its name: they may change."""
    folder = Path(params.folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: is no folder; give the folder of a plate.")
    known = sorted(path.name for path in (store / "ingest").glob("[!.]*@*"))
    return [json.dumps(sorted(_states(folder))), json.dumps(known)]


def _states(folder: Path) -> Iterator[tuple[str, int, int, int]]:
    """Give path, size, and times of modification and of the last change of any kind, of folders too."""
    for here, _, names in os.walk(folder):
        for path in (Path(here), *(Path(here, name) for name in names)):
            status = path.lstat()
            shown = os.fsencode(path.relative_to(folder)).decode(errors="backslashreplace")
            yield shown, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def run(params: Params, workspace: Workspace) -> Outcome:
    # What tifffile logs of a damaged file comes again in the sentence that names the file.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    folder, findings = Path(params.folder), Findings()
    (workspace.output_dir / "previews").mkdir()
    checked = 0
    try:
        recognised = _recognise(folder, params.values, findings)
        plate = _open(folder, recognised, findings, workspace.store)
        if plate is not None:
            checked = _check(plate, findings)
        _draw_previews(folder, recognised, plate, workspace.output_dir / "previews", findings)
    except (InputError, PermissionError) as error:
        findings.refused += _problems_of(error, folder)
    text = json.dumps(vars(findings), indent=1)
    (workspace.output_dir / "inspection.json").write_text(text)
    counts = {
        "images": findings.recognised.get("images", 0),
        "labels": findings.recognised.get("labels", 0),
        "checked": checked,
        "refused": len(findings.refused) + len(findings.wrong_values),
        "doubts": len(findings.doubts),
        "previews": len(findings.previews),
    }
    return Outcome({"inspection": "inspection.json", "previews": "previews"}, {}, counts)


def _recognise(folder: Path, given: Mapping[str, Any], findings: Findings) -> Recognised:
    """Note what the folder holds, what it proposes, and the values of plate.json that come of it all."""
    content: dict[str, Any] = {}
    if (folder / "plate.json").exists():
        try:
            content = content_of(inside(folder, "plate.json"))
        except InputError as error:
            findings.refused += _problems_of(error, folder)
    given = content | {key: value for key, value in given.items() if value not in (None, "")}
    wells = given.get("wells")
    recognised = recognise(
        folder, given.get("each_name_is_a_field") is True, wells if wells in (96, 384, 1536) else None
    )
    findings.recognised = {
        "layout": recognised.layout.title,
        "images": recognised.images,
        "labels": recognised.labels,
        "wells": len(recognised.wells),
        "first_wells": list(recognised.wells[:3]),
        "sites": recognised.sites,
        "axes": {
            key: [{"value": value, "images": counts[value]} for value in sorted(counts, key=in_order)]
            for key, counts in recognised.axes.items()
        },
        "not_used": dict(recognised.not_used),
    }
    findings.proposed = {key: proposal._asdict() for key, proposal in recognised.proposals.items()}
    findings.values = {key: proposal.value for key, proposal in recognised.proposals.items()} | given
    findings.wrong_values = _wrong_among(findings.values)
    return recognised


def _wrong_among(values: Mapping[str, Any]) -> dict[str, str]:
    """Say what is wrong with values, by their keys; together they are looked at with stand-ins for the wrong ones."""
    wrong = problems_of_values(values)
    right = {key: value for key, value in values.items() if key not in wrong}
    return problems_of_values({key: STAND_INS[key] for key in STAND_INS.keys() & wrong.keys()} | right) | wrong


def _open(folder: Path, recognised: Recognised, findings: Findings, store: Path) -> Plate | None:
    """Open the plate as `ingest` would; None, with the reasons noted, where it would be refused."""
    stand_ins = STAND_INS | {"role": recognised.proposals["role"].value}
    wrong = findings.wrong_values.keys()
    usable = {key: value for key, value in findings.values.items() if key not in wrong}
    try:
        plate = open_arrival(folder, content=stand_ins | usable)
    except InputError as error:
        findings.refused += _problems_of(error, folder)
        findings.not_checked.append("No image was opened, since the files must be put in order first.")
        return None
    if "name" not in wrong:
        known = newest_version(plate.info.name, store / "ingest")
        findings.known_version = known.name if known else None
        findings.refused += problems_of_name(plate.info, store / "ingest")
    return plate


def _check(plate: Plate, findings: Findings) -> int:
    """Note what is wrong with the pixels of some fields, or all; gives how many were opened."""
    part = replace(plate, fovs=tuple(_spread(plate.fovs, MOST_CHECKED)))
    checks = check_fields(part)
    if "pixel_size_um" in findings.wrong_values:
        for check in checks:
            check.pixel_size = NOT_STATED
    refused = refusing(part, checks)
    findings.refused += refused
    rows = [check.row for check in checks if check.row]
    findings.recognised |= {
        "fields": len(plate.fovs),
        "sizes_px": sorted({(row["height_px"], row["width_px"]) for row in rows}),
        "dtypes": sorted({row["dtype"] for row in rows}),
        "not_used": dict(plate.not_used),
    }
    findings.doubts += [doubt for check in checks for doubt in check.doubts]
    if not refused:
        findings.left_out += [row["problem"] for row in left_out_of(part, checks)]
        findings.warnings += [sentence_of(warning) for warning in warnings_of(part, checks)]
        findings.copies += copies_among([check for check in checks if not check.problems])
    _check_the_rest(plate, part, checks, findings)
    return len(checks)


def _check_the_rest(plate: Plate, part: Plate, checks: Sequence[FieldCheck], findings: Findings) -> None:
    """Check tables and further label images, for which all fields must have been opened; say what wasn't checked."""
    if len(part.fovs) == len(plate.fovs):
        sizes = {check.fov.name: (check.row["height_px"], check.row["width_px"]) for check in checks if check.row}
        findings.refused += other_files.problems_of(plate, sizes)
    else:
        findings.not_checked.append(
            f"{len(plate.fovs) - len(part.fovs)} of {len(plate.fovs)} fields were not opened, nor were tables and "
            "further label images; all are checked when the plate is imported."
        )
    findings.not_checked.append(
        "Images were not compared with those of other plates, nor with an earlier version of this one; that is done "
        "when the plate is imported."
    )


def _draw_previews(
    folder: Path, recognised: Recognised, plate: Plate | None, previews: Path, findings: Findings
) -> None:
    """Draw some fields; of a plate that can't be opened yet, some of the images that there are."""
    if plate is not None:
        shown = [(fov.image_path, fov.labels_path, plate.read) for fov in _spread(plate.fovs, MOST_PREVIEWS)]
    else:
        names, read_in = _spread(sorted(recognised.image_files), MOST_PREVIEWS), partial(read_file, plate_folder=folder)
        shown = [(recognised.image_files[name], recognised.label_files.get(name), read_in) for name in names]
    for number, (image_path, labels_path, read) in enumerate(shown, start=1):
        try:
            image = decode_image(read(image_path), image_path)
        # What is wrong with it is said by the check.
        except InputError:
            continue
        name = f"{number}.png"
        picture = figures.preview_picture(image, _labels(labels_path, read))
        (previews / name).write_bytes(imagecodecs.png_encode(picture))
        findings.previews.append({"file": name, "image": image_path.relative_to(folder).as_posix()})


def _labels(path: Path | None, read: Any) -> NDArray[np.int32] | None:
    try:
        return None if path is None else decode_numbered(read(path), path).label_image
    except InputError:
        return None


def _spread(items: Sequence[T], most: int) -> list[T]:
    """Give at most so many of a sequence, evenly over it, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]


def _problems_of(error: Exception, folder: Path) -> list[str]:
    """Give the sentences of an error, with names relative to the folder."""
    problems = error.problems if isinstance(error, InputError) else (str(error),)
    return [problem.removeprefix(f"{folder}: ").removeprefix(f"{folder}/").rstrip(".") for problem in problems]


TASK = Task(
    name="inspect_plate",
    version=1,
    params_type=Params,
    run=run,
    depends_on=depends_on,
    # A person waits for it.
    resources=Resources(LIGHT, memory_gib=4),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
