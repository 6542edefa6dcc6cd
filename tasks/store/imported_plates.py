"""The plates that `ingest` froze, side by side in one folder.

    <plate>@<digest>/                     an imported plate
    .<plate>@<digest>.partial/output/     one on its way
    .known_images.parquet                 the images of all, made of their reports

An image is for training or for tests, never for both. Images are told by their pixels, so that another file name,
file format, number of bits or plate hides nothing, and so are copies that are cropped or changed as a whole
(`tasks.nuclei.copies` says which). And a name stands for one plate with one role, in all its versions: the newest one
takes the place of the others. What a person confirms is what the newest version was doubted for.
"""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.nuclei.copies import KINDS, Fingerprint, copies
from tasks.nuclei.plates.files import FROZEN_REPORT, Plate
from tasks.nuclei.plates.image_files import read_image
from tasks.nuclei.plates.info import PlateInfo
from tasks.store.known_images import images_of_role

OTHER_ROLE = {"train": "test", "test": "train"}

FrozenPlate = tuple[Path, PlateInfo, list[dict[str, Any]]]
"""Its folder, what it says of itself, and its rows of report.json."""


def report_of(folder: Path) -> dict[str, Any]:
    """Read the report.json of an imported plate; empty of a folder without one."""
    try:
        report: dict[str, Any] = json.loads((folder / FROZEN_REPORT).read_text())
    except FileNotFoundError:
        return {}
    return report


def measured_rows(plate: Plate) -> list[dict[str, Any]]:
    """Give the rows of an imported plate's report.json; of older ones, the dtype is read from the images."""
    rows = report_of(plate.folder)["fovs"]
    return [{"dtype": row.get("dtype") or read_image(plate.folder / row["image"]).dtype.name, **row} for row in rows]


def left_out_of(folder: Path) -> list[dict[str, Any]]:
    """Give the fields that an imported plate doesn't have because they were faulty: fov, file, well, site, problem."""
    rows: list[dict[str, Any]] = report_of(folder).get("left_out", [])
    return rows


def newest_version(name: str, frozen: Path) -> Path | None:
    """Give the folder of the version of a plate that counts."""
    folders = [folder for folder, *_ in _frozen_plates(frozen, f"{glob.escape(name)}@")]
    return max(folders, key=lambda folder: str(report_of(folder).get("frozen_at")), default=None)


def known_missing(known: Path | None) -> list[str]:
    """Give the images of fields that a version lacks of those before it, as nobody has confirmed yet."""
    names: list[str] = report_of(known).get("missing", []) if known else []
    return names


def missing_fields(report: Mapping[str, Any], known: Path | None) -> list[str]:
    """Give the images of the known version that a new one has neither under this name nor with these pixels.

    Those that the known version lacks itself of the ones before it stay missing.
    """
    before = report_of(known) if known else {}
    values = {value for fingerprint in _fingerprints(report["fovs"]).values() for value in fingerprint.values}
    names = {row["image"] for row in report["fovs"]} | {row["file"] for row in report["left_out"]}
    gone = [row["image"] for row in before.get("fovs", []) if row["pixels_sha256"] not in values]
    return [name for name in dict.fromkeys(gone + before.get("missing", [])) if name not in names]


def replaced_fields(report: Mapping[str, Any], known: Path | None) -> list[str]:
    """Give the images of a new version that have other pixels than those of the same name in the known one."""
    before = {row["image"]: row["pixels_sha256"] for row in report_of(known).get("fovs", [])} if known else {}
    fields = _fingerprints(report["fovs"])
    return [name for name, fields_now in fields.items() if name in before and before[name] not in fields_now.values]


def was_doubted(doubt: str, files: Mapping[str, str], known: Path | None) -> bool:
    """Whether the known version has a doubt about the same file, and the field's files, SHA-256 by name, are its own.

    Sentences may differ: they compare with the other fields of the plate.
    """
    if known is None:
        return False
    report = report_of(known)
    before = [*report.get("doubts", []), *report.get("confirmed_doubts", [])]
    about = [name for name in files if doubt.startswith(f"{name}: ")]
    if not any(other.startswith(f"{name}: ") for name in about for other in before):
        return False
    return all(_sha256(known / name) == sha256 for name, sha256 in files.items())


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def problems_of_roles(info: PlateInfo, fovs: list[dict[str, Any]], frozen: Path) -> list[str]:
    """Say what of a plate contradicts the imported ones; `fovs` are its rows of report.json.

    A plate keeps its role and its images through all its versions, and an image its role in all plates.
    """
    versions = _versions(info, frozen)
    problems = _other_roles(info, versions)
    fields = _fingerprints(fovs)
    values = {value for fingerprint in fields.values() for value in fingerprint.values}
    if versions and not any(row["pixels_sha256"] in values for _, rows in versions for row in rows):
        problems += _no_known_image(info, fields, versions)
    return problems + _images_in_the_other_role(info, fields, frozen)


