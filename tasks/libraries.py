"""Names and versions of the tasks' third-party libraries; requirements.txt beside this file is the one list of them."""

import importlib.metadata
import re
import sys
from functools import cache
from pathlib import Path


def of_tasks() -> list[str]:
    return _names(r"([A-Za-z][\w.-]*)")


def of_models() -> list[str]:
    """Those that a registered model needs to segment an image."""
    return _names(r"([A-Za-z][\w.-]*).*# model$")


def versions() -> dict[str, str]:
    """Versions of the libraries that a result depends on, of those that are installed."""
    found = {name: _version_of(name) for name in of_tasks()}
    python = {"python": ".".join(map(str, sys.version_info[:3]))}
    return python | {name: version for name, version in found.items() if version is not None}


@cache
def _version_of(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _names(line: str) -> list[str]:
    return re.findall(f"^{line}", Path(__file__).with_name("requirements.txt").read_text(), re.MULTILINE)
