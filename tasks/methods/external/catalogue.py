"""Which third-party tools there are: those of `tools.yaml` here, and of a laboratory's own in `NUCLEUS_TOOLS`.

The folder `NUCLEUS_TOOLS` holds their environments, and may hold a `tools.yaml`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tasks.nuclei.errors import InputError

FILE = "tools.yaml"
FOLDER_VARIABLE = "NUCLEUS_TOOLS"
HERE = Path(__file__).parent
READY = ("stardist", "cellpose")
"""Names in the file here."""
COMMANDS = ("segment", "train")


@dataclass(frozen=True)
class Tool:
    """A tool with its commands, lists of arguments; `tools.yaml` says what stands in them."""

    name: str
    segment: tuple[str, ...]
    train: tuple[str, ...] | None = None
    """None for a tool that isn't trained here."""


def tools_folder() -> Path:
    """Give the folder with the environments of the tools."""
    return Path(os.environ.get(FOLDER_VARIABLE, "tools")).resolve()


def tool_named(name: str) -> Tool:
    """Give a tool; InputError if there is none of this name or it isn't written as it should be."""
    own = tools_folder() / FILE
    files = (HERE / FILE, own)
    known = {tool: (commands, file) for file in files for tool, commands in _read(file).items()}
    if name not in known:
        raise InputError(
            f"There is no third-party tool {name} in {FILE} of the pipeline or in {own}; there are "
            f"{', '.join(known)}. Add its commands to the second, and install it."
        )
    return _tool(name, *known[name])


class _NothingTwice(yaml.SafeLoader):
    """Refuses a key that stands twice, of which PyYAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.YAMLError(f"{twice[0]} stands there twice")
        return super().construct_mapping(node, deep)


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        content = yaml.load(file.read_bytes(), _NothingTwice) or {}
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file} can't be read ({reason}); correct it, and save it as UTF-8.") from None
    if not isinstance(content, dict):
        raise InputError(f"{file} must name tools, each with its commands; see {HERE / FILE}.")
    return {str(name): commands for name, commands in content.items()}


def _tool(name: str, commands: Any, file: Path) -> Tool:
    if not isinstance(commands, dict) or "segment" not in commands or set(commands) - set(COMMANDS):
        raise InputError(f"{file}: {name} must have the command segment, and may have the command train.")
    for command in commands.values():
        if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
            raise InputError(f"{file}: a command of {name} is {command!r}; give a list of texts.")
    return Tool(name, **{which: tuple(command) for which, command in commands.items()})
