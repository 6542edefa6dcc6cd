"""From a filled form to candidates: what each chosen method is trained and segments with.

Which fields a method has, their bounds and presets stand in the manifest.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from nucleus_dags.errors import FormError
from nucleus_dags.manifest import (
    manifest,
    method_entry,
    settings_params,
    short_title,
    tasks_of_networks,
    training_params,
)
from nucleus_dags.planning.initial_weights import INITIALISATION, as_it_came, refuse_what_does_not_fit
from nucleus_dags.planning.types import Candidate, Params

FOR_CELL_LINES = "for_cell_lines"
"""The setting with those that differ for plates of a cell line."""


def candidates_of(form: Mapping[str, Any]) -> list[Candidate]:
    """Give the candidates that a form asks for: each method, or each of its tools. Raises FormError.

    Where one begins from a model that comes with the pipeline, this model is a further candidate.
    """
    methods: Sequence[str] = form["methods"]
    refuse_fields_without_effect(form, methods)
    candidates = [candidate for method in methods for candidate in _candidates(method, form)]
    beginnings = [as_it_came(c["method"], c["trainings"], form["preset"]) for c in candidates]
    candidates += [beginning for beginning in beginnings if beginning]
    names = [candidate["name"] for candidate in candidates]
    if taken := sorted({name for name in names if names.count(name) > 1}):
        raise FormError(f"Two candidates are called {', '.join(taken)}; give the third-party tool another name.")
    return candidates


def settings_of(form: Mapping[str, Any], methods: Iterable[str]) -> dict[str, Params]:
    """Give what a person chose for the segmentation, by method."""
    return {
        method: checked(method, given_in(form, settings_params(method)), settings_params(method)) for method in methods
    }


def trainings_of(method: str, networks: str | None, preset: str, params: Params) -> list[Params]:
    """Give the params of the training of each network of a model; without `networks`, as many as the preset has."""
    entry = method_entry(method)
    chosen = entry["networks"][networks or entry["presets"][preset]["networks"]]
    return [{**params, **training} for training in chosen["trainings"]]


def augmentation_of(preset: str, given: Params) -> Params:
    """Give the params of `augment`: those of the preset, but for what is given. Raises FormError."""
    if {"zoom", "nucleus_px"} <= given.keys():
        raise FormError("Zoom and nuclear diameter seen are two ways to magnify plates; leave one of them empty.")
    of_preset = dict(manifest()["presets_of_augment"][preset])
    if "zoom" in given:
        of_preset.pop("nucleus_px", None)
    return of_preset | given


def given_in(form: Mapping[str, Any], schema: Mapping[str, Any]) -> Params:
    """Give what a person filled in, of the fields of a schema; empty ones and defaults of switches aren't."""
    return {
        name: form[name]
        for name, field in schema.items()
        if "title" in titled(field) and not _is_empty(form.get(name), field)
    }


