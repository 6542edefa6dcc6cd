"""Files of an annotated plate that are of no field's own: further label images, and tables on how it was annotated.

They are part of the plate and of its digest, and are checked and copied with it. A screening plate has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.nuclei.plates import chosen_patches, origins
from tasks.nuclei.plates.file_kinds import read_file
from tasks.nuclei.plates.files import Plate
from tasks.nuclei.plates.image_files import decode_numbered
from tasks.nuclei.plates.label_sets import LABEL_SETS, problems_of_sizes


def hashes_of(plate: Plate) -> dict[str, str]:
    """Give the SHA-256 of each file by its path in the plate."""
    return {_name(path, plate): hashlib.sha256(read_file(path, plate.folder)).hexdigest() for path in _paths(plate)}


def copied(plate: Plate, output_dir: Path) -> dict[str, str]:
    """Copy the files, read-only; gives the SHA-256 of what was copied by its path in the plate."""
    hashes = {}
    for path in _paths(plate):
        content, copy = read_file(path, plate.folder), output_dir / _name(path, plate)
        hashes[_name(path, plate)] = hashlib.sha256(content).hexdigest()
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
        copy.chmod(0o444)
    return hashes


def problems_of(plate: Plate, sizes: Mapping[str, tuple[int, int]]) -> list[str]:
    """Say what is wrong with these files, from the sizes in px of the images by field."""
    of_sets = problems_of_sizes(plate.label_sets, sizes, plate.folder)
    problems = list(of_sets)
    if _has(chosen_patches.CHOSEN_PATCHES, plate):
        problems += chosen_patches.problems_of(chosen_patches.read_chosen_patches(plate.folder), sizes)
    labels_of = {"": {fov.name: fov.labels_path for fov in plate.fovs if fov.labels_path}, **plate.label_sets}
    for name, path in _tables_of_origins(plate):
        if name and of_sets:
            continue  # Its label images may be those that can't be read.
        ids = {fov: decode_numbered(plate.read(of_fov), of_fov).ids for fov, of_fov in labels_of[name].items()}
        problems += origins.problems_of(origins.read_origins(path.parent), ids, _name(path, plate))
    return problems


def report_on(plate: Plate) -> dict[str, Any]:
    """Give what report.json says of these files, without a key for what there isn't."""
    report: dict[str, Any] = {}
    if plate.label_sets:
        report["label_sets"] = {
            name: {fov: _name(path, plate) for fov, path in files.items()} for name, files in plate.label_sets.items()
        }
    if _has(chosen_patches.CHOSEN_PATCHES, plate):
        choices = chosen_patches.read_chosen_patches(plate.folder)["choice"]
        report["chosen_patches"] = choices.value_counts().to_dict()
    counts = {name: origins.counts_of(origins.read_origins(path.parent)) for name, path in _tables_of_origins(plate)}
    if of_plate := counts.pop("", None):
        report["origins"] = of_plate
    if counts:
        report["origins_of_label_sets"] = counts
    return report


def _paths(plate: Plate) -> list[Path]:
    chosen = [plate.folder / chosen_patches.CHOSEN_PATCHES] if _has(chosen_patches.CHOSEN_PATCHES, plate) else []
    sets = (path for files in plate.label_sets.values() for path in files.values())
    return [*(path for _, path in _tables_of_origins(plate)), *chosen, *sets]


def _tables_of_origins(plate: Plate) -> Iterator[tuple[str, Path]]:
    """Give the tables that there are, with the name of the label set; that of the labels that count is empty."""
    for name in ("", *plate.label_sets):
        path = Path(*(LABEL_SETS, name) if name else (), origins.ORIGINS)
        if _has(path.as_posix(), plate):
            yield name, plate.folder / path


def _has(table: str, plate: Plate) -> bool:
    return plate.info.role != "screen" and (plate.folder / table).exists()


def _name(path: Path, plate: Plate) -> str:
    return path.relative_to(plate.folder).as_posix()
