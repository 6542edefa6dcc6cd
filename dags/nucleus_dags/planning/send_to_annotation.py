"""What `send_to_annotation` does, task by task: which fields, by which proposals, and where the archive is fetched."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleus_dags.errors import FormError
from nucleus_dags.files import flush, make_folder, move
from nucleus_dags.forms.send_to_annotation import LABELS, NONE
from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.manifest import manifest
from nucleus_dags.planning.methods import is_allowed, names_in
from nucleus_dags.planning.segment_plate import fovs_in_order, parts_of
from nucleus_dags.planning.types import FoundModel, Params, ReadyModel
from nucleus_dags.plates.inbox import TO_ANNOTATE
from nucleus_dags.plates.skipped import Skipped, SkippedPatch, is_patch, skip
from nucleus_dags.plates.stored import StoredPlate

SECOND_OPINION = "test_time_augmentation"
"""The setting by which a model looks at a field in another way."""
ALIASES = ("champion", "challenger")
MOVED_BY = 0.1
"""Where a model hasn't it, its first threshold is moved by so much, down and up."""
PATCH_FIELDS = {"patches": "Patches", "nuclei_per_patch": "Nuclei per patch"}
"""Titles of the fields by which patches are sent."""
FOVS_PER_PART = 100
"""Where patches are chosen, all fields are one part: patches are compared with one another."""


def target_of(plate: str, form: Mapping[str, Any]) -> str:
    """Give the name of the annotated plate."""
    if form["target"]:
        return str(form["target"]).strip()
    return plate if form["proposals"] == LABELS else f"{plate}-annotated"


def proposes_a_model(form: Mapping[str, Any]) -> bool:
    return form["proposals"] not in (LABELS, NONE)


def refuse_impossible(form: Mapping[str, Any]) -> None:
    """Raise FormError for what can't be chosen together."""
    if form["patches"] and not proposes_a_model(form):
        raise FormError(
            f"Patches: {form['patches']}, and Proposals: {form['proposals']}. Patches are chosen by what a model is "
            "unsure of; leave Patches empty, or propose what a model finds."
        )
    tools = manifest()["annotation_tools"]
    tool = tools[form["tool"]]
    asked = [name for name in ("patches", "nuclei_per_patch") if form[name]]
    if asked and not tool["by_patches"]:
        given = ", ".join(f"{PATCH_FIELDS[name]}: {form[name]}" for name in asked)
        able = ", ".join(other["title"] for other in tools.values() if other["by_patches"])
        raise FormError(
            f"{given}, and Tool: {tool['title']}. Nothing in it shows where a patch ends, or which nuclei are "
            f"corrected in another one. Leave {' and '.join(PATCH_FIELDS.values())} empty, so that whole "
            f"fields are sent, or choose a tool that shows patches: {able}."
        )


def skipped_of(plate: StoredPlate, store: Path, form: Mapping[str, Any]) -> Skipped:
    """Remember what a person skips of a plate; gives that and what was skipped before. Raises FormError."""
    fovs = fovs_in_order(store, plate.path)
    names = names_in(form["skip"])
    if not form["patches"] and (patches := [name for name in names if name not in fovs and is_patch(name)]):
        raise FormError(
            f"Skip: {', '.join(patches)} is a patch, and Patches is empty, so that whole fields are sent. Give "
            "Patches, or the names of fields to skip."
        )
    return skip(store, plate.name, names, fovs, forget=form["offer_skipped_again"])


