"""Run a command of a third-party tool, its lines in the log. It ends with the task, also when that is killed.

A command is a list of arguments. In them, words in braces stand for folders and numbers; `tools.yaml` names them.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.methods.external.catalogue import tools_folder
from tasks.nuclei.errors import InputError

REPOSITORY = Path(__file__).parents[3]
"""Where commands are started: those that come with the pipeline name files of it."""
BOUNDS = Path(__file__).with_name("bounds.py")
LINES_SHOWN = 5
NOT_FOR_TOOLS = ("AIRFLOW", "MLFLOW", "PYTHON", "SM_FRAMEWORK", "TF_", "TF2_")
"""Beginnings of variables that are for this program alone: settings of its libraries, and ways into its servers."""

log = logging.getLogger("nucleus")


def run_command(command: Sequence[str], words: Mapping[str, object], tool: str, writes: Sequence[Path] = ()) -> None:
    """Run a command with its words in braces replaced, its lines in the log. Raises InputError if it fails.

    Of all folders, it may change those in `writes`, and those for temporary files and caches.
    """
    words = {**words, "tools": tools_folder()}
    arguments = [_replaced(argument, words, tool) for argument in command]
    log.info("%s: %s", tool, " ".join(arguments))
    last: deque[str] = deque(maxlen=LINES_SHOWN)
    env = {name: value for name, value in os.environ.items() if not name.startswith(NOT_FOR_TOOLS)}
    # Commands that are paths are relative to where they are started.
    if shutil.which(REPOSITORY / arguments[0] if os.sep in arguments[0] else arguments[0]) is None:
        raise InputError(f"{tool} can't be started: {arguments[0]} is no command; install it, or correct its command.")
    with subprocess.Popen(
        [sys.executable, "-I", BOUNDS, os.pathsep.join(map(str, writes)), *arguments],
        cwd=REPOSITORY,
        env=env,
        # Nothing is written: it closes when this process is gone.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            log.info("%s: %s", tool, line.rstrip())
            last.append(line.strip())
    if process.returncode != 0:
        raise InputError(f"{tool} ended with status {process.returncode}; its last lines: {' / '.join(last)}")


def _replaced(argument: str, words: Mapping[str, object], tool: str) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in words:
            known = ", ".join(f"{{{word}}}" for word in words)
            raise InputError(f"The command of {tool} has {found[0]}; there are {known}.")
        return str(words[found[1]])

    return re.sub(r"\{(\w+)\}", value, argument)
