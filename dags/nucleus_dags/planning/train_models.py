"""What `train_models` does: from the filled form to the plates and the params of each task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nucleus_dags.errors import FormError
from nucleus_dags.manifest import manifest
from nucleus_dags.planning.methods import candidates_of, given_in, names_in, settings_of
from nucleus_dags.planning.runs import run_to_open
from nucleus_dags.planning.types import PlateToImport, TrainModelsPlan
from nucleus_dags.plates.plate_json import PlateFolder, plates_in


def plan(form: Mapping[str, Any], inbox: Path, dag_run_id: str) -> TrainModelsPlan:
    """Give the params of every task. Raises FormError, before anything runs."""
    plates = plates_in(inbox)
    train = choose_plates(plates, names_in(form["train_plates"]), "train", inbox)
    test = choose_plates(plates, names_in(form["test_plates"]), "test", inbox)
    candidates = candidates_of(form)
    names = [candidate["name"] for candidate in candidates]
    seed = {"random_seed": form["random_seed"]}
    augment_schema = manifest()["tasks"]["augment"]["params"]["properties"]
    return {
        "train_plates": [_to_import(plate) for plate in train],
        "test_plates": [_to_import(plate) for plate in test],
        "open_run": run_to_open(form["experiment"], dag_run_id, children=names if len(names) > 1 else ()),
        "augment": manifest()["presets_of_augment"][form["preset"]] | given_in(form, augment_schema) | seed,
        "candidates": candidates,
        "settings": settings_of(form, form["methods"]),
        "score": seed,
    }


def refuse_unknown_fields(given: Iterable[str], known: Iterable[str]) -> None:
    """Airflow passes on fields that the form doesn't have, for example a misspelt one."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise FormError(f"The form has no field {', '.join(unknown)}; it has {', '.join(known)}.")


def choose_plates(plates: list[PlateFolder], names: list[str], role: str, inbox: Path) -> list[PlateFolder]:
    """Give the plates of these names, or without names all of this role; at least one."""
    of_role = [plate for plate in plates if plate.role == role]
    known = ", ".join(f"{plate.name} ({plate.role})" for plate in plates) or "no plate"
    if not names and not of_role:
        raise FormError(f"No {role} plate: {inbox} has {known}. Put a plate there whose plate.json has role {role}.")
    if not names:
        return of_role
    by_name = {plate.name: plate for plate in of_role}
    wrong = [name for name in names if name not in by_name]
    if wrong:
        raise FormError(f"No {role} plate named {', '.join(wrong)}: {inbox} has {known}.")
    return [by_name[name] for name in names]


def _to_import(plate: PlateFolder) -> PlateToImport:
    return {"folder": str(plate.folder), "role": plate.role}
