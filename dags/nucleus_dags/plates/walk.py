"""How folders of the inbox are gone through."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from nucleus_dags.plates.names import is_of_a_system


def walk(folder: Path, onerror: Callable[[OSError], None] | None = None) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Give a folder and those in it at any depth, with the names of the folders and files in each, sorted.

    As of `os.walk`, folders that are removed from the list aren't gone into. Links to folders within are followed, but
    no folder comes twice: a link to a folder above would lead around for ever. A link that leads out comes as a file:
    it may lead to all of the machine. What systems leave doesn't come.
    """
    top = os.path.realpath(folder)
    seen: set[tuple[int, int]] = set()
    for root, folders, names in os.walk(folder, onerror=onerror, followlinks=True):
        status = Path(root).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        away = [name for name in folders if leads_out(Path(root, name), top)]
        folders[:] = sorted(name for name in folders if not is_of_a_system(name) and name not in away)
        yield Path(root), folders, sorted(name for name in [*names, *away] if not is_of_a_system(name))


def leads_out(path: Path, folder: str | Path) -> bool:
    """Whether what lies in a folder is a link that leads out of it."""
    return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
