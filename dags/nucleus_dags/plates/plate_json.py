"""The one reader of plate.json for DAGs: in the inbox, in the store, in a folder of the demo."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nucleus_dags.errors import FormError

PLATE_JSON = "plate.json"

_JSON = (
    "Texts stand in straight double quotes, numbers have a decimal point, a comma stands between entries and not after "
    "the last one, and comments aren't allowed"
)


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
        # From bytes, JSON is read in UTF-8, and in UTF-16 or UTF-32 as Windows writes them.
        info = json.loads(path.read_bytes(), object_pairs_hook=_without_repetition)
        return PlateFolder(info["name"], info["role"], info.get("cell_line", ""), folder)
    except UnicodeDecodeError:
        raise FormError(f"{path} can't be read: it isn't text in UTF-8; save it again with this encoding.") from None
    except OSError as error:
        raise FormError(f"{path} can't be read ({error}); correct it.") from error
    except (ValueError, RecursionError) as error:
        raise FormError(f"{path} can't be read ({error}. {_JSON}); correct it.") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise FormError(f"{path} must be a JSON object with name and role; correct it.") from error


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{twice} stands there more than once; keep one of them")
    return content


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
