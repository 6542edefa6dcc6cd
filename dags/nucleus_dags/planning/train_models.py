"""What `train_models` does: from the filled form to the plates and the params of each task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nucleus_dags.errors import FormError
from nucleus_dags.manifest import manifest
from nucleus_dags.planning.methods import augmentation_of, candidates_of, given_in, names_in, settings_of
from nucleus_dags.planning.remarks import remarks_on
from nucleus_dags.planning.retire_plate import not_used
from nucleus_dags.planning.runs import training_to_open
from nucleus_dags.planning.types import Params, PlateToImport, TrainModelsPlan
from nucleus_dags.plates.inbox import no_plates_in
from nucleus_dags.plates.no_plate import listed
from nucleus_dags.plates.plate_json import PlateFolder, PlatesOfFolder, plates_in
from nucleus_dags.plates.retired import RetirementChange, retired_plates
from nucleus_dags.plates.stored import newest_plates, newest_version, read_plate


def plan(form: Mapping[str, Any], inbox: Path, store: Path, dag_run_id: str) -> TrainModelsPlan:
    """Give the params of every task. Raises FormError, before anything runs."""
    plates, retired = plates_in(inbox), retired_plates(store)
    names = {role: names_in(form[f"{role}_plates"]) for role in ("train", "test")}
    _refuse_retired([*names["train"], *names["test"]], retired)
    in_use = replace(plates, plates=[plate for plate in plates.plates if plate.name not in retired])
    left_out = [
        *not_used({name: change for name, change in retired.items() if name in {one.name for one in plates.plates}}),
        *(f"Left out of the inbox: {one}" for one in plates.unreadable.values()),
        *(f"Left out of the inbox: {one}" for one in no_plates_in(inbox, plates.folder_names)),
        *(sentence for role in names if not names[role] for sentence in _only_stored(plates, role, store)),
    ]
    train, test = (
        choose_plates(in_use, names[role], role, left_out, _in_store(names[role], role, store))
        for role in ("train", "test")
    )
    candidates = candidates_of(form)
    runs = [candidate["name"] for candidate in candidates]
    seed = {"random_seed": form["random_seed"]}
    return {
        "train_plates": [_to_import(plate) for plate in train],
        "test_plates": [_to_import(plate) for plate in test],
        "open_run": training_to_open(
            form["experiment"], dag_run_id, form["methods"], train, children=runs if len(runs) > 1 else ()
        ),
        "augment": _augmentation(form) | seed,
        "candidates": candidates,
        "settings": settings_of(form, form["methods"]),
        # Who names all plates misses none.
        "left_out": [] if all(names.values()) else left_out,
    }


def _augmentation(form: Mapping[str, Any]) -> Params:
    """Give the params of `augment`: those of the preset, but for what a person filled in. Raises FormError."""
    schema = manifest()["tasks"]["augment"]["params"]["properties"]
    given = given_in(form, schema)
    return augmentation_of(form["preset"], given)


def remarks(store: Path, left_out: Iterable[str], train: Iterable[str], test: Iterable[str]) -> list[str]:
    """Give lines of Markdown on what a person should know of the plates before a training; none if all is well.

    `left_out` says what isn't used; `train` and `test` are paths of imported plates.
    """
    unused = [f"- {sentence}" for sentence in left_out]
    return [*unused, *remarks_on(read_plate(store, path) for path in (*train, *test))]


def refuse_unknown_fields(given: Iterable[str], known: Iterable[str]) -> None:
    """Airflow passes on fields that the form doesn't have, for example a misspelt one."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise FormError(f"The form has no field {', '.join(unknown)}; it has {', '.join(known)}.")


def _refuse_retired(names: Iterable[str], retired: Mapping[str, RetirementChange]) -> None:
    chosen = not_used({name: retired[name] for name in names if name in retired})
    if chosen:
        raise FormError("\n".join([*chosen, "Choose other plates, or bring it back on its page under Plates."]))


def _in_store(names: list[str], role: str, store: Path) -> list[PlateFolder]:
    """Give the imported plates of these names, each in its newest version, such as those that came from annotation."""
    newest = [plate for name in names if (plate := newest_version(store, name)) and plate.role == role]
    return [PlateFolder(plate.name, role, plate.cell_line, store / plate.path) for plate in newest]


def _only_stored(plates: PlatesOfFolder, role: str, store: Path) -> list[str]:
    """Say which imported plates of a role, such as those that came from annotation, an empty form doesn't take."""
    in_inbox = {plate.name for plate in plates.plates}
    others = [plate.name for plate in newest_plates(store, role) if plate.name not in in_inbox]
    if not others:
        return []
    return [
        f"Imported {role} plates that aren't in the inbox are left out: {listed(others)}. To use them, name in the "
        f"form all {role} plates that are to be used."
    ]


def choose_plates(
    found: PlatesOfFolder, names: list[str], role: str, left_out: Iterable[str], stored: Sequence[PlateFolder] = ()
) -> list[PlateFolder]:
    """Give the plates of these names, or without names all of this role in the inbox; at least one.

    `left_out` says what else there is; where a plate is missed, it may be among that. A plate that isn't in the
    inbox, whatever its role there, is taken of those that are `stored`.
    """
    of_role = [plate for plate in found.plates if plate.role == role]
    known = ", ".join(f"{plate.name} ({plate.role})" for plate in found.plates) or "no plate"
    beside = "".join(f"\n{sentence}" for sentence in left_out)
    found.refuse_unreadable(names)
    if not names and not of_role:
        raise FormError(
            f"No {role} plate: {found.folder} has {known}. Put a plate there whose plate.json has role {role}.{beside}"
        )
    in_inbox = {plate.name for plate in found.plates}
    by_name = {plate.name: plate for plate in (*(one for one in stored if one.name not in in_inbox), *of_role)}
    wrong = [name for name in names if name not in by_name]
    if wrong:
        named = f"No {role} plate named {', '.join(wrong)}"
        where = f"{found.folder} has {known}, and the store no other {role} plate of this name"
        raise FormError(f"{named}: {where}. Choose of these.{beside}")
    chosen = [by_name[name] for name in names] if names else of_role
    found.refuse_twins(chosen)
    return chosen


def _to_import(plate: PlateFolder) -> PlateToImport:
    return {"folder": str(plate.folder), "role": plate.role}
