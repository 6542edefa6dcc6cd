"""A plate's files, paired: images with their label images."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tasks.nuclei.errors import InputError, raise_if_any
from tasks.nuclei.plates.field_names import CV7000_NAME
from tasks.nuclei.plates.image_files import EXTENSIONS, read_bytes
from tasks.nuclei.plates.info import PlateInfo, read_plate_info

FROZEN_REPORT = "report.json"
"""`ingest` writes it into its copy of a plate: what it found, and the files of every field."""


@dataclass(frozen=True)
class Fov:
    """One field of view: an image, and its label image if there is one."""

    name: str
    """File name without the extension."""
    image_path: Path
    labels_path: Path | None
    well: str
    """Such as B07, or empty where the file name gives none."""
    site: int | None
    channel: int | None
    z: int | None


@dataclass(frozen=True)
class Plate:
    """The files of a plate, paired; nothing but plate.json has been read."""

    info: PlateInfo
    folder: Path
    fovs: tuple[Fov, ...]
    """Sorted by name; at least one."""
    read: Callable[[Path], bytes] = field(default=lambda path: read_bytes(path), compare=False)
    """Gives the content of a file of a fov."""


def open_plate(folder: Path) -> Plate:
    """Open a plate. An imported one lists all files that it was imported with, so that reading a lost one fails.

    For a plate that isn't imported, raises InputError as `pair_files` does.
    """
    report = folder / FROZEN_REPORT
    if not report.exists():
        return pair_files(folder)
    rows = json.loads(read_bytes(report))["fovs"]
    fovs = [_fov(row["fov"], folder / row["image"], folder / row["labels"] if row["labels"] else None) for row in rows]
    return Plate(read_plate_info(folder), folder, tuple(fovs))


def pair_files(folder: Path) -> Plate:
    """Read plate.json and pair the files of images/ and labels/ by name.

    Raises InputError that names what is wrong: plate.json is missing or wrong, there is no image, a label
    image has no image, two files have one name, or a file is of another kind. Images without labels are allowed.
    """
    info = read_plate_info(folder)
    if not (folder / "images").is_dir():
        raise InputError(f"{folder}: has no folder images/; put the plate's images there.")
    images, problems = _files_by_name(folder / "images")
    labels, label_problems = _files_by_name(folder / "labels")
    problems += label_problems
    problems += [
        f"labels/{path.name}: has no image; add its image to images/ or remove it"
        for name, path in labels.items()
        if name not in images
    ]
    if not images and not problems:
        problems = [f"images/: holds no image; allowed are {', '.join(EXTENSIONS)}"]
    raise_if_any(problems, folder)
    return Plate(info, folder, tuple(_fov(name, images[name], labels.get(name)) for name in sorted(images)))


def _files_by_name(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Give the image files of a folder by their names without extension, and the problems found."""
    files: dict[str, Path] = {}
    problems = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith(".") or path.name.lower() == "thumbs.db":
            continue
        extension = next((e for e in EXTENSIONS if path.name.lower().endswith(e)), None)
        if extension is None:
            problems.append(
                f"{folder.name}/{path.name}: is not an image; allowed are {', '.join(EXTENSIONS)}, remove it"
            )
            continue
        name = path.name[: -len(extension)]
        if name in files:
            problems.append(
                f"{folder.name}/{path.name}: has the same name as {files[name].name}; remove or rename one of them"
            )
        files.setdefault(name, path)
    return files, problems


def _fov(name: str, image_path: Path, labels_path: Path | None) -> Fov:
    match = CV7000_NAME.search(name)
    if match is None:
        return Fov(name, image_path, labels_path, well="", site=None, channel=None, z=None)
    return Fov(
        name,
        image_path,
        labels_path,
        well=match["well"],
        site=int(match["site"]),
        channel=int(match["channel"]),
        z=int(match["z"]),
    )
