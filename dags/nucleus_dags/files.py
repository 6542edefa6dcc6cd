"""Small files of the servers and the DAGs: written whole or not at all, and read though they may be damaged.

`tasks.files` does for the tasks what this does here, and says why.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CLOCK = ".clock-"
"""How the names of files begin that are written to see a file server's clock."""

FLUSHED_AT_ONCE = 16
"""Of thousands of files: a disk writes several at once in the time of one."""

log = logging.getLogger(__name__)


def write_whole(path: Path, content: Any, mode: int = 0o666) -> None:
    """Write JSON; whatever happens, the file is the old or the new one. `mode` less the umask is its mode."""
    write_text_whole(path, json.dumps(content, indent=1), mode)


def write_text_whole(path: Path, text: str, mode: int = 0o666) -> None:
    """Do as `write_whole`, for any text."""
    make_folder(path.parent)
    beside = path.with_suffix(".partial")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    move(beside, path)


def move(source: Path, target: Path) -> None:
    """Give a file that is on the disk its name, in the place of another one; the name is on the disk at the end."""
    move_all({source: target})


def move_all(targets: Mapping[Path, Path]) -> None:
    """Do as `move` for many, each to its target."""
    for source, target in targets.items():
        source.replace(target)
    for folder in {target.parent for target in targets.values()}:
        flush(folder)


def make_folder(folder: Path) -> None:
    """Make a folder and those that it lies in, where they are missing; their names are on the disk at the end."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        flush(path.parent)


def flush_all(folder: Path) -> None:
    """Have all that is in a folder written to the disk."""
    files, folders = [], []
    for here, _, names in os.walk(folder, topdown=False):
        files += [Path(here, name) for name in names]
        folders.append(Path(here))
    with ThreadPoolExecutor(FLUSHED_AT_ONCE) as threads:
        list(threads.map(flush, files))
    for inner in folders:
        flush(inner)


def flush(path: Path) -> None:
    """Have what is in a file, or the names in a folder, written to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError:
        # Some network file systems keep the names of a folder by themselves, and refuse.
        if not path.is_dir():
            raise
    finally:
        os.close(number)


def read_if_whole(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None without one, and with a warning for one that is damaged."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning("%s is damaged, maybe since the power went, and counts as missing: %s", path, error)
        return None
    return content if isinstance(content, dict) else None


def time_at(folder: Path) -> float:
    """Give the time in seconds since 1970 by the clock that dates the files of a folder, which may be a file server's.

    Where nothing may be written, it is this machine's.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=CLOCK) as file:
            return Path(file.name).stat().st_ctime
    except OSError:
        return time.time()
