"""Files of the store as one zip, made while it is sent: neither memory nor disk holds more than one file of it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo


def zipped(files: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    """Give the parts of a zip of files under their names there. They aren't compressed: images are already."""
    sent = _Window()
    with ZipFile(sent, "w", ZIP_STORED) as archive:
        for name, path in files:
            archive.writestr(ZipInfo.from_file(path, name), path.read_bytes())
            yield sent.taken()
    yield sent.taken()


def files_below(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Give all files of a folder, those that are hidden too, with their names below another one."""
    for place, folders, files in os.walk(folder):
        folders.sort()
        for path in (Path(place, file) for file in sorted(files)):
            yield f"{name}/{path.relative_to(folder).as_posix()}", path


class _Window(io.BytesIO):
    """A file of which the beginning is taken away, and that still counts it.

    A zip can so be sent as if it were written to a disk: some programs don't open those that are made for a pipe.
    """

    def __init__(self) -> None:
        super().__init__()
        self._gone = 0

    def tell(self) -> int:
        return self._gone + super().tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._gone + super().seek(offset - self._gone if whence == io.SEEK_SET else offset, whence)

    def taken(self) -> bytes:
        content = self.getvalue()
        self._gone += len(content)
        super().seek(0)
        self.truncate()
        return content