def titled(field: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the part of a field's schema that has its title; where it may be left out, that is one of two."""
    return next((part for part in [field, *field.get("anyOf", ())] if "title" in part), {})


def refuse_fields_without_effect(form: Mapping[str, Any], methods: Sequence[str]) -> None:
    """Raise FormError for filled fields that none of the methods has."""
    fields: dict[str, Any] = {}
    for method in methods:
        fields |= training_params(method) | settings_params(method)
    useless = [name for name in _fields_of_all_methods() if name not in fields and _is_filled(form, name)]
    if form.get("networks") and not any(form["networks"] in method_entry(method)["networks"] for method in methods):
        useless.append("networks")
    if useless:
        titles = ", ".join(shown_title(name) for name in useless)
        chosen = ", ".join(map(short_title, methods))
        raise FormError(f"{titles}: the methods chosen ({chosen}) don't have this; leave it empty.")
    _refuse_other_initial_weights(form.get(INITIALISATION), methods)


def shown_title(name: str) -> str:
    """Give the title of a field as the form has it."""
    field = _fields_of_all_methods().get(name, {})
    return str(titled(field).get("title", name.capitalize()))


def takes_weights(method: str, initialisation: str | None) -> bool:
    """Whether a training of this method may begin from these weights: of a kind that it knows, or of its own task."""
    kind = (initialisation or "").partition("/")[0]
    return kind in (*method_entry(method)["initial_weights"], *tasks_of_networks(method))


def _refuse_other_initial_weights(initialisation: str | None, methods: Sequence[str]) -> None:
    if not initialisation or any(takes_weights(method, initialisation) for method in methods):
        return
    own = [
        name
        for method in methods
        for name in (*method_entry(method)["initial_weights"], f"{method_entry(method)['task']}/…")
    ]
    raise FormError(
        f"Initial weights {initialisation} are of none of the methods {', '.join(methods)}; "
        f"for these there are {', '.join(dict.fromkeys(own))}."
    )


def _candidates(method: str, form: Mapping[str, Any]) -> Iterator[Candidate]:
    """Give what a method is compared with others by: each of its tools if it has some, else the method as a whole."""
    schema, choice = training_params(method), method_entry(method)["candidates"]
    params = {
        name: value for name, value in given_in(form, schema).items() if choice is None or name != choice["param"]
    }
    if not takes_weights(method, form.get(INITIALISATION)):
        params.pop(INITIALISATION, None)
    preset = form["preset"]
    shared = {"random_seed": form["random_seed"], "preset": preset}
    params |= {name: value for name, value in shared.items() if name in schema}
    networks = form.get("networks") if form.get("networks") in method_entry(method)["networks"] else None
    checked(method, params, schema)
    if choice is None:
        trainings = trainings_of(method, networks, preset, params)
        refuse_what_does_not_fit(method, trainings, preset)
        yield {"name": method, "method": method, "trainings": trainings}
        return
    for value in _chosen_values(form.get(choice["param"]), choice):
        trainings = trainings_of(method, networks, preset, {choice["param"]: value, **params})
        yield {"name": value, "method": method, "trainings": trainings}


def _chosen_values(values: Sequence[str] | None, choice: Mapping[str, Any]) -> list[str]:
    """Give the values of a field of which each is a candidate. Raises FormError for none, and for unknown ones."""
    chosen, folder = names_in(values), os.environ.get(choice["folder_variable"])
    own = Path(folder or "") / choice["file"]
    known = [*choice["known"], *(_names_of_its_own(own) if folder else ())]
    title = shown_title(choice["param"])
    if not chosen:
        raise FormError(f"{title}: choose at least one; there are {', '.join(known)}.")
    # Without the folder, as in a cluster, only the task can tell.
    if folder is None:
        return chosen
    if unknown := [value for value in chosen if value not in known]:
        raise FormError(
            f"{title}: there is no {', '.join(unknown)}, neither in the pipeline nor in {own}; "
            f"there are {', '.join(known)}."
        )
    return chosen


def _names_of_its_own(file: Path) -> list[str]:
    """Give the keys of a laboratory's own file; none without one."""
    try:
        content = yaml.safe_load(file.read_bytes()) if file.exists() else None
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise FormError(f"{file} can't be read ({' '.join(str(error).split())}); correct it.") from None
    if not isinstance(content or {}, dict):
        raise FormError(f"{file} must have names as keys, each with what belongs to it; correct it.")
    return list(content or {})


def names_in(names: Sequence[str] | None) -> list[str]:
    """Give the names in a field of lines, without the empty ones and the blanks that typing leaves."""
    return [name.strip() for name in names or [] if name.strip()]


def checked(method: str, params: Params, schema: Mapping[str, Any]) -> Params:
    """Refuse values that the method doesn't allow, all at once; another method may."""
    problems = [
        f"{shown_title(name)}: {error.message}"
        for name, value in params.items()
        if name in schema
        for error in jsonschema.Draft202012Validator(schema[name]).iter_errors(value)
    ]
    problems += _not_less_than_half(params, schema)
    if problems:
        raise FormError(f"{short_title(method)}: {'; '.join(problems)}.")
    return params


def is_allowed(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value is within the bounds of its param."""
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


def _not_less_than_half(params: Params, schema: Mapping[str, Any]) -> Iterator[str]:
    """Name the values that must be less than half of another one, and aren't; where one isn't given, its default is."""
    values = {name: params.get(name, field.get("default")) for name, field in schema.items()}
    for name, field in schema.items():
        other = field.get("lessThanHalfOf")
        if other is not None and values[name] >= values[other] / 2:
            yield f"{shown_title(name)}: {values[name]} is not less than half of {shown_title(other)}, {values[other]}"


def _fields_of_all_methods() -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for method in manifest()["methods"]:
        for name, field in (training_params(method) | settings_params(method)).items():
            if "title" in titled(field):
                fields.setdefault(name, field)
    return fields


def _is_filled(form: Mapping[str, Any], name: str) -> bool:
    return not _is_empty(form.get(name), _fields_of_all_methods()[name])


def _is_empty(value: Any, field: Mapping[str, Any]) -> bool:
    if isinstance(value, list):
        return not names_in(value)
    return value is None or (isinstance(value, bool) and value == field.get("default"))
