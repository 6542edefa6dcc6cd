"""Paths in the store that a task or a form wrote are resolved here: a task's pod may be somebody else's program."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath


class LeadsOutOfStore(ValueError):
    """A path that isn't one of the store."""


def in_store(store: Path, path: str) -> Path:
    """Give `store / path`, whether it exists or not.

    Raises LeadsOutOfStore for one that leads out of the store: absolute, with `..`, or behind a link.
    """
    is_plain = isinstance(path, str) and not path.startswith("/") and ".." not in PurePosixPath(path).parts
    # Of a link that leads around, nothing is resolved: who opens it says so.
    if not is_plain or "\0" in path or not Path(os.path.realpath(store / path)).is_relative_to(os.path.realpath(store)):
        raise LeadsOutOfStore(f"{path!r:.200} leads out of the store, {store}; a result must name what lies in it.")
    return store / path
