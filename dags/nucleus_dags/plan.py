"""From a filled form to the settings of each task: which plates, which params."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TARGETS = {"shared": ("both",), "two": ("distance_map", "blurred_border")}
METHODS = {
    "fpn2_ws": "train_fpn",
    "mask_rcnn": "train_mask_rcnn",
    "jacobkie": "train_jacobkie",
    "external": "train_external",
}
"""Methods with the tasks that train their networks."""
OWN_WEIGHTS = {
    "fpn2_ws": ("imagenet",),
    "mask_rcnn": ("coco", "published"),
    "jacobkie": ("published", "coco"),
    "external": ("published",),
}
"""First weights that a method can take besides random ones and those of an earlier network."""
THRESHOLDS = ("marker_threshold", "foreground_threshold", "min_score", "core_depth", "mask_threshold")
"""Settings of a segmentation that are calibrated, each of one method."""


class FormError(ValueError):
    """The form asks for something that isn't there. The message says what there is."""


@dataclass(frozen=True)
class InboxPlate:
    """A folder of the inbox with a plate.json."""

    name: str
    role: str
    folder: Path


def settings_of_tasks(
    form: Mapping[str, Any],
    presets: Mapping[str, Any],
    inbox: Path,
    dag_run_id: str,
    programs: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Give the settings of every task by name, and the items of the mapped ones.

    `programs` are the commands, by name, of those that are chosen for the method "external".
    """
    plates = plates_in(inbox)
    train = choose_plates(plates, names_in(form["train_plates"]), "train", inbox)
    test = choose_plates(plates, names_in(form["test_plates"]), "test", inbox)
    _refuse_first_weights_of_other_methods(form)
    if ("external" in form["methods"]) != bool(programs):
        raise FormError('Programs are of the method "external": choose both, or none of them.')
    if taken := sorted(set(programs) & set(METHODS)):
        raise FormError(f"A program is called {', '.join(taken)}, as a method is; give it another name.")
    seed = {"random_seed": form["random_seed"]}
    preset = presets[form["preset"]]
    augment = preset["augment"] | _filled(form, "rois", "augmentation", "zoom")
    return {
        "open_run": {"experiment": form["experiment"], "dag_run_id": dag_run_id, "run_name": run_name(dag_run_id)},
        "train_plates": [{"folder": str(plate.folder), "role": "train"} for plate in train],
        "test_plates": [{"folder": str(plate.folder), "role": "test"} for plate in test],
        "augment": augment | seed,
        "candidates": [
            candidate
            for method in form["methods"]
            for candidate in _candidates(method, form["networks"] or preset["networks"], form, programs)
        ],
        "calibrate": _filled(form, "test_time_augmentation"),
        "segmentation": _filled(form, *THRESHOLDS, "test_time_augmentation"),
        "score": seed,
    }


def _candidates(
    method: str, networks: str, form: Mapping[str, Any], programs: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Give what a method is compared with others by: each program, else the method as a whole."""
    settings = _training_settings(form, method) | {"random_seed": form["random_seed"]}
    if method != "external":
        return [{"name": method, "trainings": trainings_of_method(method, networks, settings)}]
    return [
        {"name": name, "trainings": trainings_of_method(method, networks, {"program": name, **commands, **settings})}
        for name, commands in programs.items()
    ]


def trainings_of_method(method: str, networks: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the trainings of a candidate; only FPN2-WS has a choice of `networks`."""
    training = {"task": METHODS[method], **settings}
    if method != "fpn2_ws":
        return [training]
    return [training | {"target": target} for target in TARGETS[networks]]


def _training_settings(form: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Give what a person chose for the training, as far as it is of this method."""
    settings = {} if method == "external" else _filled(form, "preset", "cycles")
    if method == "fpn2_ws":
        settings |= _filled(form, "encoder")
    if _is_of(method, form["initialisation"]):
        settings["initialisation"] = form["initialisation"]
    return settings


def _is_of(method: str, first_weights: str | None) -> bool:
    kind = (first_weights or "").partition("/")[0]
    return kind in ("random", *OWN_WEIGHTS[method], METHODS[method])


def _refuse_first_weights_of_other_methods(form: Mapping[str, Any]) -> None:
    first_weights, methods = form["initialisation"], form["methods"]
    if first_weights and not any(_is_of(method, first_weights) for method in methods):
        own = [name for method in methods for name in (*OWN_WEIGHTS[method], f"{METHODS[method]}/…")]
        allowed = list(dict.fromkeys(["random", *own]))
        raise FormError(
            f"First weights {first_weights} are of none of the methods {', '.join(methods)}; "
            f"for these there are {', '.join(allowed)}."
        )


def segmentation_settings(chosen: Mapping[str, Any], calibrated: Mapping[str, float]) -> dict[str, Any]:
    """Give what a person chose in the form and, where a threshold's field is empty, the calibrated one."""
    return {name: calibrated[name] for name in THRESHOLDS if name in calibrated} | dict(chosen)


def refuse_unknown_fields(given: Iterable[str], known: Iterable[str]) -> None:
    """Airflow passes on fields that the form doesn't have, for example a misspelt one."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise FormError(f"The form has no field {', '.join(unknown)}; it has {', '.join(known)}.")


def plates_in(inbox: Path) -> list[InboxPlate]:
    """Give the plates of the inbox by name."""
    plates = [_read_plate(path) for path in sorted(inbox.glob("*/plate.json"))]
    names = [plate.name for plate in plates]
    for plate in plates:
        if names.count(plate.name) > 1:
            folders = ", ".join(other.folder.name for other in plates if other.name == plate.name)
            raise FormError(
                f"{inbox}: the folders {folders} hold plates of one name, {plate.name}; rename all but one."
            )
    return sorted(plates, key=lambda plate: plate.name)


def choose_plates(plates: list[InboxPlate], names: list[str], role: str, inbox: Path) -> list[InboxPlate]:
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


def names_in(names: list[str] | None) -> list[str]:
    """Give the names in a field of lines, without the empty ones and the blanks that typing leaves."""
    return [name.strip() for name in names or [] if name.strip()]


def run_name(dag_run_id: str) -> str:
    """Date and time to the second from `manual__2026-11-23T04:18:05.123456+00:00`, or the whole id."""
    begun = re.search(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)", dag_run_id)
    return " ".join(begun.groups()) if begun else dag_run_id


def _read_plate(path: Path) -> InboxPlate:
    try:
        info = json.loads(path.read_text())
        return InboxPlate(info["name"], info["role"], path.parent)
    except (OSError, ValueError) as error:
        raise FormError(f"{path} can't be read ({error}); mend it.") from error
    except (KeyError, TypeError) as error:
        raise FormError(f"{path} must be a JSON object with name and role; mend it.") from error


def _filled(form: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Without the empty ones, for which the preset, the calibration or the task's default holds."""
    return {name: form[name] for name in names if form[name] is not None}
