"""How many cores this process may use, asked in this one place, and worker processes that end with their parent.

Servers, which don't import tasks, ask `python -m tasks.cores`.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from multiprocessing import parent_process
from pathlib import Path

CORES = "NUCLEUS_CORES"
"""The launcher of pods sets it: a pod's limit of memory is made for so many cores, its node may have many more."""


def cores(root: Path = Path("/")) -> int:
    """Give the cores that this process may use, one at least.

    These are the least of the cores that it may run on, the quota of its control groups (version 1 or 2), and
    `NUCLEUS_CORES`. `root` is the folder that `proc` and `sys` lie in.
    """
    given = os.environ.get(CORES)
    bounds = [_schedulable(), *_quotas(root), *([float(given)] if given else [])]
    return max(1, math.ceil(min(bounds)))


def _schedulable() -> int:
    # Only Linux tells a process on which cores it may run.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Give the cores that this process's control groups, and those above them, may use; none without a quota.

    A container sees its own group at the top, a process outside of one sees it at the path in /proc.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        group = top / path.lstrip("/")
        for folder in (group, *(above for above in group.parents if above.is_relative_to(top)), top):
            yield from _quota_of(folder)


def _quota_of(folder: Path) -> Iterator[float]:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
    except (OSError, ValueError):
        return
    # Without a bound, version 2 says "max" and version 1 says -1.
    if quota not in ("max", "-1"):
        yield int(quota) / int(period)


def end_with_parent() -> None:
    """In a worker process, end when the process that started it does, also when that is killed."""
    parent = parent_process()
    if parent is not None:

        def end() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=end, name="ends with its parent", daemon=True).start()


if __name__ == "__main__":
    print(cores())
