"""The plates that `ingest` froze, side by side in one folder.

    <plate>@<digest>/                     an imported plate
    .<plate>@<digest>.partial/output/     one on its way

An image is for training or for tests, never for both. Images are told by their pixels, so that another file name,
file format or plate hides nothing. And a name stands for one plate with one role, in all its versions: the newest one
takes the place of the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tasks.nuclei.plates.files import FROZEN_REPORT
from tasks.nuclei.plates.info import PlateInfo

OTHER_ROLE = {"train": "test", "test": "train"}


def pixels_sha256(image: NDArray[Any]) -> str:
    """SHA-256 of dtype, shape and pixels of an image."""
    sha256 = hashlib.sha256(f"{image.dtype.name} {image.shape}".encode())
    sha256.update(image.tobytes())
    return sha256.hexdigest()


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
    pixels = {row["pixels_sha256"] for row in fovs}
    if versions and not any(row["pixels_sha256"] in pixels for _, rows in versions for row in rows):
        problems.append(
            f"images/: none is of the known plate named {info.name}; give a new plate a name of its own, and a new "
            "version of a plate some of its images"
        )
    return problems + _images_in_the_other_role(info, fovs, known)


def _images_in_the_other_role(
    info: PlateInfo, fovs: list[dict[str, Any]], known: list[tuple[PlateInfo, list[dict[str, Any]]]]
) -> list[str]:
    used = {
        row["pixels_sha256"]: f"{row['image']} of the {other.role} plate {other.name}"
        for other, rows in known
        if other.role == OTHER_ROLE.get(info.role)
        for row in rows
    }
    return [
        f"{row['image']}: has the pixels of {used[row['pixels_sha256']]}; "
        "an image is for training or for tests, never for both, remove it and its labels"
        for row in fovs
        if row["pixels_sha256"] in used
    ]


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
