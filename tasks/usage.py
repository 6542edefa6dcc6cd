"""What a process used of its machine, child processes included."""

from __future__ import annotations

import resource
import sys

WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def cpu_seconds() -> float:
    """Give the CPU seconds of all cores since the start of the process; children count when they have ended."""
    usages = [resource.getrusage(who) for who in WHO]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def since(cpu_seconds_before: float) -> dict[str, float]:
    """Give `cpu_seconds` since then, and `peak_memory_bytes`: the most that the process, or a child, ever held."""
    return {"cpu_seconds": round(cpu_seconds() - cpu_seconds_before, 3), "peak_memory_bytes": _peak_memory_bytes()}


def _peak_memory_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * max(resource.getrusage(who).ru_maxrss for who in WHO)
