"""Checks and measures the fields of a plate that has arrived: each alone, then the labels of all together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.copies import Fingerprint, copies_within, fingerprint_of_row
from tasks.nuclei.errors import InputError
from tasks.nuclei.label_check import LabelMeasures, check_labels, measure_labels
from tasks.nuclei.label_forms import looks_like_labels
from tasks.nuclei.measure import Instances, focus, histogram_mean, histogram_percentile, intensity_histogram
from tasks.nuclei.plates.files import Fov, Plate
from tasks.nuclei.plates.image_files import (
    decode_ignored,
    decode_image,
    decode_numbered,
    image_doubts,
    label_doubts,
    pixels_of_field,
)
from tasks.nuclei.plates.label_numbers import NumberedLabels
from tasks.nuclei.plates.pixel_size import NOT_STATED, PixelSize
from tasks.nuclei.plates.raster import MAX_FIELD_PIXELS
from tasks.nuclei.plates.room import Room

MIN_AREA_PX = 5

NUCLEI_OF_ROW = ("nuclei", "nuclei_at_edge", "area_mean_px")
"""Keys of a field's entry in report.json that only fields with labels have; of the nuclei that count."""

IGNORED_OF_ROW = ("ignored", "ignored_share")
"""Keys that only fields have of which not all is annotated: the file, and the share of its pixels that are ignored."""

_ROOM = Room(MAX_FIELD_PIXELS)

UNREADABLE = "can't be read"
"""In place of the SHA-256 of such a file."""


@dataclass
class FieldCheck:
    """What reading a field gave."""

    fov: Fov
    names: list[str]
    """Files relative to the plate: the image, then the label image and what is ignored, if there are any that are
    used."""
    sha256: dict[str, str]
    """By name, of all files of the field."""
    problems: list[str] = field(default_factory=list)
    """Sentences with the name of the file; a field with any is faulty, and the rest is empty."""
    label_problems: list[str] = field(default_factory=list)
    """The same of the label image and of what is ignored, until it is settled whether the field needs them."""
    doubts: list[str] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    """What to look at in a file: file, problem, and for a single nucleus its label in the file."""
    row: dict[str, Any] = field(default_factory=dict)
    """The field's entry in report.json."""
    areas_px: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    intensities: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    """(n, 2): each intensity that occurs, with its number of pixels; whole histograms of all fields fill the memory."""
    labels: LabelMeasures | None = None
    pixel_size: PixelSize = NOT_STATED
    """As the image states it."""

    def settle_labels(self, are_needed: bool) -> None:
        """Make faults of the label image those of the field, or go on without it, which a warning says."""
        faults, self.label_problems = self.label_problems, []
        if are_needed or not faults:
            self.problems += faults
            return
        image, labels, *_ = self.names
        self.names = [image]
        self.doubts = [doubt for doubt in self.doubts if not doubt.startswith(f"{labels}: ")]
        without = "; the labels are not used, and the field is imported without them"
        warnings = [warning for warning in self.warnings if warning["file"] != labels]
        said = [fault.removeprefix(f"{labels}: ") + without for fault in faults]
        self.warnings = warnings + [{"file": labels, "problem": problem} for problem in said]
        self.row = {key: value for key, value in self.row.items() if key not in (*NUCLEI_OF_ROW, *IGNORED_OF_ROW)}
        self.row |= {"labels": None} if self.row else {}
        self.areas_px, self.labels = np.zeros(0, np.int64), None


def read_files(fov: Fov, plate: Plate) -> dict[str, bytes | InputError]:
    """Read the image of a field, its label image and what is ignored, if there is any, by their paths in the plate."""
    contents: dict[str, bytes | InputError] = {}
    for path in (fov.image_path, fov.labels_path, fov.ignored_path):
        if path is None:
            continue
        name = path.relative_to(plate.folder).as_posix()
        try:
            contents[name] = plate.read(path)
        except InputError as error:
            contents[name] = error
    return contents


def hashes_of(contents: dict[str, bytes | InputError]) -> dict[str, str]:
    return {
        name: UNREADABLE if isinstance(content, InputError) else hashlib.sha256(content).hexdigest()
        for name, content in contents.items()
    }


