"""What a codec of an annotation tool is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from tasks.annotation.sheet import Kind, Sheet, refuse_twice

Images = Mapping[str, NDArray[Any]]
"""The image, (y, x) uint8 or uint16, of the whole field by the name of the sheet; sheets of a field share one array."""


class Classes(NamedTuple):
    """How people tell kinds of nuclei apart in a tool."""

    what: str
    """What has the names, for people: plural, with a capital."""
    names: Mapping[Kind, str]


def _nothing_lacks(folder: Path) -> None:
    """Take a file for whole: most tools keep all that was sent in one."""


@dataclass(frozen=True)
class Tool:
    """How sheets become the files of a tool, and how these are read."""

    name: str
    """In params and file names."""
    title: str
    """For people."""
    by_patches: bool
    """Whether the tool can show a patch and nuclei that are corrected elsewhere. Others get whole fields."""
    classes: Classes | None
    """None if the tool has none, so that all are nuclei."""
    write: Callable[[Sequence[Sheet], Images, Path], None]
    """Writes sheets and their images into an empty folder. Raises InputError for what the tool can't hold."""
    read_files: Callable[[Path], list[Sheet]]
    done_tag: str | None = None
    """Tag that a person gives an image that was looked at; None if the tool has none."""
    refuse_incomplete: Callable[[Path], None] = _nothing_lacks
    """Raises InputError if a part of what was sent lacks in a folder that came back, so that it would be understood in
    another way than it was meant."""

    def read(self, folder: Path) -> list[Sheet]:
        """Read the sheets of a folder that came back. Once one of them has `done_tag`, those without it don't count.

        Raises InputError with the file, what came, and what to do; also for an image that is in two files, such as
        what was sent beside what the tool exported, since it isn't known which of them counts.
        """
        sheets = self.read_files(folder)
        counting = [sheet for sheet in sheets if sheet.is_done] or sheets
        refuse_twice(counting, folder)
        return counting
