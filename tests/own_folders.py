"""What a task changes in the store, watched in all tests: its pod may change nothing but what is the task's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nucleus_dags.launchers.mounts import written_by

CHANGES = {
    *("os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink"),
    *("os.truncate", "os.utime"),
}
"""Audit events of Python whose first argument, the second one, or both of them are paths that change."""
FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_watched: list[tuple[Path, list[Path], list[str]]] = []
"""Of each task that runs: the store, what it may write to, and what else it changed."""


@contextmanager
def changes_of_others(task: str, params: dict[str, Any], store: Path) -> Iterator[list[str]]:
    """Give what a task, in this process, changes of the store that isn't its own."""
    store, others = store.absolute(), list[str]()
    entry = (store, written_by(task, params, store), others)
    _watched.append(entry)
    try:
        yield others
    finally:
        _watched.remove(entry)


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched or not (event in CHANGES or (event == "open" and _opens_for_writing(arguments))):
        return
    if event not in ("open", "os.truncate") and arguments[-1] != -1:
        return  # Relative to a folder that is open, as shutil.rmtree does below the one that it was noted for.
    # What gets a second name stays as it is; in a pod, whose folders are mounts of their own, it is copied instead.
    changing = {"os.rename": arguments[:2], "os.link": arguments[1:2], "os.symlink": arguments[1:2]}
    for path in changing.get(event, arguments[:1]):
        if isinstance(path, (str, Path)) and not _is_made_already(event, path):
            changed = Path(path).absolute()
            for store, own, others in _watched:
                if changed.is_relative_to(store) and not any(changed.is_relative_to(folder) for folder in own):
                    others.append(f"{event} {changed}")


def _is_made_already(event: str, path: str | Path) -> bool:
    # MLflow's client does so with the folder of a database, and nothing changes.
    return event == "os.mkdir" and Path(path).is_dir()


def _opens_for_writing(arguments: tuple[Any, ...]) -> bool:
    _, _, flags = arguments
    return isinstance(flags, int) and bool(flags & FOR_WRITING)


sys.addaudithook(_note)
