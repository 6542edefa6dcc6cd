"""Corrected labels that come back: a file, an archive or a folder in the inbox that names a request for annotation.

Whatever a tool calls its export, the images in it keep the names that they were sent with, and these end with the
request. Nothing is unpacked here.
"""

from __future__ import annotations

import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from nucleus_dags.plates.walk import walk

REQUEST = re.compile(r"annotation-([0-9a-f]{16})")
"""In the names of all that `send_to_annotation` writes; the group is the key of its result."""
TEXTS = (".xml", ".json", ".geojson")
"""Files that name images in their content, as CVAT's and COCO's do."""
LOOKED_THROUGH_BYTES = 2**20
"""The first image of a file stands at its beginning."""
_UNREADABLE = (
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError),
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What damaged archives, archives with a password and files of others raise."""


def request_in(entry: Path) -> str | None:
    """Give the request that an entry of the inbox is an answer to; None if it names none, or can't be read."""
    try:
        return next((found[1] for text in _texts(entry) if (found := REQUEST.search(text))), None)
    except _UNREADABLE:
        return None


def _texts(entry: Path) -> Iterator[str]:
    """Give what may name a request: names of files, then the beginnings of texts."""
    yield entry.name
    if entry.is_dir():
        yield from _in_folder(entry)
    elif not entry.is_file():  # Who opens a pipe waits for ever, and all of the inbox with them.
        return
    elif zipfile.is_zipfile(entry):
        yield from _in_zip(entry)
    elif tarfile.is_tarfile(entry):
        yield from _in_tar(entry)
    elif entry.name.lower().endswith(TEXTS):
        yield _beginning_of(entry)


def _in_folder(folder: Path) -> Iterator[str]:
    files = [here / name for here, _, names in walk(folder) for name in names]
    yield from (path.relative_to(folder).as_posix() for path in files)
    for path in files:
        if path.name.lower().endswith(TEXTS) and path.is_file():
            yield _beginning_of(path)


def _in_zip(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        yield from names
        for name in names:
            if name.lower().endswith(TEXTS):
                with archive.open(name) as file:
                    yield file.read(LOOKED_THROUGH_BYTES).decode(errors="replace")


def _in_tar(path: Path) -> Iterator[str]:
    with tarfile.open(path) as archive:
        for member in archive:
            yield member.name
            if member.isfile() and member.name.lower().endswith(TEXTS):
                file = archive.extractfile(member)
                yield file.read(LOOKED_THROUGH_BYTES).decode(errors="replace") if file else ""


def _beginning_of(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(LOOKED_THROUGH_BYTES).decode(errors="replace")
