"""What the store has lost, or holds damaged: a page goes on without it, and says so."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What is raised by reading a file that is gone, isn't whole, or hasn't what it should have."""

log = logging.getLogger(__name__)
# Every request is answered in a context of its own.
_left_out: ContextVar[tuple[Path, ...]] = ContextVar("left_out", default=())


@contextmanager
def left_out_if_damaged(path: Path) -> Iterator[None]:
    """Go on without what a file or folder would have given if it is lost or damaged; the page says that it is."""
    try:
        yield
    except DAMAGED as error:
        log.warning("%s is lost or damaged, and is left out: %r", path, error)
        if path not in _left_out.get():
            _left_out.set((*_left_out.get(), path))


def left_out() -> tuple[Path, ...]:
    """Give what was left out of the answer to this request."""
    return _left_out.get()


def or_damaged(message: str) -> str:
    """Add to the message that something isn't there what couldn't be read: it may be that."""
    paths = ", ".join(str(path) for path in left_out())
    return f"{message} Or it is lost or damaged; what can't be read is {paths}." if paths else message
