"""Run a command within bounds: it writes to its own folders alone, and ends with whoever started it, also when killed.

    python bounds.py FOLDER:FOLDER COMMAND ARGUMENTS ...

Besides the folders, it may write to those for temporary files and caches, and to devices. Linux keeps it to these by
Landlock (https://docs.kernel.org/userspace-api/landlock.html), for good and for all that it starts; where the kernel
can't, a line says so. It leads a group of processes of its own. Its standard input is a pipe that nobody writes to, and
that closes when the process at its other end is gone.
"""

import functools
import operator
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import landlock
from landlock.plumbing import FSAccess, landlock_abi_version

SECONDS_TO_END_IN = 5.0
"""From asking a command to end, as a container's client must be, to killing what is left."""


CHANGES = (
    *(FSAccess.WRITE_FILE, FSAccess.MAKE_REG, FSAccess.MAKE_DIR, FSAccess.MAKE_SYM, FSAccess.MAKE_SOCK),
    *(FSAccess.MAKE_FIFO, FSAccess.REMOVE_FILE, FSAccess.REMOVE_DIR),
)
SINCE = {2: FSAccess.REFER, 3: FSAccess.TRUNCATE}
"""More of them, by the version of Landlock that knows them first."""

task_is_gone = threading.Event()


def _keep_to(folders: list[str]) -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    try:
        version = landlock_abi_version()
        changes = functools.reduce(operator.or_, (*CHANGES, *(one for since, one in SINCE.items() if since <= version)))
        rules = landlock.Ruleset(changes)
        for folder in [*folders, tempfile.gettempdir(), str(cache), "/dev"]:
            if Path(folder).is_dir():
                rules.allow(folder)
        rules.apply()
    except landlock.LandlockError as error:
        print(f"What it writes isn't kept to {', '.join(folders)} here: {error}", flush=True)


def _end_with_task() -> None:
    # Not through sys.stdin, whose lock the end of this program waits for.
    os.read(0, 1)
    task_is_gone.set()
    os.killpg(0, signal.SIGTERM)
    time.sleep(SECONDS_TO_END_IN)
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    # A handler and not SIG_IGN, which the command would inherit.
    signal.signal(signal.SIGTERM, lambda *_: None)
    folders, *command_line = sys.argv[1:]
    _keep_to([folder for folder in folders.split(os.pathsep) if folder])
    command = subprocess.Popen(command_line, stdin=subprocess.DEVNULL)
    ending = threading.Thread(target=_end_with_task, daemon=True)
    ending.start()
    status = command.wait()
    if task_is_gone.is_set():
        ending.join()  # What the command started may need more than to be asked.
    return status if status >= 0 else 128 - status  # As shells say that a signal ended it.


if __name__ == "__main__":
    sys.exit(main())
