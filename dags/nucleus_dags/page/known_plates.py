"""Imported plates as the page lists them: all versions of each, read once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleus_dags.page.remembered import remembered
from nucleus_dags.plates.stored import StoredPlate, plate_paths, read_plate


@dataclass(frozen=True)
class KnownPlate:
    """A plate with all its versions in the store."""

    versions: tuple[StoredPlate, ...]
    """The newest first; it is the one that counts."""

    @property
    def newest(self) -> StoredPlate:
        return self.versions[0]


def known_plates(store: Path) -> dict[str, KnownPlate]:
    """Give all imported plates by name."""
    versions: dict[str, list[StoredPlate]] = {}
    for path in plate_paths(store):
        plate = _plate_of(store / path / "report.json")
        versions.setdefault(plate.name, []).append(plate)
    return {
        name: KnownPlate(tuple(sorted(versions[name], key=lambda plate: plate.frozen_at, reverse=True)))
        for name in sorted(versions, key=str.casefold)
    }


def details_of(store: Path, plate: StoredPlate) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the whole plate.json and the whole report of an imported plate."""
    folder = store / plate.path
    return json.loads((folder / "plate.json").read_bytes()), json.loads((folder / "report.json").read_bytes())


@remembered
def _plate_of(report: Path) -> StoredPlate:
    folder = report.parent
    return read_plate(folder.parents[1], folder.relative_to(folder.parents[1]).as_posix())
