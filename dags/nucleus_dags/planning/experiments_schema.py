"""What a file of experiments may hold: its shape, and of what `tabulate` shows, what that takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

from nucleus_dags.manifest import Schema, task_entry

TEXT: Schema = {"type": ["string", "null"]}
LIST: Schema = {"type": ["array", "null"]}
NAMES: Schema = {**LIST, "items": {"type": "string"}}
TYPES = {
    **{"string": "text", "number": "a number", "integer": "a whole number", "null": "nothing", "array": "a list"},
    "object": "keys with values",
}


def _keyed(each: Schema | None = None, **of_keys: Schema) -> Schema:
    """Give the schema of keys with values: of all keys, or of some."""
    return {
        **{"type": ["object", "null"], "propertyNames": {"type": "string"}},
        **{"properties": of_keys, "additionalProperties": each or True},
    }


_OF_TASKS = dict.fromkeys(("augment", "train", "settings", "calibrate"), _keyed())
_OF_PLATES = dict.fromkeys(("plates", "cell_lines"), NAMES)
_OF_WORD = _keyed(
    **dict.fromkeys(("method", "networks", "preset"), TEXT),
    **{"of_method": _keyed(_keyed(**_OF_TASKS)), **_OF_PLATES, **_OF_TASKS},
)
# Words that aren't text have a sentence of their own.
_WORDS: Schema = {"type": "object", "additionalProperties": _OF_WORD}
_TABLE = _keyed(title=TEXT, rows=LIST, by=NAMES, at=LIST, figures=_keyed()) | {"type": "object"}
SHAPE = _keyed(
    **{"title": TEXT, "all": _OF_WORD, "test": _keyed(**_OF_PLATES), "prices": _keyed(), "experiments": LIST},
    columns=_keyed(_keyed(axis=TEXT, in_names=TEXT, words=_WORDS)),
    without_weights=_keyed({"type": "string"}),
    tables=_keyed(_TABLE),
    findings={**LIST, "items": _keyed(cell_lines=NAMES) | {"type": "object"}},
    published_plates=NAMES,
    random_seed={"type": "integer"},
)
"""What is a list, keys with values, text or a number; which keys and words there are is asked when this holds."""


def problems_of_shape(content: Mapping[str, Any]) -> Iterator[str]:
    """Say of each part of a file that has another shape what came, and what is allowed."""
    yield from _problems(content, SHAPE)


def problems_of_tables(params: Mapping[str, Any]) -> Iterator[str]:
    """Say of params of `tabulate`, as far as a matrix gives them, what that would refuse after all trainings."""
    schema = task_entry("tabulate")["params"]
    of_lists = {"tables": "TableSpec", "findings": "Finding"}
    for name in ("title", "columns", "published", "prices"):
        yield from _problems(params[name], schema["properties"][name] | {"$defs": schema["$defs"]}, name)
    for name, kind in of_lists.items():
        for number, part in enumerate(params[name], start=1):
            where = part.get("name", f"no. {number}")
            yield from _problems(part, schema["$defs"][kind], name, str(where))


def _problems(content: Any, schema: Schema, *where: str) -> Iterator[str]:
    for error in jsonschema.Draft202012Validator(schema).iter_errors(content):
        path = ": ".join([*where, *map(str, error.absolute_path)])
        yield f"{path} is {error.instance!r:.80}; allowed is {_in_words(error.schema)}"


def _in_words(schema: Mapping[str, Any]) -> str:
    """Say what a schema allows."""
    if "anyOf" in schema:
        return " or ".join(_in_words(part) for part in schema["anyOf"])
    if known := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return ", ".join(map(str, known))
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    words = " or ".join(TYPES[kind] for kind in kinds if kind != "null" or len(kinds) == 1)
    if "minimum" in schema:
        return f"{words} of at least {schema['minimum']}"
    if "maxLength" in schema:
        return f"{words} of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
    return f"{words} that isn't empty" if "minLength" in schema else words