def problems_of_name(info: PlateInfo, frozen: Path) -> list[str]:
    """Do as `problems_of_roles`, by the name of a plate alone."""
    return _other_roles(info, _versions(info, frozen))


def _versions(info: PlateInfo, frozen: Path) -> list[tuple[PlateInfo, list[dict[str, Any]]]]:
    """Give the imported versions of a plate, with their rows."""
    of_name = _frozen_plates(frozen, f"{glob.escape(info.name)}@")
    return [(other, rows) for _, other, rows in of_name if other.name == info.name]


def _other_roles(info: PlateInfo, versions: Iterable[tuple[PlateInfo, list[dict[str, Any]]]]) -> list[str]:
    return [
        f"plate.json: role is {info.role}, but a plate named {info.name} is known with role {role}; "
        "give it the role that it had, or another name"
        for role in sorted({other.role for other, _ in versions if other.role != info.role})
    ]


def _no_known_image(
    info: PlateInfo, fields: dict[str, Fingerprint], versions: list[tuple[PlateInfo, list[dict[str, Any]]]]
) -> list[str]:
    """Say of a version without any known image whether its images are changed ones, or those of another plate."""
    known: dict[str, Fingerprint] = {}
    for _, rows in versions:
        known |= _fingerprints(rows)
    # A name stands for itself too: only other names are compared as they are.
    changed = copies({f"{name} here": fingerprint for name, fingerprint in fields.items()}, known)
    if found := {copy.name.removesuffix(" here"): f"{copy.kind} {copy.other}" for copy in changed}:
        what_to_do = f"of the known plate {info.name}; the images of a plate don't change, put the original images back"
        return [f"{name}: {found[name]} {what_to_do}" for name in fields if name in found]
    return [
        f"images/: none is of the known plate named {info.name}; give a new plate a name of its own, and a new "
        "version of a plate some of its images"
    ]


def _images_in_the_other_role(info: PlateInfo, fields: dict[str, Fingerprint], frozen: Path) -> list[str]:
    role = OTHER_ROLE.get(info.role)
    if role is None:
        return []
    # Those on their way first: one that is renamed meanwhile is met again.
    on_their_way = [(other.name, row) for _, other, rows in _on_their_way(frozen) if other.role == role for row in rows]
    others = {
        f"{row['image']} of the {role} plate {name}": Fingerprint.of_row(row)
        for name, row in (*on_their_way, *images_of_role(role, frozen))
    }
    surest_last = sorted(copies(fields, others), key=lambda copy: -KINDS.index(copy.kind))
    found = {copy.name: f"{copy.kind} {copy.other}" for copy in surest_last}
    return [
        f"{name}: {found[name]}; an image is for training or for tests, never for both, remove it and its labels"
        for name in fields
        if name in found
    ]


def _fingerprints(rows: Iterable[Mapping[str, Any]]) -> dict[str, Fingerprint]:
    return {row["image"]: Fingerprint.of_row(row) for row in rows}


def _frozen_plates(frozen: Path, keys: str) -> Iterator[FrozenPlate]:
    """Give the plates whose keys begin with the pattern `keys`.

    To read the reports of thousands takes minutes: of all images, ask `images_of_role`.
    """
    # Those on their way first, as above.
    yield from _on_their_way(frozen, keys)
    folders = [path.parent for path in sorted(frozen.glob(f"{keys}*/{FROZEN_REPORT}"))]
    yield from _read([folder for folder in folders if not folder.name.startswith(".")])


def _on_their_way(frozen: Path, keys: str = "") -> Iterator[FrozenPlate]:
    pattern = f".{keys}*.partial/output/{FROZEN_REPORT}"
    yield from _read([path.parent for path in sorted(frozen.glob(pattern))])


def _read(folders: Iterable[Path]) -> Iterator[FrozenPlate]:
    for folder in folders:
        try:
            info = PlateInfo.model_validate_json((folder / "plate.json").read_bytes())
            yield folder, info, json.loads((folder / FROZEN_REPORT).read_text())["fovs"]
        except FileNotFoundError:
            continue
