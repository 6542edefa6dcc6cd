"""What is in the store: frozen plates, and results that lead from a model back to its plates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class StoredPlate:
    """A frozen plate, in the version of it that was frozen last."""

    name: str
    role: str
    cell_line: str
    path: str
    """`ingest/<name>@<digest>`"""
    frozen_at: str
    """UTC, ISO 8601."""


def newest_plates(store: Path, role: str) -> list[StoredPlate]:
    """Give the plates of a role by name, each in its newest version."""
    newest: dict[str, StoredPlate] = {}
    for plate in sorted(_all_plates(store), key=lambda plate: plate.frozen_at):
        newest[plate.name] = plate
    return [newest[name] for name in sorted(newest) if newest[name].role == role]


def superseding_plate(store: Path, path: str) -> str | None:
    """Say which newer version of a frozen plate counts; None for the newest one."""
    plate = read_plate(store, path)
    newest = max((p for p in _all_plates(store) if p.name == plate.name), key=lambda p: p.frozen_at)
    if newest.path == path:
        return None
    return (
        f"This is the version {path}, frozen at {plate.frozen_at[:19]}; {newest.path}, frozen at "
        f"{newest.frozen_at[:19]}, counts since. To go back, change a word of objective in plate.json."
    )


def read_plate(store: Path, path: str) -> StoredPlate:
    """Read a frozen plate's plate.json and report."""
    folder = store / path
    info = json.loads((folder / "plate.json").read_text())
    report = json.loads((folder / "report.json").read_text())
    return StoredPlate(info["name"], info["role"], info["cell_line"], path, report["frozen_at"])


def read_result(store: Path, path: str) -> dict[str, Any]:
    """Read the result.json of a task's output folder, given relative to the store."""
    return json.loads((store / path / "result.json").read_text())


def rois_of_network(store: Path, network: str) -> str:
    """Give the output folder of `augment` that a network was trained from."""
    return read_result(store, network)["params"]["rois"].rpartition("/")[0]


def _all_plates(store: Path) -> list[StoredPlate]:
    folders = [path.parent for path in store.glob("ingest/[!.]*/report.json")]
    return [read_plate(store, folder.relative_to(store).as_posix()) for folder in folders]
