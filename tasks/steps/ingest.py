"""Ingest: check a plate and import it into the store under its digest.

The output folder is the plate again (plate.json, images/, labels/, read-only copies), with
report.json: the digest, the row of Table S1, counts, areas and intensities of the plate and of each
field of view, and the warnings. A plate with any faulty file is refused whole; so is one with an image
that another plate uses for training where this one is for tests, or the other way round.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import filelock
import numpy as np
import pydantic
from numpy.typing import NDArray

from tasks import tracking
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.nuclei.errors import InputError, raise_if_any
from tasks.nuclei.measure import (
    Instances,
    focus,
    histogram_mean,
    histogram_percentile,
    intensity_histogram,
    measure_instances,
)
from tasks.nuclei.plates.files import FROZEN_REPORT, Fov, Plate, open_plate, pair_files
from tasks.nuclei.plates.hcs_plates import HCS_FOLDER, pair_fields
from tasks.nuclei.plates.image_files import decode_image, decode_numbered, image_doubts
from tasks.nuclei.plates.info import PlateInfo, Role
from tasks.nuclei.plates.label_numbers import NumberedLabels
from tasks.nuclei.plates.pixel_size import PixelSize, disagreement, doubt
from tasks.store.imported_plates import pixels_sha256, problems_of_roles

MIN_AREA_PX = 5
READERS = 4
MAX_LOGGED_WARNINGS = 20

log = logging.getLogger("nucleus")

T = TypeVar("T")
R = TypeVar("R")


class Params(TaskParams):
    folder: Annotated[str, pydantic.Field(pattern=r"^/")]
    """Absolute path of the plate's folder, with plate.json, images/ and labels/, or images.ome.zarr for both.
    Labels may lack for role screen."""
    role: Role | None = None
    """The role that plate.json must state; any if not given."""


@dataclass
class Check:
    """What reading some fields of view gave."""

    sha256: dict[str, str]
    """By path relative to the plate."""
    problems: list[str] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The fields' entries in report.json."""
    areas_px: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2**16, np.int64))
    pixel_sizes: dict[str, PixelSize] = field(default_factory=dict)
    """As the images state them, by path relative to the plate."""


VERSION = 2


def output_key(params: Params) -> str:
    """Name of the imported plate: `<plate name>@<first 12 hex digits of its digest>`."""
    plate = open_arrived_plate(params)
    paths = [path for fov in plate.fovs for path in _paths(fov)]
    hashes = _in_threads(lambda path: hashlib.sha256(plate.read(path)).hexdigest(), paths, "hashed")
    relative_paths = [path.relative_to(plate.folder).as_posix() for path in paths]
    return _key(plate.info, plate_digest(plate.info, dict(zip(relative_paths, hashes, strict=True))))


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
    for what, number in plate.not_used.items():
        log.info("%d %s left out", number, what)
    check = check_and_copy_plate(plate, workspace.output_dir)
    digest = plate_digest(plate.info, check.sha256)
    if _key(plate.info, digest) != workspace.key:
        raise InputError(f"{plate.folder}: changed while it was read; ingest it again when nothing writes to it.")

    _log_warnings(check.warnings)
    metrics = _metrics(check.areas_px, check.histogram, plate.info.pixel_size_um)
    counts = {"fovs": len(check.rows), "nuclei": len(check.areas_px), "warnings": len(check.warnings)}
    report = {
        "digest": digest,
        "frozen_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "table_s1": _table_s1_row(plate.info, check.rows, check.areas_px),
        "counts": counts,
        "not_used": dict(plate.not_used),
        "metrics": metrics,
        "fovs": check.rows,
        "warnings": check.warnings,
    }
    frozen = workspace.store / "ingest"
    # Of two plates with the same image in two roles, one must find the other's report.
    with filelock.FileLock(frozen / ".roles.lock"):
        raise_if_any(problems_of_roles(plate.info, check.rows, frozen), plate.folder)
        (workspace.output_dir / FROZEN_REPORT).write_text(json.dumps(report, indent=1))
    return Outcome(outputs={"plate": "."}, metrics=metrics, counts=counts)


