"""What `segment_plate` does, task by task: which plate, by which model, in which parts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleus_dags.errors import FormError
from nucleus_dags.in_store import in_store
from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.planning.types import FoundModel, Params, ReadyModel
from nucleus_dags.plates.inbox import no_plates_in
from nucleus_dags.plates.names import is_key
from nucleus_dags.plates.plate_json import plates_in
from nucleus_dags.plates.stored import newest_version, plate_paths


def find_plate(name: str, inbox: Path, store: Path) -> dict[str, str]:
    """Give the `folder` of a plate in the inbox or, if it isn't there, the newest imported `plate` of the store.

    `<name>@<digest>` is this version of the store, whatever lies in the inbox. Raises FormError if there is none, and
    if plate.json of the inbox's folder of this name can't be read: it may be a newer version.
    """
    name = name.strip()
    if is_key(name) and (store / "ingest" / name).is_dir():
        return {"plate": f"ingest/{name}"}
    found = plates_in(inbox)
    found.refuse_unreadable([name])
    arrived = {plate.name: plate for plate in found.plates}
    if name in arrived:
        found.refuse_twins([arrived[name]])
        return {"folder": str(arrived[name].folder)}
    if is_key(f"{name}@{'0' * 12}") and (stored := newest_version(store, name)):
        return {"plate": stored.path}
    in_store = {path.removeprefix("ingest/").rpartition("@")[0] for path in plate_paths(store)}
    known = ", ".join(sorted({*arrived, *in_store})) or "none"
    beside = "".join(
        f"\n{sentence}" for sentence in (*found.unreadable.values(), *no_plates_in(inbox, found.folder_names))
    )
    raise FormError(
        f"There is no plate named {name}, neither in {inbox} nor in the store; there are: {known}. Choose one of "
        f"these, or put the plate's folder into the inbox.{beside}"
    )


def networks_to_store(found: Result, known: Mapping[str, Any]) -> list[Params]:
    """Hand on, of `find_model`, what puts its networks into the store; nothing of a model that lies there."""
    to_store: list[Params] = found["values"]["model"].get("to_store", [])
    return to_store


def made_by(model: FoundModel | ReadyModel) -> Params:
    """Give how a model is named in what it makes: a param of `segment` and of `assemble_plate`."""
    named = {name: model.get(name) for name in ("version", "name", "key")}
    return {name: value for name, value in named.items() if value is not None}


def parts(
    store: Path,
    plate: str,
    model: FoundModel | ReadyModel,
    fovs_per_part: int,
    nuclear_diameter_px: float | None = None,
) -> list[Params]:
    """Give the params of `segment` for each part of a plate; without a nuclear diameter, it is found in its fields."""
    return parts_of(plate, model, fovs_in_order(store, plate), fovs_per_part, nuclear_diameter_px)


def fovs_in_order(store: Path, plate: str, with_labels: bool = False) -> list[str]:
    """Give the names of a plate's fields, or of those with labels, by well and site: a part is a patch of the plate."""
    rows: list[dict[str, Any]] = json.loads((in_store(store, plate) / "report.json").read_text())["fovs"]
    wanted = [row for row in rows if not with_labels or row["labels"]]
    return [row["fov"] for row in sorted(wanted, key=lambda row: (row["well"], row["site"] or 0, row["fov"]))]


def parts_of(
    plate: str,
    model: FoundModel | ReadyModel,
    fovs: Sequence[str],
    fovs_per_part: int,
    nuclear_diameter_px: float | None = None,
) -> list[Params]:
    """Give the params of `segment` for each part of these fields."""
    params: Params = {
        "method": model["method"],
        "networks": model["networks"],
        "settings": model["settings"],
        "plate": plate,
        "made_by": made_by(model),
    }
    if nuclear_diameter_px is not None:
        params["nuclear_diameter_px"] = nuclear_diameter_px
    firsts = range(0, len(fovs), fovs_per_part)
    return [params | {"fovs": list(fovs[first : first + fovs_per_part])} for first in firsts]


def assembly_of(given: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `assemble_plate` for all parts."""
    return {**given, "model": known["parts"][0]["made_by"]}
