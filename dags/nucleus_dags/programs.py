"""Programs of others, for the method "external": what `programs.yaml` says of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from nucleus_dags.plan import FormError

FILE = Path(__file__).with_name("programs.yaml")
COMMANDS = ("segment", "train")


def chosen_programs(names: Sequence[str], file: Path = FILE) -> dict[str, dict[str, list[str]]]:
    """Give the commands of these programs by name; FormError if one isn't there or isn't written as it should be."""
    known = yaml.safe_load(file.read_text()) or {}
    if unknown := [name for name in names if name not in known]:
        raise FormError(f"{file.name} has no program {', '.join(unknown)}; it has {', '.join(known)}.")
    return {name: _commands(name, known[name], file) for name in names}


def _commands(name: str, program: Any, file: Path) -> dict[str, list[str]]:
    if not isinstance(program, dict) or "segment" not in program or set(program) - set(COMMANDS):
        raise FormError(f"{file.name}: {name} must have the command segment, and may have the command train.")
    for command in program.values():
        if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
            raise FormError(f"{file.name}: a command of {name} is {command!r}; give a list of texts.")
    # Tasks are told everything; where the programs are is of this installation.
    folder = os.environ.get("NUCLEUS_PROGRAMS", "programs")
    return {which: [part.replace("{programs}", folder) for part in command] for which, command in program.items()}
