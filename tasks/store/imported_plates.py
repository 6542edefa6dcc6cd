"""The plates that `ingest` froze, side by side in one folder.

    <plate>@<digest>/                     an imported plate
    .<plate>@<digest>.partial/output/     one on its way

An image is for training or for tests, never for both. Images are told by their pixels, so that another file name,
file format, number of bits or plate hides nothing, and so are copies that are cropped or changed as a whole
(`tasks.nuclei.copies` says which). And a name stands for one plate with one role, in all its versions: the newest one
takes the place of the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.nuclei.copies import KINDS, Fingerprint, copies
from tasks.nuclei.plates.files import FROZEN_REPORT
from tasks.nuclei.plates.info import PlateInfo

OTHER_ROLE = {"train": "test", "test": "train"}


def report_of(folder: Path) -> dict[str, Any]:
    """Read the report.json of an imported plate; empty of a folder without one."""
    try:
        report: dict[str, Any] = json.loads((folder / FROZEN_REPORT).read_text())
    except FileNotFoundError:
        return {}
    return report


def left_out_of(folder: Path) -> list[dict[str, Any]]:
    """Give the fields that an imported plate doesn't have because they were faulty: fov, file, well, site, problem."""
    rows: list[dict[str, Any]] = report_of(folder).get("left_out", [])
    return rows


def problems_of_roles(info: PlateInfo, fovs: list[dict[str, Any]], frozen: Path) -> list[str]:
    """Say what of a plate contradicts the imported ones; `fovs` are its rows of report.json.

    A plate keeps its role and its images through all its versions, and an image its role in all plates.
    """
    known = list(_frozen_plates(frozen))
    versions = [(other, rows) for other, rows in known if other.name == info.name]
    problems = [
        f"plate.json: role is {info.role}, but a plate named {info.name} is known with role {role}; "
        "give it the role that it had, or another name"
        for role in sorted({other.role for other, _ in versions if other.role != info.role})
    ]
    fields = _fingerprints(fovs)
    values = {value for fingerprint in fields.values() for value in fingerprint.values}
    if versions and not any(row["pixels_sha256"] in values for _, rows in versions for row in rows):
        problems.append(
            f"images/: none is of the known plate named {info.name}; give a new plate a name of its own, and a new "
            "version of a plate some of its images"
        )
    return problems + _images_in_the_other_role(info, fields, known)


def _images_in_the_other_role(
    info: PlateInfo, fields: dict[str, Fingerprint], known: list[tuple[PlateInfo, list[dict[str, Any]]]]
) -> list[str]:
    others: dict[str, Fingerprint] = {}
    for other, rows in known:
        if other.role == OTHER_ROLE.get(info.role):
            others |= _fingerprints(rows, f" of the {other.role} plate {other.name}")
    surest_last = sorted(copies(fields, others), key=lambda copy: -KINDS.index(copy.kind))
    found = {copy.name: f"{copy.kind} {copy.other}" for copy in surest_last}
    return [
        f"{name}: {found[name]}; an image is for training or for tests, never for both, remove it and its labels"
        for name in fields
        if name in found
    ]


def _fingerprints(rows: Iterable[Mapping[str, Any]], of_plate: str = "") -> dict[str, Fingerprint]:
    return {f"{row['image']}{of_plate}": Fingerprint.of_row(row) for row in rows}


def _frozen_plates(frozen: Path) -> Iterator[tuple[PlateInfo, list[dict[str, Any]]]]:
    """Give what plates say of themselves, with their rows of report.json."""
    # Those on their way first: one that is renamed meanwhile is met again.
    for pattern in (f".*.partial/output/{FROZEN_REPORT}", f"*/{FROZEN_REPORT}"):
        for path in sorted(frozen.glob(pattern)):
            if pattern.startswith("*") and path.parent.name.startswith("."):
                continue
            try:
                info = PlateInfo.model_validate_json((path.parent / "plate.json").read_bytes())
                yield info, json.loads(path.read_text())["fovs"]
            except FileNotFoundError:
                continue
