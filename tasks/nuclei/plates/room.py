"""Room in the memory for fields that are looked at side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Room:
    """Lets threads in as long as their fields have no more than so many pixels together.

    A field that is larger has the room alone.
    """

    def __init__(self, most_pixels: int) -> None:
        self._most = self._free = most_pixels
        self._changed = threading.Condition()

    @contextmanager
    def for_pixels(self, pixels: int) -> Iterator[None]:
        needed = min(pixels, self._most)
        with self._changed:
            self._changed.wait_for(lambda: needed <= self._free)
            self._free -= needed
        try:
            yield
        finally:
            with self._changed:
                self._free += needed
                self._changed.notify_all()
