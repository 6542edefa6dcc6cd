"""What a person doesn't want to be offered for annotation again: a file for each plate under `skipped/` of the store.

It holds names of fields, and of patches as the queue shows them: `<field>_y<top>-<bottom>_x<left>-<right>`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

from nucleus_dags.errors import FormError
from nucleus_dags.files import read_if_whole, write_whole

PATCH = re.compile(r"(?P<fov>.+)_y(?P<y0>\d+)-(?P<y1>\d+)_x(?P<x0>\d+)-(?P<x1>\d+)")
IN_A_TOOL = re.compile(r"\d{3,}_(?P<fov>.+)_annotation-[0-9a-f]{16}(?P<patch>_y\d+-\d+_x\d+-\d+)?")
"""How the same is named in an annotation tool."""


class SkippedPatch(TypedDict):
    """A part of a field, in px; `y1` and `x1` are the first row and column after it."""

    fov: str
    y0: int
    x0: int
    y1: int
    x1: int


class Skipped(NamedTuple):
    """What isn't offered of a plate."""

    fields: list[str]
    patches: list[SkippedPatch]


def skip(store: Path, plate: str, names: Iterable[str], fovs: Collection[str], forget: bool = False) -> Skipped:
    """Remember what is to be skipped of a plate besides what was, or in its place; gives all of it.

    Raises FormError for a name that is neither a field of `fovs` nor a patch of one.
    """
    given = [_as_in_queue(name) for name in names]
    if unknown := [name for name in given if not _is_of(name, fovs)]:
        raise FormError(
            f"Skip: {', '.join(unknown)} is no field of {plate} and no patch of one. Allowed are names of its fields, "
            f"such as {next(iter(fovs), '')}, and of patches as the queue shows them, such as "
            f"{next(iter(fovs), '')}_y0-500_x0-500."
        )
    before = [] if forget else skipped_names(store, plate)
    all_names = list(dict.fromkeys([*before, *given]))
    if all_names != skipped_names(store, plate):
        write_whole(_path(store, plate), {"skipped": all_names})
    # A version of the plate may have lost a field.
    return _of([name for name in all_names if _is_of(name, fovs)], fovs)


def is_patch(name: str) -> bool:
    return PATCH.fullmatch(_as_in_queue(name)) is not None


def skipped_names(store: Path, plate: str) -> list[str]:
    """Give the names of fields and patches that aren't offered of a plate, as the queue shows them."""
    names: list[str] = (read_if_whole(_path(store, plate)) or {}).get("skipped", [])
    return names


def _path(store: Path, plate: str) -> Path:
    return store / "skipped" / f"{plate}.json"


def _as_in_queue(name: str) -> str:
    found = IN_A_TOOL.fullmatch(name)
    return f"{found['fov']}{found['patch'] or ''}" if found else name


def _is_of(name: str, fovs: Collection[str]) -> bool:
    found = PATCH.fullmatch(name)
    if name in fovs or found is None:
        return name in fovs
    return found["fov"] in fovs and int(found["y0"]) < int(found["y1"]) and int(found["x0"]) < int(found["x1"])


def _of(names: Sequence[str], fovs: Collection[str]) -> Skipped:
    patches = [found for name in names if name not in fovs and (found := PATCH.fullmatch(name))]
    return Skipped(
        [name for name in names if name in fovs],
        [
            {"fov": one["fov"], "y0": int(one["y0"]), "x0": int(one["x0"]), "y1": int(one["y1"]), "x1": int(one["x1"])}
            for one in patches
        ],
    )
