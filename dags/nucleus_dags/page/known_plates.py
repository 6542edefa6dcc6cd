"""Imported plates as the page lists them: all versions of each, read once."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleus_dags.errors import FormError
from nucleus_dags.page.damaged import left_out_if_damaged
from nucleus_dags.page.remembered import remembered
from nucleus_dags.page.store_results import read_json
from nucleus_dags.plates.names import is_key
from nucleus_dags.plates.retired import changed_plates, last_change
from nucleus_dags.plates.stored import StoredPlate, plate_paths, read_plate


@dataclass(frozen=True)
class KnownPlate:
    """A plate with all its versions in the store."""

    versions: tuple[StoredPlate, ...]
    """The newest first; it is the one that counts."""

    @property
    def newest(self) -> StoredPlate:
        return self.versions[0]


def known_plates(store: Path, keys: str = "[!.]*") -> dict[str, KnownPlate]:
    """Give the imported plates whose keys match a pattern, by name. Damaged ones are left out."""
    versions: dict[str, list[StoredPlate]] = {}
    for path in plate_paths(store, keys):
        with left_out_if_damaged(store / path):
            plate = plate_at(store / path)
            versions.setdefault(plate.name, []).append(plate)
    return {
        name: KnownPlate(tuple(sorted(versions[name], key=lambda plate: plate.frozen_at, reverse=True)))
        for name in sorted(versions, key=str.casefold)
    }


def known_plate(store: Path, name: str) -> KnownPlate | None:
    """Give a plate by its name; None if there is none."""
    return known_plates(store, f"{glob.escape(name)}@*").get(name) if is_key(f"{name}@{'0' * 12}") else None


def retired_in_words(store: Path) -> dict[str, str]:
    """Say of each plate that is retired by whom, when and why, or that it can't be read; by name."""
    said = {name: _retired_in_words(store, name) for name in changed_plates(store)}
    return {name: words for name, words in said.items() if words}


def _retired_in_words(store: Path, name: str) -> str:
    try:
        change = last_change(store, name)
    except FormError as error:
        return str(error)
    return f"It was {change.in_words}" if change and change.is_retired else ""


def version_folder(store: Path, name: str, digest: str) -> Path | None:
    """Give the folder of a version of a plate; None if there is none."""
    key = f"{name}@{digest}"
    folder = store / "ingest" / key
    return folder if is_key(key) and (folder / "report.json").exists() else None


def details_of(store: Path, plate: StoredPlate) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the whole plate.json and the whole report of an imported plate."""
    folder = store / plate.path
    return read_json(folder / "plate.json"), read_json(folder / "report.json")


def plate_at(folder: Path) -> StoredPlate:
    """Read an imported plate; raises as `reading`."""
    return _plate_of(folder / "report.json")


@remembered
def _plate_of(report: Path) -> StoredPlate:
    folder = report.parent
    return read_plate(folder.parents[1], folder.relative_to(folder.parents[1]).as_posix())
