"""A DAG's form as the page shows it: built from the definition that Airflow's own form has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow.sdk import Param

from nucleus_dags.forms import typed
from nucleus_dags.forms.fields import MAIN

LONG_TEXT = 200
"""So many letters are typed into several lines."""


@dataclass(frozen=True)
class Choice:
    """What may be chosen in a field."""

    value: str
    """JSON."""
    label: str
    is_chosen: bool


@dataclass(frozen=True)
class Field:
    """A field of a form."""

    name: str
    kind: str
    """`switch`, `choice` (one of several), `choices` (any of several), `lines`, `long` or `text`."""
    title: str
    description: str
    value: str
    choices: Sequence[Choice]
    is_number: bool


@dataclass(frozen=True)
class Section:
    """Fields under one heading; only the main ones are open at first."""

    title: str
    fields: Sequence[Field]

    @property
    def is_main(self) -> bool:
        return self.title == MAIN


def form_sections(form: typed.Form, offered: Mapping[str, Sequence[str]], values: Mapping[str, Any]) -> list[Section]:
    """Give a form in sections.

    Args:
        form: Of the DAG.
        offered: By the name of a field, what there is to choose from in this installation.
        values: What is filled in already, in place of the defaults.
    """
    found: dict[str, list[Field]] = {}
    for name, param in form.items():
        value = values.get(name, param.value)
        found.setdefault(param.schema["section"], []).append(_field(name, param, offered.get(name, ()), value))
    return [Section(title, fields) for title, fields in found.items()]


def problems_by_field(form: typed.Form, given: Mapping[str, Any]) -> dict[str, list[str]]:
    """Give what is wrong in a filled form, by the names of its fields; numbers must have been read."""
    found = {
        name: [
            sentence.removeprefix(f"{param.schema.get('title', '')}: ")
            for sentence in typed.problems({name: param}, given)
        ]
        for name, param in form.items()
    }
    return {name: sentences for name, sentences in found.items() if sentences}


def _field(name: str, param: Param, offered: Iterable[str], value: Any) -> Field:
    schema = param.schema
    kind, choices = _kind_of(schema, list(offered), value)
    return Field(
        name,
        kind,
        str(schema["title"]),
        str(param.description or ""),
        _text(value),
        choices,
        bool({"integer", "number"} & set(_types(schema))),
    )


def _kind_of(schema: Mapping[str, Any], offered: list[str], value: Any) -> tuple[str, list[Choice]]:
    labels: Mapping[str, str] = schema.get("values_display", {})
    types = _types(schema)
    if "boolean" in types:
        return "switch", [Choice("true", "", value is True)]
    if "enum" in schema:
        return "choice", [_choice(one, labels, one == value) for one in schema["enum"]]
    if "array" in types:
        known = schema.get("items", {}).get("enum", offered)
        chosen = value or []
        return ("choices", [_choice(one, labels, one in chosen) for one in known]) if known else ("lines", [])
    if schema.get("maxLength", 0) > LONG_TEXT and not offered:
        return "long", []
    names = dict.fromkeys([*offered, *schema.get("examples", ())])
    return "text", [_choice(one, labels, False) for one in names]


def _choice(value: Any, labels: Mapping[str, str], is_chosen: bool) -> Choice:
    word = "null" if value is None else str(value)
    return Choice(json.dumps(value), labels.get(word, word), is_chosen)


def _types(schema: Mapping[str, Any]) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return "" if value is None else str(value)
