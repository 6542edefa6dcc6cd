"""Ingest: check a plate and import it into the store under its digest.

The output folder is the plate again (plate.json, images/, labels/ and, where a field is annotated in part,
ignored/, read-only copies), with report.json: the digest, the row of Table S1, counts, areas and intensities of
the plate and of each field of view, the warnings, and the doubts that a person must look at before a training.
Counts and areas are of nuclei that aren't ignored. A training or test plate with any faulty file is refused
whole; a screening plate is imported without the faulty fields and without faulty labels, which the report
names. A plate is refused too with an image that another plate uses for training where this one is for tests, or
the other way round, and with doubts that plate.json confirms and that nobody can have seen.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import pydantic
from numpy.typing import NDArray

from tasks import locks, tracking
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.nuclei.errors import InputError, raise_if_any
from tasks.nuclei.plates import other_files
from tasks.nuclei.plates.field_check import (
    FieldCheck,
    check_and_copy_field,
    copies_among,
    hashes_of,
    intensities_of,
    judge_labels,
    read_files,
    size_in_words,
)
from tasks.nuclei.plates.files import FROZEN_REPORT, Plate, open_plate, pair_files
from tasks.nuclei.plates.hcs_plates import HCS_FOLDER, pair_fields
from tasks.nuclei.plates.info import PlateInfo, Role
from tasks.nuclei.plates.pixel_size import PixelSize, disagreement
from tasks.nuclei.plates.pixel_size import doubt as doubt_of_sizes
from tasks.store import attempts
from tasks.store.imported_plates import (
    known_missing,
    missing_fields,
    newest_version,
    problems_of_roles,
    replaced_fields,
    was_doubted,
)

READERS = 4
ANNOTATION_IN_TABLE_S1 = {"manual": "Manual", "semi-automatic": "Semi-Auto", "synthetic": "Synthetic"}
MAX_LOGGED = 20
"""Sentences of one kind in the log and in the result; all are in report.json."""

log = logging.getLogger("nucleus")

T = TypeVar("T")
R = TypeVar("R")


class Params(TaskParams):
    folder: Annotated[str, pydantic.Field(pattern=r"^/")]
    """Absolute path of the plate's folder, with plate.json, images/ and labels/, or images.ome.zarr for both.
    Labels may lack for role screen. label_sets/ may hold further label images, origins.csv say how each nucleus got its
    label, and chosen_patches.csv how patches were chosen to be annotated. An image in ignored/ says which pixels of a
    field aren't annotated."""
    role: Role | None = None
    """The role that plate.json must state; any if not given."""


VERSION = 2


def output_key(params: Params) -> str:
    """Name of the imported plate: `<plate name>@<first 12 hex digits of its digest>`."""
    plate = open_arrived_plate(params)
    hashes: dict[str, str] = {}
    for of_field in _in_threads(lambda fov: hashes_of(read_files(fov, plate)), plate.fovs, "hashed"):
        hashes |= of_field
    hashes |= other_files.hashes_of(plate)
    return _key(plate.info, plate_digest(plate.info, hashes))


