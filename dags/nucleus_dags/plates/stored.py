"""The plates that `ingest` put into the store."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleus_dags.errors import FormError
from nucleus_dags.plates.names import is_key
from nucleus_dags.plates.plate_json import read_plate_folder
from nucleus_dags.plates.retired import retired_plates


@dataclass(frozen=True)
class StoredPlate:
    """A plate in the store, in the version of it that was imported last."""

    name: str
    role: str
    cell_line: str
    path: str
    """`ingest/<name>@<digest>`"""
    frozen_at: str
    """UTC, ISO 8601."""
    fovs: int
    nuclei: int
    """Labelled ones that count; 0 of a screening plate."""
    doubts: tuple[str, ...]
    """Sentences about labels and images that may be wrong; `ingest` leaves out those that plate.json confirms."""
    left_out: tuple[str, ...]
    """Sentences about the fields that were left out as faulty, one for each."""
    copies: tuple[str, ...]
    """Sentences about fields that are copies of others of the plate."""
    warnings: tuple[str, ...]
    """Sentences about files that lack something, such as chunks of a label image or the unit of the pixel size."""
    not_used: Mapping[str, int]
    """How many files of the plate's folder are no fields, by what they are, such as images of other channels."""
    chosen_patches: Mapping[str, int]
    """How many patches were chosen to be annotated, at random or ranked; empty where none was."""

    @property
    def digest(self) -> str:
        """Tells the versions of a plate apart."""
        return self.path.rpartition("@")[2]

    @property
    def trains(self) -> bool:
        """Whether it is a training plate whose labels nobody needs to confirm first."""
        return self.role == "train" and not self.doubts


def newest_plates(store: Path, role: str) -> list[StoredPlate]:
    """Give the plates of a role that aren't retired by name, each in its newest version."""
    retired = retired_plates(store)
    newest: dict[str, StoredPlate] = {}
    for plate in sorted(_all_plates(store), key=lambda plate: plate.frozen_at):
        newest[plate.name] = plate
    return [newest[name] for name in sorted(newest) if newest[name].role == role and name not in retired]


def newest_version(store: Path, name: str) -> StoredPlate | None:
    """Give the version of a plate that counts; None if it was never imported."""
    return max(_all_plates(store, f"{glob.escape(name)}@*"), key=lambda plate: plate.frozen_at, default=None)


def superseding_plate(store: Path, path: str) -> str | None:
    """Say which newer version of a stored plate counts; None for the newest one."""
    plate = read_plate(store, path)
    newest = newest_version(store, plate.name)
    if newest is None or newest.path == path:
        return None
    return (
        f"This is the version {path}, imported at {plate.frozen_at[:19]}; {newest.path}, imported at "
        f"{newest.frozen_at[:19]}, counts since. To go back, change a word of objective in plate.json."
    )


def read_plate(store: Path, path: str) -> StoredPlate:
    """Read a stored plate's plate.json and report. Raises FormError for a path that isn't one of an imported plate."""
    task, _, key = path.partition("/")
    if task != "ingest" or not is_key(key):
        raise FormError(f"{path!r:.200} is no imported plate; its path in the store is ingest/<name>@<digest>.")
    folder = store / path
    info = read_plate_folder(folder)
    report = json.loads((folder / "report.json").read_text())
    # Reports that were written before these were looked for don't have them.
    return StoredPlate(
        *(info.name, info.role, info.cell_line, path, report["frozen_at"]),
        fovs=len(report.get("fovs", [])),
        nuclei=report.get("counts", {}).get("nuclei", 0),
        doubts=tuple(report.get("doubts", [])),
        left_out=tuple(_of_field(row) for row in report.get("left_out", [])),
        copies=tuple(report.get("copies", [])),
        # Those about single nuclei are for who draws labels, and are often many.
        warnings=tuple(f"{row['file']}: {row['problem']}" for row in report.get("warnings", []) if "label" not in row),
        not_used=report.get("not_used", {}),
        chosen_patches=report.get("chosen_patches", {}),
    )


def _of_field(row: Mapping[str, Any]) -> str:
    return f"well {row['well']}: {row['problem']}" if row["well"] else str(row["problem"])


def plate_paths(store: Path, keys: str = "[!.]*") -> list[str]:
    """Give the paths in the store of the plates whose keys match a pattern."""
    return [path.parent.relative_to(store).as_posix() for path in store.glob(f"ingest/{keys}/report.json")]


def _all_plates(store: Path, keys: str = "[!.]*") -> list[StoredPlate]:
    """Give the plates whose keys match a pattern. To read the reports of thousands takes minutes."""
    return [read_plate(store, path) for path in plate_paths(store, keys)]
