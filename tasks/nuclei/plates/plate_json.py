"""plate.json as people write it: what is unambiguous is read, and what isn't is refused in words."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from pathlib import Path
from typing import Any

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.image_files import read_bytes

TEXTS = ("name", "cell_line", "objective", "label_set")
WORDS = ("role", "replicate", "annotation")
"""Texts of which only a few are allowed, in small letters."""
CHOSEN_NUMBERS = ("binning", "wells")
NUMBERS = ("pixel_size_um", "channel", "z", "time", "acquisition", *CHOSEN_NUMBERS)

MOST_BYTES = 2**20
"""A plate.json has some hundred bytes."""

_JSON = (
    "Texts stand in straight double quotes, numbers have a decimal point, a comma stands between entries and not after "
    "the last one, and comments aren't allowed; correct the file."
)
_IN_WORDS = {
    "Expecting property name": "a key in straight double quotes is expected here",
    "Expecting value": "a value is expected here",
    "Expecting ','": "a comma or a closing bracket is missing here",
    "Expecting ':'": "a colon is missing between key and value",
    "Extra data": "something stands behind the closing bracket",
    "Unterminated string": "the text that begins here has no closing quote",
    "Invalid control character": "a text holds a line break or a tab",
    "Invalid \\": "a text holds a single backslash; write two of them, or a slash",
}
"""What the decoder says, by its beginning."""


def read_json(path: Path) -> Any:
    """Read JSON in UTF-8, or in UTF-16 or UTF-32 as Windows writes them; a key that stands twice is refused."""
    data = read_bytes(path, MOST_BYTES)
    try:
        return json.loads(data, object_pairs_hook=_without_repetition)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: isn't text in UTF-8; save it again with this encoding.") from None
    except json.JSONDecodeError as error:
        reason = next((words for said, words in _IN_WORDS.items() if error.msg.startswith(said)), error.msg)
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{path}: isn't JSON: {place}: {reason}. {_JSON}") from None
    except ValueError:
        raise InputError(f"{path}: isn't JSON: a number has thousands of digits. {_JSON}") from None
    except RecursionError:
        raise InputError(f"{path}: has brackets in brackets without an end; correct the file.") from None


def tidied(key: str, value: Any) -> Any:
    """Give a value of plate.json in the form of `PlateInfo`; ValueError says what of it isn't unambiguous."""
    if isinstance(value, bool) and key in NUMBERS:
        raise ValueError("allowed is a number, not true or false")
    if key == "objective" and type(value) in (int, float) and math.isfinite(value):
        return f"{value:g}X"
    if not isinstance(value, str):
        return value
    _refuse_invisible(value)
    if key in TEXTS + WORDS:
        value = " ".join(value.split())
    if key in WORDS:
        return value.lower()
    if key in CHOSEN_NUMBERS and value.strip().isdecimal():
        return int(value)
    if key == "pixel_size_um" and re.fullmatch(r"\s*\d*,\d+\s*", value):
        raise ValueError(f"a number has a decimal point: {value.strip().replace(',', '.')}")
    return value


def _refuse_invisible(text: str) -> None:
    """Refuse blanks of other kinds, characters without width and those that control something; a tab is a blank."""
    for place, character in enumerate(text):
        if unicodedata.category(character)[0] in "CZ" and character not in " \t\r\n":
            name = unicodedata.name(character, "control character").lower()
            where = f"behind {text[:place]!r}" if place else "at its beginning"
            raise ValueError(f"has a {name} (U+{ord(character):04X}) {where}, which can't be seen; type it again")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key.strip(" \t\r\n") for key, _ in pairs]
    for key in keys:
        try:
            _refuse_invisible(key)
        except ValueError as error:
            raise InputError(f"the key {key!r} {error}.") from None
    content = {key: value for key, (_, value) in zip(keys, pairs, strict=True)}
    if len(content) < len(pairs):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"{twice} stands there more than once; keep one of them.")
    return content
