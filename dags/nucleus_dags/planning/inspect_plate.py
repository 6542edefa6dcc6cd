"""What `inspect_plate` does: which folder is looked at, with which values of plate.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nucleus_dags.planning.types import Params
from nucleus_dags.plates import uploads


def inspection_of(form: Mapping[str, Any], inbox: Path) -> Params:
    """Give the params of the task for a filled form. Raises FormError for a folder that is no upload."""
    return {"folder": str(uploads.folder_at(inbox, form["folder"])), "values": form["values"]}
