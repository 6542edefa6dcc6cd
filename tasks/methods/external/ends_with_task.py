"""Run a command, and end it with all that it started when whoever started this program is gone, also when killed.

    python ends_with_task.py COMMAND ARGUMENTS ...

It leads a group of processes of its own. Its standard input is a pipe that nobody writes to, and that closes when
the process at its other end is gone.
"""

import os
import signal
import subprocess
import sys
import threading
import time

SECONDS_TO_END_IN = 5.0
"""From asking a command to end, as a container's client must be, to killing what is left."""


task_is_gone = threading.Event()


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
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    ending = threading.Thread(target=_end_with_task, daemon=True)
    ending.start()
    status = command.wait()
    if task_is_gone.is_set():
        ending.join()  # What the command started may need more than to be asked.
    return status if status >= 0 else 128 - status  # As shells say that a signal ended it.


if __name__ == "__main__":
    sys.exit(main())
