"""Names of the third-party libraries of the tasks, from the one list of them: requirements.txt beside this file."""

import re
from pathlib import Path


def of_tasks() -> list[str]:
    return _names(r"([A-Za-z][\w.-]*)")


def of_models() -> list[str]:
    """Those that a registered model needs to segment an image."""
    return _names(r"([A-Za-z][\w.-]*).*# model$")


def _names(line: str) -> list[str]:
    return re.findall(f"^{line}", Path(__file__).with_name("requirements.txt").read_text(), re.MULTILINE)
