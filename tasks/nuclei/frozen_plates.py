"""The plates that `ingest` froze, side by side in one folder.

    <plate>@<digest>/                     a frozen plate
    .<plate>@<digest>.partial/output/     one on its way

An image is for training or for tests, never for both. Images are told by their pixels, so that another file name,
file format or plate hides nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tasks.nuclei.plates import FROZEN_REPORT, PlateInfo, read_plate_info

OTHER_ROLE = {"train": "test", "test": "train"}


def pixels_sha256(image: NDArray[Any]) -> str:
    """SHA-256 of dtype, shape and pixels of an image."""
    sha256 = hashlib.sha256(f"{image.dtype.name} {image.shape}".encode())
    sha256.update(image.tobytes())
    return sha256.hexdigest()


def problems_of_roles(info: PlateInfo, fovs: list[dict[str, Any]], frozen: Path) -> list[str]:
    """Name the images of a plate that another plate uses in the other role; `fovs` are rows of report.json."""
    if info.role not in OTHER_ROLE:
        return []
    used = {}
    for folder in _frozen_folders(frozen):
        other = read_plate_info(folder)
        if other.role == OTHER_ROLE[info.role]:
            rows = json.loads((folder / FROZEN_REPORT).read_text())["fovs"]
            used.update(
                {row["pixels_sha256"]: f"{row['image']} of the {other.role} plate {other.name}" for row in rows}
            )
    return [
        f"{row['image']}: has the pixels of {used[row['pixels_sha256']]}; "
        "an image is for training or for tests, never for both, remove it and its labels"
        for row in fovs
        if row["pixels_sha256"] in used
    ]


def _frozen_folders(frozen: Path) -> Iterator[Path]:
    # Those on their way first: one that is renamed meanwhile is met again.
    for pattern in (f".*.partial/output/{FROZEN_REPORT}", f"*/{FROZEN_REPORT}"):
        for path in sorted(frozen.glob(pattern)):
            if pattern.startswith(".") or not path.parent.name.startswith("."):
                yield path.parent