def chosen_fovs(
    plate: StoredPlate, store: Path, amount: int | None, needs_labels: bool, skipped: Sequence[str] = ()
) -> list[str]:
    """Give the names of so many fields, evenly spread over the plate by well and site; all if no amount is given."""
    candidates = fovs_in_order(store, plate.path, with_labels=needs_labels)
    if not candidates:
        raise FormError(f"{plate.name} has no field with labels; propose what a model finds, or nothing.")
    names = [name for name in candidates if name not in skipped]
    if not names:
        raise FormError(f"All fields of {plate.name} are skipped; tick Offer skipped ones again to annotate some.")
    number = len(names) if amount is None else min(amount, len(names))
    return [names[(2 * position + 1) * len(names) // (2 * number)] for position in range(number)]


def segmentations_to_make(
    plate: str, models: Sequence[FoundModel | ReadyModel], fovs: Sequence[str], form: Mapping[str, Any]
) -> list[Params]:
    """Give the params of `segment` for proposals and, where patches are chosen, for further opinions after these.

    `models` are those of `models_to_find` that there are.
    """
    model, *before = models
    diameter_px = form["nuclear_diameter_px"]
    if not form["patches"]:
        return parts_of(plate, model, fovs, FOVS_PER_PART, diameter_px)
    others = _other_settings(model)
    if not others and not before:
        raise FormError(
            f"Patches: {form['patches']}: {model['method']} looks at a field in one way only, so that it isn't known "
            "what it is unsure of. Leave Patches empty, or propose what another model finds."
        )
    first, *of_before = (parts_of(plate, each, fovs, len(fovs), diameter_px)[0] for each in models)
    return [first, *(first | {"settings": {**model["settings"], **other}} for other in others), *of_before]


def _other_settings(model: FoundModel | ReadyModel) -> list[Params]:
    """Give what is set otherwise in each further look of a model at a field; none if it has a single way to look."""
    if SECOND_OPINION in model["settings"]:
        return [{SECOND_OPINION: not model["settings"][SECOND_OPINION]}]
    thresholds = manifest()["thresholds"].get(model["method"], {})
    if not thresholds:
        return []
    name, schema = next(iter(thresholds.items()))
    value = model["settings"].get(name, schema["default"])
    moved = [round(value - MOVED_BY, 6), round(value + MOVED_BY, 6)]
    return [{name: other} for other in moved if is_allowed(other, schema)]


def request_of(
    plate: str, fovs: Sequence[str], segmented: Sequence[Result], patches: str | None, form: Mapping[str, Any]
) -> Params:
    """Give the params of `send_to_annotation`."""
    params: Params = {
        "plate": plate,
        "tool": form["tool"],
        "target": target_of(Path(plate).name.partition("@")[0], form),
        "role": form["role"],
        "replicate": form["replicate"],
        "proposals": "segmentations" if proposes_a_model(form) else form["proposals"],
        "patches": patches,
    }
    params |= {name: form[name] for name in ("label_set", "nuclei_per_patch") if form[name]}
    if not proposes_a_model(form):
        return params | {"fovs": list(fovs)}
    proposed = segmented[:1] if patches else segmented
    found = [result["outputs"]["segmentation"] for result in proposed]
    return params | {"segmentations": found, "asked": form["proposals"]}


def models_to_find(form: Mapping[str, Any], dag_run_id: str) -> list[Params]:
    """Give the params of `find_model` for the model that proposes, if one does, and for the one that is asked too.

    Where patches are chosen, the version before it is asked, if there is one: where two versions see other nuclei, one
    of them is wrong.
    """
    if not proposes_a_model(form):
        return []
    asked = {"model": form["proposals"], "dag_run_id": dag_run_id}
    is_registered = form["proposals"] in ALIASES or form["proposals"].isdecimal()
    before = [asked | {"before": True, "may_lack": True}] if form["patches"] and is_registered else []
    return [asked, *before]


def found_model(found: Result, known: Mapping[str, Any]) -> FoundModel | ReadyModel | None:
    """Hand on what `find_model` found."""
    model: FoundModel | ReadyModel | None = found["values"]["model"]
    return model


def choices(
    plate: str,
    segmented: Sequence[Result],
    references: Sequence[str],
    skipped: Sequence[SkippedPatch],
    form: Mapping[str, Any],
) -> list[Params]:
    """Give the params of `choose_patches`; none if all patches are sent."""
    if not form["patches"]:
        return []
    return [
        {
            "plate": plate,
            "segmentations": [result["outputs"]["segmentation"] for result in segmented],
            "references": list(references),
            "skipped": list(skipped),
            "amount": form["patches"],
        }
        | ({"nuclei_per_patch": form["nuclei_per_patch"]} if form["nuclei_per_patch"] else {})
    ]


def skipped_lines(skipped: Sequence[str], patches: Sequence[SkippedPatch], all_patches: int) -> list[str]:
    """Say how much isn't offered any more."""
    parts = [f"{len(skipped)} fields" if skipped else "", f"{len(patches)} patches" if patches and all_patches else ""]
    shown = " and ".join(filter(None, parts))
    return [f"Skipped, in this run or before: {shown}. Offer skipped ones again brings them back."] if shown else []


def lay_out(file: Path, inbox: Path, name: str | None = None) -> Path:
    """Copy a file to where people fetch it, under its name or another one; gives the copy."""
    folder = inbox / TO_ANNOTATE
    make_folder(folder)
    target = folder / (name or file.name)
    beside = folder / f".{target.name}"
    shutil.copyfile(file, beside)
    flush(beside)
    move(beside, target)
    return target
