"""Programs of others, for the method "external": what `programs.yaml` says of them.

The folder `NUCLEUS_PROGRAMS` holds their environments, and may hold a `programs.yaml` of the laboratory's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from nucleus_dags.plan import FormError

READY = Path(__file__).with_name("programs.yaml")
COMMANDS = ("segment", "train")


def chosen_programs(names: Sequence[str], folder: Path) -> dict[str, dict[str, list[str]]]:
    """Give the commands of these programs by name; FormError if one isn't there or isn't written as it should be."""
    own = folder / READY.name
    known = {name: (program, file) for file in (READY, own) for name, program in _read(file).items()}
    if unknown := [name for name in names if name not in known]:
        raise FormError(f"{READY.name} and {own} have no program {', '.join(unknown)}; there are {', '.join(known)}.")
    return {name: _commands(name, *known[name], folder) for name in names}


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        content = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        raise FormError(f"{file} can't be read ({' '.join(str(error).split())}); mend it.") from None
    if not isinstance(content, dict):
        raise FormError(f"{file} must name programs, each with its commands; see {READY}.")
    return content


def _commands(name: str, program: Any, file: Path, folder: Path) -> dict[str, list[str]]:
    if not isinstance(program, dict) or "segment" not in program or set(program) - set(COMMANDS):
        raise FormError(f"{file}: {name} must have the command segment, and may have the command train.")
    for command in program.values():
        if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
            raise FormError(f"{file}: a command of {name} is {command!r}; give a list of texts.")
    return {which: [part.replace("{programs}", str(folder)) for part in command] for which, command in program.items()}
