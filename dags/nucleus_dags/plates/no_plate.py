"""Why an entry of the inbox isn't a plate, in the words of those who put it there, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from nucleus_dags.plates.names import is_ignored, problem_of, shown
from nucleus_dags.plates.plate_json import PLATE_JSON
from nucleus_dags.plates.walk import walk

IMAGES_OME_ZARR = "images.ome.zarr"
FOLDERS_OF_A_PLATE = ("images", "labels", "masks")
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst")
IMAGES = (
    *(".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp", ".gif"),
    *(".nd2", ".czi", ".lif", ".oif", ".oib", ".vsi", ".dv", ".ims", ".stk", ".c01", ".flex", ".mrf", ".h5", ".zvi"),
)
"""Of microscopes too, although a plate may only hold some of them: `ingest` says which."""
SHORTCUTS = (".lnk", ".url", ".webloc", ".desktop", ".symlink")
HALF_COPIED = (".part", ".partial", ".filepart", ".crdownload", ".download", ".tmp", ".temp", ".!ut")
"""As browsers and programs for file transfers name files before they are whole. `ingest` has the same list."""
MARKS_OF_ZARR = (".zgroup", ".zattrs", "zarr.json")
MOST_NAMED = 3


@dataclass(frozen=True)
class Content:
    """What a folder holds at any depth, but for what is hidden or left by systems."""

    folder: Path
    files: tuple[PurePath, ...]
    """Relative to the folder, sorted."""
    zarrs: tuple[PurePath, ...]
    """Folders `*.zarr`; what is in them isn't looked at."""


def is_a_plates_file(path: Path) -> bool:
    """Whether a folder's plate.json is there, as a file. Raises PermissionError where that can't be seen."""
    return (path / PLATE_JSON).is_file()


def why_no_plate(entry: Path) -> str:
    """Say why an entry of the inbox isn't a plate and what to do; for one without a file plate.json.

    The sentence goes on after the name of the entry. Raises OSError if a folder of it may not be read.
    """
    if problem := problem_of(entry.name):
        return problem
    if not entry.exists():
        return "is a link that leads nowhere; correct the link, or copy the plate itself here"
    if not entry.is_dir():
        return _of_file(entry)
    if _is_zarr(entry):
        return (
            f"is an OME-Zarr by itself; make a folder for the plate, move it into that as {IMAGES_OME_ZARR}, and put "
            f"{PLATE_JSON} beside it"
        )
    content = read_content(entry)
    reasons: tuple[Callable[[Content], str | None], ...] = (
        *(_wrong_plate_json, _misnamed_plate_json, _misplaced_plate_json, _of_plates_deeper),
        *(_of_zarr, _of_images, _of_archive),
    )
    return next((found for reason in reasons if (found := reason(content))), _of_nothing(content))


def plates_deeper(content: Content) -> list[str]:
    """Give the folders within a folder that hold a plate.json, or what may be meant as one."""
    deeper = [path.parent for path in content.files if len(path.parts) > 1 and _is_like_plate_json(path.name)]
    return [path.as_posix() for path in dict.fromkeys(deeper) if path.name not in FOLDERS_OF_A_PLATE]


def read_content(folder: Path) -> Content:
    """Look through a folder. Raises OSError if a folder of it may not be read."""
    files: list[PurePath] = []
    zarrs: list[PurePath] = []
    for path, folders, names in walk(folder, onerror=_raise):
        here = path.relative_to(folder)
        zarrs += [here / name for name in folders if name.lower().endswith(".zarr")]
        folders[:] = [name for name in folders if not is_ignored(name) and not name.lower().endswith(".zarr")]
        files += [here / name for name in names if not is_ignored(name)]
    return Content(folder, tuple(sorted(files)), tuple(sorted(zarrs)))


