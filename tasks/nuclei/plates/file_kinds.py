"""Files and folders by their names: which are images, which aren't and belong there, which are refused."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.image_files import EXTENSIONS, NO_FILE, read_bytes
from tasks.nuclei.plates.raster import MAX_FIELD_PIXELS

Part = Literal["images", "labels", "ignored"]

LONGEST_NAME_BYTES = 200
"""Most file systems allow 255 for a file; the pipeline writes files that have more in their names than a field's."""

MAX_FIELD_BYTES = 8 * MAX_FIELD_PIXELS + 2**24
"""The largest field that may arrive, uncompressed as labels of 64 bits, and its metadata."""

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

_SEPARATORS = re.compile(r"[\W_]+")

OF_CELLPOSE = "files that Cellpose writes beside images"

_KNOWN = {
    "thumbnails of the ImageXpress": re.compile(r".*_[sw]\d+_thumb.*", re.IGNORECASE),
    "correction images of the CV7000": re.compile(r"(?:DC_.+_CAM\d+|SC_.+_CH\d+)\.(?:tiff?|png)", re.IGNORECASE),
    OF_CELLPOSE: re.compile(r".*_seg\.npy|.*_cp_outlines\.txt", re.IGNORECASE),
    "files of the microscope that describe the measurement": re.compile(
        r".*\.(?:xml|mlf|mrf|mes|wpi|wpp|htd|xdce|columbusidx|idx|scan|nd|kin|xlog|lifext)"
        r"|(?:.*metadata|displaysettings|display_and_comments|.*_info|.*protocol|.*log|readme)\.(?:txt|json)"
        r"|(?:assay|experiment)\w*\.ini|experiment_descriptor\.(?:dat|xml)",
        re.IGNORECASE,
    ),
}

