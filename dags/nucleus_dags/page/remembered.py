"""Files of the store are read once: they don't change any more when they have their name."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import TypeVar

from nucleus_dags.page.damaged import reading

T = TypeVar("T")

MOST = 20_000
"""Answers of one function; each is a small part of its file."""


def remembered(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """Let a function of a file answer from memory while the file is the same; raises as `reading`.

    What was raised isn't remembered: a file that was lost may come back.
    """

    @lru_cache(maxsize=MOST)
    def known(path: Path, state: tuple[int, int, int]) -> T:
        with reading(path):
            return read(path)

    @wraps(read)
    def answer(path: Path) -> T:
        status = path.stat()
        return known(path, (status.st_ino, status.st_mtime_ns, status.st_size))

    return answer
