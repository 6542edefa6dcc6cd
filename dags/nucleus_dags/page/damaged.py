"""What the store has lost, or holds damaged: a page goes on without it, and says so."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path


class DamagedFile(ValueError):
    """A file that isn't whole, or hasn't what it should have; the message names it."""


DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What is raised by reading a file that is gone, isn't whole, or hasn't what it should have."""

log = logging.getLogger(__name__)
# Every request is answered in a context of its own.
_left_out: ContextVar[tuple[Path, ...]] = ContextVar("left_out", default=())


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Let a file be read. Raises OSError for one that is gone, DamagedFile for whatever else its reader raises.

    Readers of tables and images have a dozen types of errors for damaged files, from csv.Error to StopIteration.
    """
    try:
        yield
    except (OSError, DamagedFile):
        raise
    except Exception as error:
        raise DamagedFile(f"{path} is damaged ({type(error).__name__}: {error})") from error


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