def in_sentences(reasons: Iterable[tuple[str, str]]) -> list[str]:
    """Give a sentence for every reason, from names and reasons: many images by themselves have one."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons:
        names.setdefault(reason, []).append(name)
    return [
        f"{listed(alike)} isn't a plate: it {reason}."
        if len(alike) == 1
        else f"{listed(alike)} aren't plates: each {reason}."
        for reason, alike in names.items()
    ]


def listed(names: list[str]) -> str:
    """Give the first of many names, as they are shown in a note, and how many there are besides."""
    more = len(names) - MOST_NAMED
    text = ", ".join(f"`{shown(name)}`" for name in names[:MOST_NAMED])
    return f"{text} and {more} more" if more > 0 else text


def _of_file(entry: Path) -> str:
    if entry.name.lower().endswith(SHORTCUTS):
        return "is a shortcut; copy the plate's folder itself here"
    if entry.name.lower().endswith(HALF_COPIED):
        return "is a copy that wasn't finished; copy it anew, and remove this one"
    if _is_like_plate_json(entry.name):
        return (
            f"lies in the inbox itself; a plate is a folder: put it into one as {PLATE_JSON}, together with images/ "
            "and labels/"
        )
    if entry.name.lower().endswith(ARCHIVES):
        return f"is an archive; unpack it, so that the inbox has a folder with {PLATE_JSON} and images/"
    if entry.name.lower().endswith(IMAGES):
        return f"is an image by itself; put the plate's images into images/ of a folder that has a {PLATE_JSON}"
    return f"is a file; a plate is a folder with {PLATE_JSON} and images/. Remove it if it doesn't belong here"


def _is_like_plate_json(name: str) -> bool:
    """Whether a file is plate.json, or may be meant as it: Plate.json, plate.json.txt, plate (1).json, plate.jsn."""
    words = name.casefold()
    if words.endswith((*SHORTCUTS, *HALF_COPIED, *ARCHIVES)):
        return False
    has_its_words = "plate" in words and "json" in words
    return has_its_words or difflib.SequenceMatcher(None, words, PLATE_JSON).ratio() >= 0.85


def _wrong_plate_json(content: Content) -> str | None:
    path = content.folder / PLATE_JSON
    if path.is_dir():
        return f"has a folder {PLATE_JSON}, where a file is needed; move the file out of it, and remove the folder"
    if path.is_symlink() and not path.exists():
        return f"has a {PLATE_JSON} that is a link that leads nowhere; put the file itself there"
    if path.exists():
        return f"has a {PLATE_JSON} that isn't a file that can be read; put the file itself there"
    return None


def _misnamed_plate_json(content: Content) -> str | None:
    here = [str(path) for path in content.files if len(path.parts) == 1]
    name = next((name for name in here if _is_like_plate_json(name) or name.casefold() in ("plate", "plate.txt")), None)
    if name is None:
        return None
    letters = "".join(character for character in name.casefold() if character.isalpha())
    if letters.startswith("platejson"):
        return f"has no {PLATE_JSON}; rename {shown(name)} to {PLATE_JSON}"
    return f"has no {PLATE_JSON}; if {shown(name)} is meant as it, rename that to {PLATE_JSON}"


def _misplaced_plate_json(content: Content) -> str | None:
    inside = [path for path in content.files if len(path.parts) == 2 and path.parts[0] in FOLDERS_OF_A_PLATE]
    misplaced = next((path for path in inside if _is_like_plate_json(path.name)), None)
    if misplaced is None:
        return None
    return f"has {shown(str(misplaced))} in the wrong folder; move it up, beside {misplaced.parts[0]}/, as {PLATE_JSON}"


def _of_plates_deeper(content: Content) -> str | None:
    deeper = plates_deeper(content)
    if not deeper:
        return None
    if len(deeper) > 1:
        return (
            f"holds {len(deeper)} plates in folders of it ({listed(deeper)}); move each of them into the inbox itself"
        )
    if PurePath(deeper[0]).name == content.folder.name:
        return (
            f"has its plate one folder too deep, in {shown(deeper[0])}/; move what is in there up, beside that folder"
        )
    return f"holds a plate in its folder {shown(deeper[0])}/; move that folder into the inbox itself"


def _of_zarr(content: Content) -> str | None:
    if not content.zarrs:
        return None
    first = content.zarrs[0]
    rename = "" if str(first) == IMAGES_OME_ZARR else f"move it there as {IMAGES_OME_ZARR}, and "
    return f"has images, {shown(str(first))}, and no {PLATE_JSON}; {rename}put {PLATE_JSON} beside it"


def _of_images(content: Content) -> str | None:
    images = [path for path in content.files if path.name.lower().endswith(IMAGES)]
    if not images:
        return None
    if all(path.parts[0] in FOLDERS_OF_A_PLATE for path in images):
        return f"has images and no {PLATE_JSON}; put one beside images/"
    if all(len(path.parts) == 1 for path in images):
        return f"has images, such as {shown(str(images[0]))}, and no {PLATE_JSON}; put one beside them"
    return f"has images, such as {shown(str(images[0]))}, and no {PLATE_JSON}; put the images into images/ and add one"


def _of_archive(content: Content) -> str | None:
    archive = next((path for path in content.files if path.name.lower().endswith(ARCHIVES)), None)
    if archive is None:
        return None
    return f"has an archive, {shown(str(archive))}, and no {PLATE_JSON}; unpack it, with {PLATE_JSON} beside images/"


def _of_nothing(content: Content) -> str:
    pointing = next((path for path in content.files if _is_no_copy(content.folder / path)), None)
    if pointing is not None:
        return f"has {shown(str(pointing))} and no {PLATE_JSON}; copy the files themselves, {PLATE_JSON} and images/"
    has = f"has neither {PLATE_JSON} nor images" if content.files else "is an empty folder"
    return f"{has}; put the plate's {PLATE_JSON} and images/ there, or remove it"


def _is_no_copy(path: Path) -> bool:
    """Whether a file only points to a folder, or is half of a copy."""
    return path.name.lower().endswith((*SHORTCUTS, *HALF_COPIED)) or (path.is_symlink() and path.is_dir())


def _is_zarr(folder: Path) -> bool:
    return folder.name.lower().endswith(".zarr") or any((folder / name).exists() for name in MARKS_OF_ZARR)


def _raise(error: OSError) -> None:
    raise error