def check_and_copy_plate(plate: Plate, output_dir: Path) -> Check:
    """Check and copy all files; InputError for all problems of all files at once."""
    for name in ("images", "labels"):
        (output_dir / name).mkdir()
    (output_dir / "plate.json").write_text(plate.info.model_dump_json(indent=1))

    # Added up as they come: the histograms of all fields of view would fill the memory.
    total = Check(sha256={})
    areas_px = []
    for check in _in_threads(lambda fov: check_and_copy_fov(fov, plate, output_dir), plate.fovs, "checked"):
        total.sha256 |= check.sha256
        total.problems += check.problems
        total.warnings += check.warnings
        total.rows += check.rows
        total.histogram += check.histogram
        total.pixel_sizes |= check.pixel_sizes
        areas_px.append(check.areas_px)
    total.areas_px = np.concatenate(areas_px)
    total.problems += disagreement(total.pixel_sizes, plate.info.pixel_size_um)
    total.warnings += _warnings_of("images", doubt(total.pixel_sizes, plate.info.pixel_size_um))
    if not total.problems and len(total.areas_px) == 0 and plate.info.role != "screen":
        total.problems = [f"labels/: holds no nucleus in any of its {len(plate.fovs)} files; label at least one"]
    raise_if_any(total.problems, plate.folder)
    return total


def check_and_copy_fov(fov: Fov, plate: Plate, output_dir: Path) -> Check:
    """Read an image and its label image once; check, measure and copy what was read. What is faulty isn't copied."""
    data = {path.relative_to(plate.folder).as_posix(): plate.read(path) for path in _paths(fov)}
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in data.items()}

    names = list(data)
    problems = []
    read: list[Any] = []
    for (name, content), decode in zip(data.items(), (decode_image, decode_numbered), strict=False):
        try:
            read.append(decode(content, Path(name)))
        except InputError as error:
            problems.append(str(error).rstrip("."))
    if problems:
        return Check(sha256, problems)

    image, labels = read[0], read[1] if len(read) > 1 else None
    histogram = intensity_histogram(image)
    row = _fov_row(fov, names, image, histogram)
    problems = _problems_of_arrays([image] if labels is None else [image, labels.label_image], names, histogram)
    try:
        pixel_sizes = {names[0]: plate.pixel_size(fov.image_path, data[names[0]])}
    except InputError as error:
        problems.append(str(error).removeprefix(f"{plate.folder}/").rstrip("."))
    if problems:
        return Check(sha256, problems)

    for name, content in data.items():
        (output_dir / name).write_bytes(content)
        (output_dir / name).chmod(0o444)
    check = Check(sha256, warnings=_warnings_of(names[0], image_doubts(image)), rows=[row], histogram=histogram)
    check.pixel_sizes = pixel_sizes
    if labels is None or fov.labels_path is None:
        return check
    instances = measure_instances(labels.label_image)
    check.warnings += _warnings_of(names[1], plate.doubts(fov.labels_path))
    check.warnings += _warnings_of_labels(instances, labels, names[1])
    check.rows = [row | _nuclei_of_row(instances)]
    check.areas_px = instances.areas_px
    return check


def _problems_of_arrays(arrays: list[NDArray[Any]], names: list[str], histogram: NDArray[np.int64]) -> list[str]:
    """Problems of an image and, if there is one, its label image."""
    problems = []
    for label_image, name in zip(arrays[1:], names[1:], strict=True):
        if arrays[0].shape != label_image.shape:
            problems.append(
                f"{name}: is {_size(*label_image.shape)} px and {names[0]} is {_size(*arrays[0].shape)} px; "
                "they must be equal, label the image again"
            )
    if np.count_nonzero(histogram) == 1:
        problems.append(f"{names[0]}: every pixel is {arrays[0].flat[0]}; it shows nothing, remove it and its labels")
    return problems


def _warnings_of(file: str, problems: Iterable[str]) -> list[dict[str, Any]]:
    return [{"file": file, "problem": problem} for problem in problems]


