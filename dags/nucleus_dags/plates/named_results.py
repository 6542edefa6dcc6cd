"""Segmented plates by name: `results/<plate>/<model>`, beside the store, leads to what `assemble_plate` put together.

Each is one relative link to a folder of the store. So it is replaced in one step, takes no room, holds when the data
folder is moved or restored elsewhere, and can't go on showing what the store has lost. Hard links to the files could
none of that; besides, there are none from one mount of a cluster's volume to another, and a backup would restore each
as a copy. Programs on Linux and macOS follow the link, also by NFS. For Windows, a share must be of the whole data
folder, since a file server follows no link that leads out of what it shares.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nucleus_dags.files import make_folder, move
from nucleus_dags.in_store import in_store
from nucleus_dags.plates.stored import StoredPlate, superseding_plate

NAMED_RESULTS = "results"
"""Folder beside the store."""


def name_result(store: Path, plate: StoredPlate, made_by: Mapping[str, Any], assembled: str) -> Path:
    """Let the name of a plate and of the model that segmented it lead to a result of the store; gives the link.

    A later segmentation by the same model takes the name, also that of a newer version of the plate. A version that
    doesn't count any more has a folder of its own, `<plate>@<digest>`. Raises OSError where no link can be made.
    """
    is_newest = superseding_plate(store, plate.path) is None
    folder = store.parent / NAMED_RESULTS / (plate.name if is_newest else Path(plate.path).name)
    make_folder(folder)
    link = folder / name_of_model(made_by)
    beside = link.with_name(f".{link.name}.{os.getpid()}")
    # The folder may be a link to another disk, and a relative link is followed from where it lies.
    beside.symlink_to(os.path.relpath(in_store(store, assembled), folder.resolve()))
    try:
        move(beside, link)
    finally:
        beside.unlink(missing_ok=True)
    return link


def name_of_model(made_by: Mapping[str, Any]) -> str:
    """Give the file name of a model as `segment` names it: v3 of a version, or what another one is chosen by."""
    if "version" in made_by:
        return f"v{made_by['version']}"
    # A colon, between method and tool, can't be in a name on Windows.
    return str(made_by["name"]).replace(":", "-")
