"""What `segment_plate` does, task by task: which plate, by which model, in which parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nucleus_dags.plan import FormError, plates_in
from nucleus_dags.plate_store import newest_plates, read_result

REGISTERED_MODEL = "nucleus-segmenter"
ROLES = ("screen", "test", "train")


def find_plate(name: str, inbox: Path, store: Path) -> dict[str, str]:
    """Give the `folder` of a plate in the inbox or, if it isn't there, the newest frozen `plate` of the store.

    `<name>@<digest>` is this version of the store, whatever lies in the inbox.
    """
    if "@" in name and (store / "ingest" / name).is_dir():
        return {"plate": f"ingest/{name}"}
    try:
        arrived = {plate.name: plate.folder for plate in plates_in(inbox)}
    except FormError as error:  # Of other plates, perhaps.
        arrived, problem = {}, f" {error}"
    else:
        problem = ""
    if name in arrived:
        return {"folder": str(arrived[name])}
    frozen = {plate.name: plate.path for role in ROLES for plate in newest_plates(store, role)}
    if name in frozen:
        return {"plate": frozen[name]}
    known = ", ".join(sorted({*arrived, *frozen})) or "none"
    raise FormError(
        f"There is no plate named {name}, neither in {inbox} nor in the store; there are: {known}.{problem}"
    )


def model_text(version: int, model: str) -> str:
    """Name, version and digest of a model, as it is written into what it makes."""
    return f"{REGISTERED_MODEL} version {version}, {Path(model).name}"


def parts(store: Path, plate: str, model: dict[str, Any], fovs_per_part: int) -> list[dict[str, Any]]:
    """Give the settings of `segment` for each part of a plate; `model` is the result of `find_model`.

    Fields follow one another by well and site, so that a part is a patch of the plate.
    """
    path = model["outputs"]["model"]
    settings = {**read_result(store, path)["params"], "plate": plate}
    settings["model"] = model_text(model["counts"]["version"], path)
    rows = json.loads((store / plate / "report.json").read_text())["fovs"]
    names = [row["fov"] for row in sorted(rows, key=lambda row: (row["well"], row["site"] or 0, row["fov"]))]
    return [settings | {"fovs": names[first : first + fovs_per_part]} for first in range(0, len(names), fovs_per_part)]
