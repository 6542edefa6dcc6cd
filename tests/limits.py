"""Limits for tests of what would wait for ever or take all memory of the machine, if it went wrong."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SECONDS = 30
MORE_BYTES = 2**32


@contextmanager
def within_limits() -> Iterator[None]:
    """Let what is done in the block fail if it waits for long or takes four gigabytes more than the process has."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"it waits for {SECONDS} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, too_long)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MORE_BYTES, hard))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))
        signal.signal(signal.SIGALRM, handler)
