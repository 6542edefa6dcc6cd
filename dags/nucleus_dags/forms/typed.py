"""What a person typed into a form: numbers are read here, and what is wrong is said in words, all of it at once.

Airflow's page reads a field of numbers itself, and drops or changes what it can't read: a 1,5 becomes 15. So forms ask
for numbers as text, which is sent as it was typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any

import jsonschema
from airflow.sdk import Param

NUMBERS = {
    "integer": (re.compile(r"[+-]?\d+"), int, "a whole number"),
    "number": (re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE), float, "a number"),
}
"""By type: how it is written, what reads it, and what it is called."""
TOO_LITTLE = {"minimum": "at least", "exclusiveMinimum": "more than"}
TOO_MUCH = {"maximum": "at most", "exclusiveMaximum": "less than"}

Form = dict[str, Param]


def form(make: Callable[[], Form]) -> Callable[[], Form]:
    """Let a form ask for its numbers as text. Text that isn't read as a number before is refused by Airflow."""

    @wraps(make)
    def made() -> Form:
        fields = make()
        for param in fields.values():
            if _number_of(param):
                # The page takes the first type that isn't null for that of the field.
                param.schema = param.schema | {"type": ["string", *_types(param)], "not": {"type": "string"}}
        return fields

    return made


def with_numbers(fields: Mapping[str, Param], given: Mapping[str, Any]) -> dict[str, Any]:
    """Read the numbers among what was typed; what is no number stays text. An empty field is none."""
    return {name: _read(fields[name], value) if name in fields else value for name, value in given.items()}


def problems(fields: Mapping[str, Param], given: Mapping[str, Any]) -> list[str]:
    """Give a sentence for every wrong value, with the title of its field; numbers must have been read."""
    values = {name: given.get(name, param.value) for name, param in fields.items()}
    return [sentence for name, param in fields.items() for sentence in _problems_of(param, values[name])]


def _types(param: Param) -> list[str]:
    types = param.schema.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _number_of(param: Param) -> str | None:
    """Give the kind of number that a field asks for; None for another field, and for a choice."""
    return None if "enum" in param.schema else next((kind for kind in NUMBERS if kind in _types(param)), None)


def _read(param: Param, value: Any) -> Any:
    kind = _number_of(param)
    if kind is None or not isinstance(value, str):
        return value
    pattern, read, _ = NUMBERS[kind]
    text = value.strip()
    if not text and "null" in _types(param):
        return None
    return read(text) if pattern.fullmatch(text) else value


def _problems_of(param: Param, value: Any) -> Iterator[str]:
    title, kind = param.schema.get("title", ""), _number_of(param)
    if isinstance(value, str) and kind:
        yield f"{title}: {_no_number(kind, value)}."
        return
    if value in (None, "") and "null" not in _types(param):
        yield f"{title}: fill it in."
        return
    for error in jsonschema.Draft202012Validator(param.schema).iter_errors(value):
        yield f"{title}: {_in_words(error)}."


def _no_number(kind: str, text: str) -> str:
    pattern, _, name = NUMBERS[kind]
    if not text.strip():
        return "fill it in"
    with_point = text.strip().replace(",", ".")
    if "," in text and pattern.fullmatch(with_point):
        return f"{text!r} isn't {name}; write {with_point}"
    return f"{text!r} isn't {name}"


def _in_words(error: Any) -> str:
    """Say what is wrong with a value, what came and what is allowed."""
    shown, rule, allowed = f"{error.instance!r}", error.validator, error.validator_value
    if rule in TOO_LITTLE | TOO_MUCH:
        size = "small" if rule in TOO_LITTLE else "large"
        return f"{shown} is too {size}; {(TOO_LITTLE | TOO_MUCH)[rule]} {allowed} is allowed"
    if rule == "enum":
        return f"{shown} isn't known; choose of {', '.join(str(choice) for choice in allowed if choice is not None)}"
    if rule == "multipleOf":
        return f"{shown} isn't a multiple of {allowed}"
    if rule == "minLength":
        return f"write at least {allowed} letters"
    if rule == "maxLength":
        return f"{len(error.instance)} letters are too many; at most {allowed} are allowed"
    if rule == "minItems":
        return "choose at least one"
    if rule == "uniqueItems":
        return "something is named twice; name it once"
    return f"{shown} isn't allowed; the text below the field says what is"
