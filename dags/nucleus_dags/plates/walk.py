"""How folders of the inbox are gone through."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from nucleus_dags.plates.names import is_of_a_system


def walk(folder: Path, onerror: Callable[[OSError], None] | None = None) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Give a folder and those in it at any depth, with the names of the folders and files in each, sorted.

    As of `os.walk`, folders that are removed from the list aren't gone into. Links to folders are followed, but no
    folder comes twice: a link to a folder above would lead around for ever. What systems leave doesn't come.
    """
    seen: set[tuple[int, int]] = set()
    for root, folders, names in os.walk(folder, onerror=onerror, followlinks=True):
        status = Path(root).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not is_of_a_system(name))
        yield Path(root), folders, sorted(name for name in names if not is_of_a_system(name))