_EXPORTED = frozenset(
    {
        *(".npy", ".npz", ".mat", ".h5", ".hdf5", ".ilp", ".zarr"),  # arrays
        *(".zip", ".roi", ".json", ".geojson", ".svg"),  # outlines of ImageJ, QuPath, LabelMe
        *(
            ".czi",
            ".lif",
            ".nd2",
            ".oib",
            ".oir",
            ".vsi",
            ".ims",
            ".lsm",
            ".stk",
            ".flex",
            ".c01",
            ".dv",
        ),  # microscopes
        *(".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".jp2"),
    }
)
"""Ends of files that may show the pixels or the nuclei, and that other programs can save as TIFF."""

_FOLDERS = {
    "images": ("image", "imgs", "img", "raw", "tif", "tiff", "tiffs"),
    "labels": ("label", "masks", "mask", "annotations", "annotation", "segmentation", "segmentations", "gt"),
    "ignored": ("ignore",),
}
"""Other names of the folders, in lower case."""

_ARCHIVES = (".zip", ".ozx", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


def is_left_by_a_system(name: str) -> bool:
    """Whether an operating system, a network storage or an editor left a file or folder that nobody put there."""
    if _is_unfinished(name):
        return False
    return name.startswith((".", "~$")) or name.lower() in LEFT_BY_SYSTEMS


def known_kind(name: str) -> str | None:
    """Say what a microscope or a tool wrote beside images, in the plural; None for anything else."""
    return next((kind for kind, pattern in _KNOWN.items() if pattern.fullmatch(name)), None)


def without_extension(name: str) -> str | None:
    """Give the name of an image without its extension, accents composed; None if it isn't one of an image.

    A Mac writes é as two characters, others as one; both are one name.
    """
    extension = next((e for e in EXTENSIONS if name.lower().endswith(e)), None)
    return None if extension is None else unicodedata.normalize("NFC", name[: -len(extension)])


def extension_of(name: str) -> str:
    """Give the extension of an image's file name, in its own letters."""
    return next(name[-len(extension) :] for extension in EXTENSIONS if name.lower().endswith(extension))


def problem_of(path: Path, plate_folder: Path) -> str | None:
    """Say what is wrong with a file of a plate that should be an image, as far as can be told without reading it."""
    name = printable(path.name)
    if _is_unfinished(path.name):
        return f"{name}: is a copy that isn't finished; copy it again, or remove it"
    if path.is_dir() and path.suffix != ".zarr":
        return f"{name}: is a folder; put its images beside it, if they belong to the plate, and remove it"
    stem = without_extension(path.name)
    if stem is None:
        what_next = "export it as TIFF" if path.suffix.lower() in _EXPORTED else "remove it"
        return f"{name}: is not an image; allowed are {', '.join(EXTENSIONS)}, {what_next}"
    return _problem_of_place(path, plate_folder, name) or _problem_of_name(stem, name)


def problem_of_link(path: Path, plate_folder: Path, shown: str) -> str | None:
    """Say of a file or folder of a plate that it lies elsewhere, behind a link."""
    try:
        inside(plate_folder, path.relative_to(plate_folder).as_posix())
    except InputError:
        return f"{shown}: is a link that leads out of the plate; put the file or folder itself in its place"
    return None


def read_file(path: Path, plate_folder: Path) -> bytes:
    """Read a file of a plate that arrives: whatever is read of one is read here, but for plate.json and OME-Zarr.

    Raises InputError as `read_bytes` does, and for one that lies elsewhere, behind a link, or is far too large.
    """
    refuse_other_than_file(path, plate_folder)
    return read_bytes(path, MAX_FIELD_BYTES)


def refuse_other_than_file(path: Path, plate_folder: Path) -> None:
    """Raise InputError for what isn't a file of the plate itself, or is far too large."""
    if problem := _problem_of_place(path, plate_folder, str(path)):
        raise InputError(f"{problem}.")


def _problem_of_place(path: Path, plate_folder: Path, shown: str) -> str | None:
    """Say of a file that it lies elsewhere, behind a link, that it is none, or that it is far too large."""
    if problem := problem_of_link(path, plate_folder, shown):
        return problem
    if path.exists() and not path.is_file():
        return f"{shown}: {NO_FILE}"
    if path.exists() and path.stat().st_size > MAX_FIELD_BYTES:
        return f"{shown}: has {path.stat().st_size:,} bytes, allowed are {MAX_FIELD_BYTES:,}; cut it into fields"
    return None


def without_image(name: str, images: Iterable[str]) -> str:
    """Say what to do with a label image that no image has the name of: f1_cp_masks or mask_f1 belongs to f1."""
    parts = f" {_SEPARATORS.sub(' ', name)} ".casefold()
    belongs = [image for image in images if f" {_SEPARATORS.sub(' ', image)} ".casefold() in parts]
    if belongs:
        image = max(belongs, key=len)
        return f"has no image, and seems to belong to the image {image}; give it the same name"
    return "has no image; add its image to images/ or remove it"


def refuse_other_folder(folder: Path, part: Part) -> None:
    """Raise InputError for a plate without images/, and where a folder for one of the parts has another name."""
    if (folder / part).is_dir():
        return
    entries = {entry.name.lower(): entry for entry in sorted(folder.iterdir())}
    other = next((entries[name] for name in (part, *_FOLDERS[part]) if name in entries), None)
    if other is not None and other.is_dir():
        raise InputError(f"{folder}: has a folder {printable(other.name)}/; rename it to {part}/.")
    if part == "images":
        raise InputError(f"{folder}: {_without_images(entries.values())}")


def _without_images(entries: Iterable[Path]) -> str:
    for entry in entries:
        if entry.name.lower().endswith(".zarr"):
            return f"has {printable(entry.name)}; rename it to images.ome.zarr, if it is an OME-Zarr plate."
        if entry.name.lower().endswith(_ARCHIVES):
            return (
                f"has no folder images/, but {printable(entry.name)}; unpack it, and put the plate's images in images/."
            )
    return "has no folder images/; put the plate's images there."


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