def _warnings_of_labels(instances: Instances, labels: NumberedLabels, labels_name: str) -> list[dict[str, Any]]:
    warnings = []
    # People look for a label by its number in the file.
    for number, area_px, pieces in zip(labels.ids, instances.areas_px, instances.pieces, strict=True):
        if pieces > 1:
            warnings.append({"file": labels_name, "label": int(number), "problem": f"{pieces} pieces"})
        if area_px < MIN_AREA_PX:
            warnings.append({"file": labels_name, "label": int(number), "problem": f"{area_px} px"})
    return warnings


def _log_warnings(warnings: list[dict[str, Any]]) -> None:
    for warning in warnings[:MAX_LOGGED_WARNINGS]:
        what = "label %(label)d has %(problem)s; a nucleus is one piece of 5 px or more, look at it"
        log.warning(f"%(file)s: {what if 'label' in warning else '%(problem)s'}", warning)
    if len(warnings) > MAX_LOGGED_WARNINGS:
        log.warning("and %d more warnings in report.json", len(warnings) - MAX_LOGGED_WARNINGS)


def _fov_row(fov: Fov, names: list[str], image: NDArray[Any], histogram: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "fov": fov.name,
        "image": names[0],
        "labels": names[1] if len(names) > 1 else None,
        "pixels_sha256": pixels_sha256(image),
        "well": fov.well,
        "site": fov.site,
        "channel": fov.channel,
        "z": fov.z,
        "time": fov.time,
        "acquisition": fov.acquisition,
        "height_px": image.shape[0],
        "width_px": image.shape[1],
        "dtype": image.dtype.name,
        "focus": focus(image),
        **_intensities(histogram),
    }


def _nuclei_of_row(instances: Instances) -> dict[str, Any]:
    nuclei = len(instances.numbers)
    return {
        "nuclei": nuclei,
        "nuclei_at_edge": int(instances.at_edge.sum()),
        "area_mean_px": float(instances.areas_px.mean()) if nuclei else None,
    }


def _metrics(areas_px: NDArray[np.int64], histogram: NDArray[np.int64], pixel_size_um: float) -> dict[str, float]:
    if not len(areas_px):
        return _intensities(histogram)
    mean_px, sd_px = float(areas_px.mean()), float(areas_px.std())
    return {
        "area_mean_px": mean_px,
        "area_sd_px": sd_px,
        "area_mean_um2": mean_px * pixel_size_um**2,
        "area_sd_um2": sd_px * pixel_size_um**2,
        **_intensities(histogram),
    }


def _intensities(histogram: NDArray[np.int64]) -> dict[str, float]:
    return {
        "intensity_mean": histogram_mean(histogram),
        "intensity_p01": histogram_percentile(histogram, 1),
        "intensity_p10": histogram_percentile(histogram, 10),
        "intensity_p99": histogram_percentile(histogram, 99),
    }


def _table_s1_row(info: PlateInfo, fov_rows: list[dict[str, Any]], areas_px: NDArray[np.int64]) -> dict[str, Any]:
    """The plate as a row of the paper's Table S1, under its column names."""
    sizes = sorted({(row["height_px"], row["width_px"]) for row in fov_rows})
    return {
        "Dataset Name": info.name,
        "Number FOVs": len(fov_rows),
        "FOV Size - px": ", ".join(_size(*size) for size in sizes),
        "Objective": info.objective,
        "Binning": f"{info.binning} x {info.binning}",
        "XY Px Size - micron": info.pixel_size_um,
        "Number of Nuclei": len(areas_px),
        "Area Mean - px": float(areas_px.mean()) if len(areas_px) else None,
        "Area SD - px": float(areas_px.std()) if len(areas_px) else None,
        "Dataset Type": info.role.capitalize(),
        "GT Labelling": {"manual": "Manual", "semi-automatic": "Semi-Auto"}.get(info.annotation or ""),
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


def _paths(fov: Fov) -> list[Path]:
    return [fov.image_path] + ([fov.labels_path] if fov.labels_path else [])


def _key(info: PlateInfo, digest: str) -> str:
    return f"{info.name}@{digest[:12]}"


def _size(height_px: int, width_px: int) -> str:
    return f"{height_px} x {width_px}"


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
)

if __name__ == "__main__":
    sys.exit(TASK.main())
