"""The files that come back from a tool, which somebody else wrote: found, read within bounds, faults named."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.file_kinds import MAX_FIELD_BYTES, is_left_by_a_system
from tasks.nuclei.plates.image_files import decode_numbered, read_bytes
from tasks.nuclei.plates.label_numbers import NumberedLabels
from tasks.nuclei.plates.png_files import SIGNATURE, size_of_png
from tasks.nuclei.plates.tiff_files import size_of_tiff

MOST_BYTES = 2**29
"""Of one file with outlines or masks; those of a field with 10,000 nuclei have 10 MB."""

IMAGE_ENDINGS = (".ome.tiff", ".ome.tif", ".tiff", ".tif", ".png", ".bmp", ".jpeg", ".jpg")


def stem_of(file_name: str, ending: str = "") -> str:
    """Give the name of a sheet from that of a file: without `ending`, and without that of an image before it.

    Accents are composed: a Mac writes é as two characters, others as one.
    """
    name = file_name[: len(file_name) - len(ending)]
    image = next((end for end in IMAGE_ENDINGS if name.lower().endswith(end) and len(name) > len(end)), "")
    return unicodedata.normalize("NFC", name[: len(name) - len(image)])


def files_ending(folder: Path, ending: str) -> list[Path]:
    """Find the files below a folder whose names end so, in order, without those that systems leave behind."""
    found = [path for path in folder.rglob("*") if path.name.lower().endswith(ending)]
    return sorted(
        path
        for path in found
        if path.is_file() and not any(is_left_by_a_system(part) for part in path.relative_to(folder).parts)
    )


def some_ending(folder: Path, ending: str, title: str) -> list[Path]:
    """Do as `files_ending`; raises InputError if there are none."""
    found = files_ending(folder, ending)
    if not found:
        there = sorted(path.name for path in folder.iterdir())[:10]
        raise InputError(
            f"{folder}: has no file *{ending} of {title}; there are {', '.join(there) or 'no files at all'}. "
            "Export it again as README.md in tasks/annotation says, or say which tool it comes from."
        )
    return found


def read_json(path: Path) -> Any:
    """Read a JSON file; InputError for one that is damaged, cut short or too large."""
    content = read_bytes(path, MOST_BYTES)
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is damaged or cut short ({error}); export it again.") from None


def read_labels(path: Path) -> NumberedLabels:
    """Read a label image; InputError as of one of a plate, for more bytes or pixels than a field may have too."""
    return decode_numbered(read_bytes(path, MAX_FIELD_BYTES), path)


@contextmanager
def faults_named(path: Path, title: str) -> Iterator[None]:
    """Name the file in which something is missing or differs from what the tool writes."""
    try:
        yield
    except InputError as error:
        message = str(error)
        raise InputError(message if message.startswith(str(path)) else f"{path}: {message}") from None
    # The storage's, such as one that doesn't answer, are none of the file.
    except OSError:
        raise
    # What files of somebody else hold where a number, a list or a name should be makes decoders raise a dozen types.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"{path}: isn't what {title} writes ({reason:.200}); export it again, and don't change it by hand."
        ) from None


def size_beside(path: Path, name: str) -> tuple[int, int] | None:
    """Give height and width of the image of a sheet if it lies in the folder of the file or in `images` there."""
    for folder in (path.parent, path.parent / "images", path.parent.parent / "images"):
        for ending in IMAGE_ENDINGS:
            image = folder / f"{name}{ending}"
            if image.is_file() and (size := _size_of(read_bytes(image, MOST_BYTES))) is not None:
                return size
    return None


def _size_of(content: bytes) -> tuple[int, int] | None:
    try:
        return size_of_png(content) if content.startswith(SIGNATURE) else size_of_tiff(content)
    # The image isn't what is read here; without it, the size isn't known.
    except Exception:
        return None
