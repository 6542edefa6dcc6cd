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
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pydantic
from numpy.typing import NDArray

from tasks import locks, tracking
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.nuclei.errors import InputError, raise_if_any
from tasks.nuclei.plates import other_files
from tasks.nuclei.plates.arrival import (
    check_fields,
    in_threads,
    left_out_of,
    open_arrival,
    refusing,
    sentence_of,
    warnings_of,
)
from tasks.nuclei.plates.field_check import (
    FieldCheck,
    copies_among,
    hashes_of,
    intensities_of,
    read_files,
    size_in_words,
)
from tasks.nuclei.plates.files import FROZEN_REPORT, Plate, open_plate
from tasks.nuclei.plates.info import PlateInfo, Role
from tasks.store import attempts
from tasks.store.imported_plates import (
    known_missing,
    missing_fields,
    newest_version,
    problems_of_roles,
    replaced_fields,
    was_doubted,
)

ANNOTATION_IN_TABLE_S1 = {"manual": "Manual", "semi-automatic": "Semi-Auto", "synthetic": "Synthetic"}
MAX_LOGGED = 20
"""Sentences of one kind in the log and in the result; all are in report.json."""

log = logging.getLogger("nucleus")


class Params(TaskParams):
    folder: Annotated[str, pydantic.Field(pattern=r"^/")]
    """Absolute path of the plate's folder, with plate.json and its images and label images in one of the layouts of
    tasks/nuclei/plates/layouts.py, such as images/ and labels/, or images.ome.zarr for both.
    Labels may lack for role screen. label_sets/ may hold further label images, origins.csv say how each nucleus got its
    label, and chosen_patches.csv how patches were chosen to be annotated. An image in ignored/ says which pixels of a
    field aren't annotated."""
    role: Role | None = None
    """The role that plate.json must state; any if not given."""


VERSION = 2


def output_key(params: Params) -> str:
    """Name of the imported plate: `<plate name>@<first 12 hex digits of its digest>`."""
    plate = open_arrival(Path(params.folder), params.role)
    hashes: dict[str, str] = {}
    for of_field in in_threads(lambda fov: hashes_of(read_files(fov, plate)), plate.fovs, "hashed"):
        hashes |= of_field
    hashes |= other_files.hashes_of(plate)
    return _key(plate.info, plate_digest(plate.info, hashes))


def plate_digest(info: PlateInfo, sha256: dict[str, str]) -> str:
    """SHA-256 over this task's version, the content of plate.json and the (relative path, SHA-256) of all files."""
    text = json.dumps([VERSION, info.identity, sorted(sha256.items())], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def run(params: Params, workspace: Workspace) -> Outcome:
    """Check and copy the plate and write report.json; refuses a plate that isn't the one its key was made from."""
    # What tifffile logs of a damaged file comes again in the error that names the file.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    plate = open_arrival(Path(params.folder), params.role)
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
    raise_if_any(other_files.problems_of(plate, sizes), plate.shown)
    report = _report(plate, digest, checks) | other_files.report_on(plate)
    frozen = workspace.store / "ingest"
    # Of two plates with the same image in two roles, one must find the other's report.
    with locks.held(frozen / ".roles.lock"):
        raise_if_any(problems_of_roles(plate.info, report["fovs"], frozen), plate.shown)
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
    return check_fields(plate, output_dir)


def refuse_or_leave_out(plate: Plate, checks: Sequence[FieldCheck], output_dir: Path) -> None:
    """Refuse a plate with any fault, or remove the faulty fields of a screening plate from the output.

    Raises InputError for all problems of all fields at once.
    """
    raise_if_any(refusing(plate, checks), plate.shown)
    for check in checks:
        for name in check.sha256.keys() - set([] if check.problems else check.names):
            (output_dir / name).unlink(missing_ok=True)


def _report(plate: Plate, digest: str, checks: Sequence[FieldCheck]) -> dict[str, Any]:
    info = plate.info
    good = [check for check in checks if not check.problems]
    rows = [check.row for check in good]
    areas_px = np.concatenate([check.areas_px for check in good])
    warnings, left_out = warnings_of(plate, checks), left_out_of(plate, checks)
    doubts = [doubt for check in good for doubt in check.doubts]
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
    raise_if_any([head, *unseen] if unseen else [], plate.shown)
    report |= {"doubts": [], "confirmed_doubts": report["doubts"] + of_fields}
    report["counts"]["doubts"] = 0


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
    _log_some([sentence_of(warning) for warning in report["warnings"]])


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