def check_field(fov: Fov, plate: Plate, copy_to: Path | None = None) -> FieldCheck:
    """Read an image and its label image once; check, measure and perhaps copy what was read, but for what is faulty.

    Threads may check several fields at once. Of large ones, as many are decoded at a time as one may be large.
    """
    contents = read_files(fov, plate)
    check = FieldCheck(fov, list(contents), hashes_of(contents))
    pixels = [0]
    for name, content in contents.items():
        try:
            pixels += [pixels_of_field(content, Path(name))] if isinstance(content, bytes) else []
        except InputError as error:
            contents[name] = error
    with _ROOM.for_pixels(max(pixels)):
        return _checked(check, contents, plate, copy_to)


def _checked(
    check: FieldCheck, contents: dict[str, bytes | InputError], plate: Plate, copy_to: Path | None
) -> FieldCheck:
    are_needed = plate.info.role != "screen"
    read: list[Any] = []
    kinds: tuple[tuple[Callable[..., Any], list[str]], ...] = (
        (decode_image, check.problems),
        (decode_numbered, check.label_problems),
        (decode_ignored, check.label_problems),
    )
    for (name, content), (decode, problems) in zip(contents.items(), kinds, strict=False):
        try:
            if isinstance(content, InputError):
                raise content
            read.append(decode(content, Path(name)))
        except InputError as error:
            problems.append(str(error).removeprefix(f"{plate.folder}/").rstrip("."))
    if check.problems or (are_needed and check.label_problems):
        check.settle_labels(are_needed=True)
        return check
    # Faulty labels of a screening plate, and what is ignored of them, are not used.
    _check_arrays(check, *(read[:1] if check.label_problems else read), with_parts=are_needed)
    check.settle_labels(are_needed)
    whole = {name: content for name, content in contents.items() if isinstance(content, bytes)}
    _read_metadata(check, plate, whole[check.names[0]])
    if copy_to is not None and not check.problems:
        for name, content in whole.items():
            (copy_to / name).write_bytes(content)
            (copy_to / name).chmod(0o444)
    return check


def judge_labels(checks: Sequence[FieldCheck], are_needed: bool, are_exact: bool = False) -> None:
    """Add to every field the problems and doubts of its labels that a comparison of all fields shows.

    Where labels aren't needed, faulty ones are not used, and their field is. Of exact labels, which were computed with
    their images, doubts are only warnings; clear mistakes, such as exchanged files, stay problems.
    """
    labelled = {check.names[1]: check.labels for check in checks if check.labels and not check.problems}
    verdicts = check_labels(labelled)
    for check in checks:
        if check.labels and not check.problems:
            name = check.names[1]
            check.label_problems += [f"{name}: {problem}" for problem in verdicts[name].problems]
            if are_exact:
                check.warnings += [{"file": name, "problem": doubt} for doubt in verdicts[name].doubts]
            else:
                check.doubts += [f"{name}: {doubt}" for doubt in verdicts[name].doubts]
            check.settle_labels(are_needed)


def copies_among(checks: Sequence[FieldCheck]) -> list[str]:
    """Say which fields of a plate are copies of each other."""
    fields = {check.names[0]: Fingerprint.of_row(check.row) for check in checks}
    return [f"{copy.name}: {copy.kind} {copy.other}" for copy in copies_within(fields)]


def intensities_of(histogram: NDArray[np.int64]) -> dict[str, float]:
    """Give the intensities of report.json."""
    return {
        "intensity_mean": histogram_mean(histogram),
        "intensity_p01": histogram_percentile(histogram, 1),
        "intensity_p10": histogram_percentile(histogram, 10),
        "intensity_p99": histogram_percentile(histogram, 99),
    }


def size_in_words(height_px: int, width_px: int) -> str:
    return f"{height_px} x {width_px}"


