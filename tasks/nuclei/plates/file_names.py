"""Files of a folder by their names: which are images, which aren't and belong there, which are refused."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

from tasks.nuclei.plates.image_files import EXTENSIONS

LONGEST_NAME_BYTES = 200
"""Most file systems allow 255 for a file; the pipeline writes files that have more in their names than a field's."""

LEFT_BY_SYSTEMS = frozenset(
    {
        *("desktop.ini", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db"),  # Windows
        *("$recycle.bin", "recycler", "system volume information"),
        *("__macosx", "icon\r", "network trash folder", "temporary items"),  # macOS
        *("@eadir", "#recycle", "#snapshot"),  # Synology
        *("@recycle", "@recently-snapshot"),  # QNAP
        *("lost+found", "~snapshot"),  # Linux, NetApp
    }
)
"""Files and folders in lower case, beside hidden ones. The DAGs have the same list, for the inbox."""

HALF_COPIED = (".part", ".partial", ".filepart", ".crdownload", ".download", ".tmp", ".temp", ".!ut")
"""As browsers and programs for file transfers name files before they are whole. The DAGs have the same list."""

# rsync and others write .x.tif.AbC123 first; ._x.tif is macOS's, and no copy.
_HIDDEN_COPY = re.compile(r"\.(?!_).*\.(?:tiff?|png)\..+", re.IGNORECASE)

_KNOWN = {
    "thumbnails of the ImageXpress": re.compile(r".*_[sw]\d+_thumb.*", re.IGNORECASE),
    "correction images of the CV7000": re.compile(r"(?:DC_.+_CAM\d+|SC_.+_CH\d+)\.(?:tiff?|png)", re.IGNORECASE),
    "files of the microscope that describe the measurement": re.compile(
        r".*\.(?:xml|mlf|mrf|mes|wpi|wpp|htd|xdce|columbusidx)", re.IGNORECASE
    ),
}


def is_left_by_a_system(name: str) -> bool:
    """Whether an operating system, a network storage or an editor left a file or folder that nobody put there."""
    if _is_unfinished(name):
        return False
    return name.startswith((".", "~$")) or name.lower() in LEFT_BY_SYSTEMS


def known_kind(name: str) -> str | None:
    """Say what a microscope wrote beside its images, in the plural; None for anything else."""
    return next((kind for kind, pattern in _KNOWN.items() if pattern.fullmatch(name)), None)


def without_extension(name: str) -> str | None:
    """Give the name of an image without its extension, accents composed; None if it isn't one of an image.

    A Mac writes é as two characters, others as one; both are one name.
    """
    extension = next((e for e in EXTENSIONS if name.lower().endswith(e)), None)
    return None if extension is None else unicodedata.normalize("NFC", name[: -len(extension)])


def problem_of(path: Path) -> str | None:
    """Say what is wrong with a file that should be an image, as far as can be told without reading it."""
    name = printable(path.name)
    if _is_unfinished(path.name):
        return f"{name}: is a copy that isn't finished; copy it again, or remove it"
    if path.is_dir():
        return f"{name}: is a folder; put its images beside it, if they belong to the plate, and remove it"
    stem = without_extension(path.name)
    if stem is None:
        return f"{name}: is not an image; allowed are {', '.join(EXTENSIONS)}, remove it"
    if path.exists() and not path.is_file():
        return f"{name}: is not a file but a device or a pipe; remove it"
    return _problem_of_name(stem, name)


def _is_unfinished(name: str) -> bool:
    return name.lower().endswith(HALF_COPIED) or _HIDDEN_COPY.fullmatch(name) is not None


def _problem_of_name(stem: str, shown: str) -> str | None:
    try:
        length = len(stem.encode())
    except UnicodeEncodeError:
        return f"{shown}: has letters in its name that aren't UTF-8, as old Windows shares write them; rename it"
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in stem):
        return f"{shown}: has a line break, tab or other control character in its name; rename it"
    if not stem.strip():
        return f"{shown!r}: has a name of spaces only; rename it"
    if length > LONGEST_NAME_BYTES:
        return (
            f"{shown}: has a name of {length} bytes (most letters are one, é and 核 are two and three); "
            f"allowed are {LONGEST_NAME_BYTES}, rename it"
        )
    return None


def printable(name: str) -> str:
    """Give a file name as text that can be written anywhere, in one line."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return "".join(c if unicodedata.category(c) not in ("Cc", "Zl", "Zp") else f"\\x{ord(c):02x}" for c in text)