def plate_digest(info: PlateInfo, sha256: dict[str, str]) -> str:
    """SHA-256 over this task's version, the content of plate.json and the (relative path, SHA-256) of all files."""
    text = json.dumps([VERSION, info.identity, sorted(sha256.items())], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def open_arrived_plate(params: Params) -> Plate:
    """Open the plate; InputError unless its role is the one asked for and every image that needs labels has them."""
    folder = Path(params.folder)
    try:
        plate = pair_fields(folder) if (folder / HCS_FOLDER).exists() else pair_files(folder)
    except PermissionError as error:
        who = f"user {os.getuid()} may not read it ({error.strerror})"
        raise InputError(f"{error.filename}: {who}; give others the right to read the plate.") from None
    role = plate.info.role
    if params.role not in (None, role):
        raise InputError(
            f"{plate.folder}/plate.json: role is {role!r}, and the plate was given as a {params.role} plate; "
            f"correct the role, or give it as a {role} plate."
        )
    unlabelled = [fov.image_path.name for fov in plate.fovs if fov.labels_path is None and role != "screen"]
    raise_if_any(
        [f"images/{name}: has no label image; add one of the same name to labels/" for name in unlabelled], plate.folder
    )
    return plate


def run(params: Params, workspace: Workspace) -> Outcome:
    """Check and copy the plate and write report.json; refuses a plate that isn't the one its key was made from."""
    # What tifffile logs of a damaged file comes again in the error that names the file.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    plate = open_arrived_plate(params)
    checks = check_and_copy_plate(plate, workspace.output_dir)
    of_others = other_files.copied(plate, workspace.output_dir)
    of_fields = {name: sha256 for check in checks for name, sha256 in check.sha256.items()}
    digest = plate_digest(plate.info, of_fields | of_others)
    if _key(plate.info, digest) != workspace.key:
        raise InputError(f"{plate.folder}: changed while it was read; ingest it again when nothing writes to it.")

    for what, number in plate.not_used.items():
        log.info("%d %s left out", number, what)
    refuse_or_leave_out(plate, checks, workspace.output_dir)
    sizes = {check.fov.name: (check.row["height_px"], check.row["width_px"]) for check in checks if check.row}
    raise_if_any(other_files.problems_of(plate, sizes), plate.folder)
    report = _report(plate, digest, checks) | other_files.report_on(plate)
    frozen = workspace.store / "ingest"
    # Of two plates with the same image in two roles, one must find the other's report.
    with locks.held(frozen / ".roles.lock"):
        raise_if_any(problems_of_roles(plate.info, report["fovs"], frozen), plate.folder)
        _compare_with_known(report, plate, checks, newest_version(plate.info.name, frozen))
        _log_report(report)
        (workspace.output_dir / FROZEN_REPORT).write_text(json.dumps(report, indent=1))
    shown = {
        "doubts": report["doubts"][:MAX_LOGGED],
        "left_out": [row["problem"] for row in report["left_out"][:MAX_LOGGED]],
        "copies": report["copies"][:MAX_LOGGED],
    }
    return Outcome(outputs={"plate": "."}, metrics=report["metrics"], counts=report["counts"], values=shown)


def check_and_copy_plate(plate: Plate, output_dir: Path) -> list[FieldCheck]:
    """Check all fields, and copy plate.json and the files of those that are without faults as yet."""
    are_in_part = any(fov.ignored_path for fov in plate.fovs)
    for name in ("images", "labels", *(["ignored"] if are_in_part else [])):
        (output_dir / name).mkdir()
    (output_dir / "plate.json").write_text(plate.info.model_dump_json(indent=1))
    checks = list(_in_threads(lambda fov: check_and_copy_field(fov, plate, output_dir), plate.fovs, "checked"))
    info = plate.info
    judge_labels(checks, are_needed=info.role != "screen", are_exact=info.annotation == "synthetic")
    return checks


def refuse_or_leave_out(plate: Plate, checks: Sequence[FieldCheck], output_dir: Path) -> None:
    """Refuse a plate with any fault, or remove the faulty fields of a screening plate from the output.

    Raises InputError for all problems of all fields at once. A screening plate of faulty fields only is refused too,
    and any whose images state another pixel size than plate.json.
    """
    problems = [problem for check in checks for problem in check.problems]
    problems_of_sizes = disagreement(_pixel_sizes(checks), plate.info.pixel_size_um)
    if problems_of_sizes:
        raise_if_any(problems_of_sizes + problems, plate.folder)
    if plate.info.role != "screen":
        if not problems and not any(len(check.areas_px) for check in checks):
            problems = [f"labels/: holds no nucleus in any of its {len(plate.fovs)} files; label at least one"]
        raise_if_any(problems, plate.folder)
    if all(check.problems for check in checks):
        raise_if_any(problems, plate.folder)
    for check in checks:
        for name in check.sha256.keys() - set([] if check.problems else check.names):
            (output_dir / name).unlink(missing_ok=True)


def _report(plate: Plate, digest: str, checks: Sequence[FieldCheck]) -> dict[str, Any]:
    info = plate.info
    good = [check for check in checks if not check.problems]
    rows = [check.row for check in good]
    areas_px = np.concatenate([check.areas_px for check in good])
    of_sizes = doubt_of_sizes(_pixel_sizes(good), info.pixel_size_um, info.size_is_of_images)
    warnings = [{"file": file, "problem": problem} for file, problem in of_sizes.items()]
    warnings += [{"file": file, "problem": remark} for file, remark in plate.remarks.items()]
    warnings += [warning for check in good for warning in check.warnings]
    doubts = [doubt for check in good for doubt in check.doubts]
    left_out = [_left_out(check) for check in checks if check.problems]
    left_out += [
        {"fov": fault.name, "file": fault.name, "well": fault.well, "site": fault.site, "problem": fault.problem}
        for fault in plate.faults
    ]
    return {
        "digest": digest,
        "frozen_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "table_s1": _table_s1_row(info, rows, areas_px),
        "counts": {
            "fovs": len(rows),
            "nuclei": len(areas_px),
            "warnings": len(warnings),
            "doubts": len(doubts),
            "left_out": len(left_out),
        },
        "metrics": _metrics(areas_px, _histogram(good), info.pixel_size_um),
        "fovs": rows,
        "left_out": left_out,
        "not_used": dict(plate.not_used),
        "doubts": doubts,
        "confirmed_doubts": [],
        "missing": [],
        "copies": copies_among(good),
        "warnings": warnings,
    }


def _compare_with_known(report: dict[str, Any], plate: Plate, checks: Sequence[FieldCheck], known: Path | None) -> None:
    """Add what the newest known version has and this one hasn't, or has otherwise; settle what plate.json confirms.

    Raises InputError for a confirmation of doubts that the known version didn't have about the same files.
    """
    missing = missing_fields(report, known)
    other = "has other pixels than in the known version of the plate; look whether it is the right image"
    report["warnings"] += [{"file": name, "problem": other} for name in replaced_fields(report, known)]
    said = "is a field of the known version of the plate, and isn't in this one"
    if plate.info.role == "screen":
        report["warnings"] += [{"file": name, "problem": f"{said}; look whether it is lost"} for name in missing]
    report["counts"]["warnings"] = len(report["warnings"])
    if plate.info.role == "screen":
        return
    files = {doubt: check.sha256 for check in checks for doubt in check.doubts}
    of_fields = [f"{name}: {said}; add it, or confirm that it shall be gone" for name in missing]
    if not plate.info.labels_confirmed:
        report |= {"doubts": report["doubts"] + of_fields, "missing": missing}
        report["counts"]["doubts"] = len(report["doubts"])
        return
    unseen = [doubt for doubt in report["doubts"] if not was_doubted(doubt, files[doubt], known)]
    unseen += [doubt for name, doubt in zip(missing, of_fields, strict=True) if name not in known_missing(known)]
    what_to_do = "import the plate without labels_confirmed, look at what is doubtful, then confirm that or correct it"
    head = f"plate.json: labels_confirmed is true, but there are doubts that nobody has seen as yet; {what_to_do}"
    raise_if_any([head, *unseen] if unseen else [], plate.folder)
    report |= {"doubts": [], "confirmed_doubts": report["doubts"] + of_fields}
    report["counts"]["doubts"] = 0


def _pixel_sizes(checks: Iterable[FieldCheck]) -> dict[str, PixelSize]:
    return {check.names[0]: check.pixel_size for check in checks}


def _left_out(check: FieldCheck) -> dict[str, Any]:
    fov = check.fov
    return {
        "fov": fov.name,
        "file": check.names[0],
        "well": fov.well,
        "site": fov.site,
        "problem": "; ".join(check.problems),
    }


def _histogram(checks: Iterable[FieldCheck]) -> NDArray[np.int64]:
    histogram = np.zeros(2**16, np.int64)
    for check in checks:
        histogram[check.intensities[:, 0]] += check.intensities[:, 1]
    return histogram


def _log_report(report: dict[str, Any]) -> None:
    if report["left_out"]:
        in_all = len(report["fovs"]) + len(report["left_out"])
        log.warning("%d of %d fields are faulty and LEFT OUT of the plate:", len(report["left_out"]), in_all)
    _log_some([row["problem"] for row in report["left_out"]])
    _log_some([f"{doubt}; look at it before a training" for doubt in report["doubts"]])
    _log_some([f"{copy}; look whether a field was saved twice" for copy in report["copies"]])
    _log_some([_sentence(warning) for warning in report["warnings"]])


def _sentence(warning: dict[str, Any]) -> str:
    if "label" not in warning:
        return f"{warning['file']}: {warning['problem']}"
    what = f"label {warning['label']} has {warning['problem']}"
    return f"{warning['file']}: {what}; a nucleus is one piece of 5 px or more, look at it"


def _log_some(warnings: Sequence[str]) -> None:
    for warning in warnings[:MAX_LOGGED]:
        log.warning("%s", warning)
    if len(warnings) > MAX_LOGGED:
        log.warning("and %d more warnings in report.json", len(warnings) - MAX_LOGGED)


def _metrics(areas_px: NDArray[np.int64], histogram: NDArray[np.int64], pixel_size_um: float) -> dict[str, float]:
    if not len(areas_px):
        return intensities_of(histogram)
    mean_px, sd_px = float(areas_px.mean()), float(areas_px.std())
    return {
        "area_mean_px": mean_px,
        "area_sd_px": sd_px,
        "area_mean_um2": mean_px * pixel_size_um**2,
        "area_sd_um2": sd_px * pixel_size_um**2,
        **intensities_of(histogram),
    }


def _table_s1_row(info: PlateInfo, fov_rows: list[dict[str, Any]], areas_px: NDArray[np.int64]) -> dict[str, Any]:
    """The plate as a row of the paper's Table S1, under its column names."""
    sizes = sorted({(row["height_px"], row["width_px"]) for row in fov_rows})
    return {
        "Dataset Name": info.name,
        "Number FOVs": len(fov_rows),
        "FOV Size - px": ", ".join(size_in_words(*size) for size in sizes),
        "Objective": info.objective,
        "Binning": f"{info.binning} x {info.binning}",
        "XY Px Size - micron": info.pixel_size_um,
        "Number of Nuclei": len(areas_px),
        "Area Mean - px": float(areas_px.mean()) if len(areas_px) else None,
        "Area SD - px": float(areas_px.std()) if len(areas_px) else None,
        "Dataset Type": info.role.capitalize(),
        "GT Labelling": ANNOTATION_IN_TABLE_S1.get(info.annotation or ""),
    }


def _in_threads(function: Callable[[T], R], items: Iterable[T], done: str) -> Iterator[R]:
    """Apply `function` in threads, in order; a progress line for every tenth of many items."""
    items = list(items)
    step = max(len(items) // 10, 50)
    with ThreadPoolExecutor(READERS) as threads:
        for number, result in enumerate(threads.map(function, items), start=1):
            if number % step == 0:
                log.info("%s %d of %d", done, number, len(items))
            yield result


def _key(info: PlateInfo, digest: str) -> str:
    return f"{info.name}@{digest[:12]}"


def log_result(params: Params, result: Result, store: Path) -> None:
    """Log the plate as a dataset of the MLflow run, with its row of Table S1."""
    plate = open_plate(store / result.outputs["plate"])
    report = json.loads((plate.folder / FROZEN_REPORT).read_text())
    profile = json.dumps(report["table_s1"])
    tracking.Run().log_plate(plate.info.name, report["digest"], result.outputs["plate"], plate.info.role, profile)


TASK = Task(
    name="ingest",
    version=VERSION,
    params_type=Params,
    run=run,
    key=output_key,
    log=log_result,
    resources=Resources(PROCESSING, memory_gib=4),
    attempt=lambda params, store: attempts.counted(Path(params.folder), store),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