def _check_arrays(
    check: FieldCheck,
    image: NDArray[Any],
    labels: NumberedLabels | None = None,
    ignored: NDArray[np.bool_] | None = None,
    *,
    with_parts: bool,
) -> None:
    histogram = intensity_histogram(image)
    if np.count_nonzero(histogram) == 1:
        check.problems.append(
            f"{check.names[0]}: every pixel is {image.flat[0]}; it shows nothing, remove it and its labels"
        )
    elif looks_like_labels(image):
        check.problems.append(
            f"{check.names[0]}: looks like a label image or a mask: pieces of one value each on a background of 0; put "
            "it into labels/ under the name of its image, or remove it"
        )
    if labels is not None:
        check.label_problems += _problems_of_labels(check.names, image, labels, ignored)
    if check.problems or (with_parts and check.label_problems):
        return
    present = np.flatnonzero(histogram)
    check.intensities = np.column_stack((present, histogram[present]))
    check.doubts += [f"{check.names[0]}: {doubt}" for doubt in image_doubts(image)]
    check.row = _row(check, image, histogram) | fingerprint_of_row(image, with_parts)
    if labels is not None and not check.label_problems:
        _measure_nuclei(check, image, labels, ignored)


def _problems_of_labels(
    names: Sequence[str], image: NDArray[Any], labels: NumberedLabels, ignored: NDArray[np.bool_] | None
) -> list[str]:
    problems = []
    if image.shape != labels.label_image.shape:
        problems.append(f"{_other_size(names[1], names[0], labels.label_image, image)}, label the image again")
    if ignored is not None and image.shape != ignored.shape:
        problems.append(f"{_other_size(names[2], names[0], ignored, image)}, give every pixel of the image its own")
    if ignored is not None and ignored.all():
        problems.append(
            f"{names[2]}: nothing of its field is annotated, not one pixel is 0; annotate a part, or remove the field"
        )
    return problems


def _measure_nuclei(
    check: FieldCheck, image: NDArray[Any], labels: NumberedLabels, ignored: NDArray[np.bool_] | None
) -> None:
    """Measure the labels of a field of which anything is annotated; nuclei that are mostly ignored don't count."""
    check.doubts += [f"{check.names[1]}: {doubt}" for doubt in label_doubts(labels.label_image, ignored)]
    check.labels = measure_labels(image, labels.label_image, ignored)
    instances = check.labels.instances
    check.warnings += _warnings(instances, labels, check.names[1])
    check.areas_px = instances.areas_px
    check.row |= _nuclei_of_row(instances)
    if ignored is not None:
        check.row |= dict(zip(IGNORED_OF_ROW, (check.names[2], float(ignored.mean())), strict=True))


def _read_metadata(check: FieldCheck, plate: Plate, image: bytes) -> None:
    """Note what the files say besides their pixels."""
    fov = check.fov
    try:
        check.pixel_size = plate.pixel_size(fov.image_path, image)
    except InputError as error:
        check.problems.append(str(error).removeprefix(f"{plate.folder}/").rstrip("."))
    if fov.labels_path is not None and len(check.names) > 1 and not check.problems:
        check.warnings += [{"file": check.names[1], "problem": doubt} for doubt in plate.doubts(fov.labels_path)]


def _other_size(name: str, image_name: str, pixels: NDArray[Any], image: NDArray[Any]) -> str:
    return (
        f"{name}: is {size_in_words(*pixels.shape)} px and {image_name} is {size_in_words(*image.shape)} px; they must "
        "be equal"
    )


def _warnings(instances: Instances, labels: NumberedLabels, labels_name: str) -> list[dict[str, Any]]:
    warnings = []
    # People look for a label by its number in the file.
    ids = labels.ids[instances.numbers - 1]
    for number, area_px, pieces in zip(ids, instances.areas_px, instances.pieces, strict=True):
        if pieces > 1:
            warnings.append({"file": labels_name, "label": int(number), "problem": f"{pieces} pieces"})
        if area_px < MIN_AREA_PX:
            warnings.append({"file": labels_name, "label": int(number), "problem": f"{area_px} px"})
    return warnings


def _row(check: FieldCheck, image: NDArray[Any], histogram: NDArray[np.int64]) -> dict[str, Any]:
    fov = check.fov
    return {
        "fov": fov.name,
        "image": check.names[0],
        "labels": check.names[1] if len(check.names) > 1 else None,
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
        **intensities_of(histogram),
    }


def _nuclei_of_row(instances: Instances) -> dict[str, Any]:
    nuclei = len(instances.numbers)
    area_mean_px = float(instances.areas_px.mean()) if nuclei else None
    return dict(zip(NUCLEI_OF_ROW, (nuclei, int(instances.at_edge.sum()), area_mean_px), strict=True))
