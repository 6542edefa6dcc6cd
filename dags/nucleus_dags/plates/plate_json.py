"""The one reader of plate.json for DAGs: in the inbox, in the store, in a folder of the demo."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from nucleus_dags.errors import FormError

PLATE_JSON = "plate.json"


@dataclass(frozen=True)
class PlateFolder:
    """A folder with a plate.json, and what DAGs go by of it. The task `ingest` checks all of it."""

    name: str
    role: str
    cell_line: str
    """Empty if plate.json doesn't say it."""
    folder: Path


def read_plate_folder(folder: Path) -> PlateFolder:
    """Read the plate.json of a folder. Raises FormError if it can't be read."""
    path = folder / PLATE_JSON
    try:
        info = json.loads(path.read_text())
        return PlateFolder(info["name"], info["role"], info.get("cell_line", ""), folder)
    except (OSError, ValueError) as error:
        raise FormError(f"{path} can't be read ({error}); correct it.") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise FormError(f"{path} must be a JSON object with name and role; correct it.") from error


def plates_in(folder: Path) -> list[PlateFolder]:
    """Give the plates of a folder such as the inbox, by name. Raises FormError for two of one name."""
    plates = [read_plate_folder(path.parent) for path in sorted(folder.glob(f"*/{PLATE_JSON}"))]
    names = [plate.name for plate in plates]
    for plate in plates:
        if names.count(plate.name) > 1:
            folders = ", ".join(other.folder.name for other in plates if other.name == plate.name)
            raise FormError(
                f"{folder}: the folders {folders} hold plates of one name, {plate.name}; rename all but one."
            )
    return sorted(plates, key=lambda plate: plate.name)
