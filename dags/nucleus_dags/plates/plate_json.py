"""The one reader of plate.json for DAGs: in the inbox, in the store, in a folder of the demo."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nucleus_dags.errors import FormError
from nucleus_dags.plates.names import is_ignored, problem_of, shown
from nucleus_dags.plates.walk import leads_out

PLATE_JSON = "plate.json"
MOST_BYTES = 2**20
"""As for `ingest`."""

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


@dataclass(frozen=True)
class PlatesOfFolder:
    """The plates in the folders of a folder."""

    folder: Path
    plates: list[PlateFolder] = field(default_factory=list)
    """By name."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """What is wrong with a plate.json that can't be read, by the name of its folder."""

    @property
    def folder_names(self) -> set[str]:
        """Names of all folders with a plate.json."""
        return {*(plate.folder.name for plate in self.plates), *self.unreadable}

    def refuse_unreadable(self, names: Iterable[str]) -> None:
        """Raise FormError if a name is that of a folder whose plate.json can't be read."""
        problems = [self.unreadable[name] for name in names if name in self.unreadable]
        if problems:
            raise FormError(" ".join(problems))

    def refuse_twins(self, chosen: Iterable[PlateFolder]) -> None:
        """Raise FormError if one of the chosen plates has the name of another one."""
        for plate in chosen:
            twins = [other.folder.name for other in self.plates if other.name == plate.name]
            if len(twins) > 1:
                raise FormError(
                    f"{self.folder}: the folders {', '.join(map(shown, twins))} hold plates of one name, {plate.name}; "
                    "rename all but one."
                )


def read_plate_folder(folder: Path) -> PlateFolder:
    """Read the plate.json of a folder. Raises FormError if it can't be read."""
    path = folder / PLATE_JSON
    try:
        # From bytes, JSON is read in UTF-8, and in UTF-16 or UTF-32 as Windows writes them.
        info = json.loads(_bytes_of(path), object_pairs_hook=_without_repetition)
        name, role, cell_line = (_text(value) for value in (info["name"], info["role"], info.get("cell_line", "")))
        return PlateFolder(name, role.lower(), cell_line, folder)
    except FormError:
        raise
    except UnicodeDecodeError:
        raise FormError(f"{path} can't be read: it isn't text in UTF-8; save it again with this encoding.") from None
    except OSError as error:
        raise FormError(f"{path} can't be read ({error}); correct it.") from error
    except (ValueError, RecursionError) as error:
        raise FormError(f"{path} can't be read ({error}. {_JSON}); correct it.") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise FormError(f"{path} must be a JSON object with name and role; correct it.") from error


def _bytes_of(path: Path) -> bytes:
    """Read a file. A pipe would keep everybody waiting, and what lies behind a link out of the plate is another's."""
    if leads_out(path, path.parent):
        raise FormError(f"{path} is a link that leads out of the plate; put the file itself in its place.")
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise FormError(f"{path} is not a file but a device or a pipe; remove it.")
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise FormError(f"{path} has over {MOST_BYTES:,} bytes, far more than it needs; correct it.")
    return content


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = {key.strip(): value for key, value in pairs}
    if len(content) < len(pairs):
        keys = [key.strip() for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{twice} stands there more than once; keep one of them")
    return content


def plates_in(folder: Path) -> PlatesOfFolder:
    """Give the plates of a folder such as the inbox, by name, and say which have a plate.json that can't be read."""
    found = PlatesOfFolder(folder)
    for path in sorted(folder.glob(f"*/{PLATE_JSON}")):
        name = path.parent.name
        if is_ignored(name):
            continue
        if problem := problem_of(name):
            found.unreadable[name] = f"The folder {shown(name)} of {folder} {problem}."
            continue
        try:
            found.plates.append(read_plate_folder(path.parent))
        except FormError as error:
            found.unreadable[name] = str(error)
    found.plates.sort(key=lambda plate: plate.name)
    return found


def _text(value: object) -> str:
    """Give a text that can be handed on, blanks as `ingest` reads them.

    Raises TypeError for what is none, UnicodeError for half a character.
    """
    if not isinstance(value, str):
        raise TypeError(value)
    value.encode()
    return " ".join(value.split())
