"""Paths that somebody else wrote, in params, tags, plate.json or OME-Zarr, are resolved here and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from tasks.nuclei.errors import InputError


def inside(folder: Path, path: str) -> Path:
    """Give `folder / path`, whether it exists or not.

    Raises InputError for one that leads out of the folder: absolute, with `..`, or behind a link. The folder itself may
    be a link, and links within it may lead to another place within it.
    """
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise InputError(f"{folder}: the path {path!r:.200} leads out of it; allowed are paths within, without '..'.")
    # Of a link that leads around, nothing is resolved: who opens it says so.
    resolved, root = (Path(os.path.realpath(place)) for place in (folder / path, folder))
    if not resolved.is_relative_to(root):
        raise InputError(
            f"{folder}: the path {path!r:.200} leads out of it by a link, to {resolved}; "
            "put the file or folder itself in the place of the link."
        )
    return folder / path
