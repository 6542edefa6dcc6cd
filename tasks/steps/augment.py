"""Make the training ROIs: scaled, turned and changed crops of annotated fields, with their targets.

The amount is shared equally between the cell lines and, within one, between the scales and fields. With
`new_plates`, these get `new_share` of it, and the others the rest, so that what was learnt isn't forgotten.
Validation ROIs come from fields of their own, or from a region of its own where a cell line has one
field; fields that are copies of each other count as one. `split="paper"` draws them from the same fields, as the
paper did. Plates with doubts that nobody has confirmed are refused. Of fields that are annotated in part, ROIs
are cut where something is annotated, and say what isn't.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from tasks import tracking
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.cores import cores, end_with_parent
from tasks.methods.method import PresetName
from tasks.nuclei import augmentation as changes
from tasks.nuclei.annotated_windows import AnnotatedWindows
from tasks.nuclei.augmentation import Augmentation, AugmentationName, augmented_roi
from tasks.nuclei.contact_sheet import write_contact_sheet
from tasks.nuclei.copies import Fingerprint, copies_within, grouped, pixels_sha256
from tasks.nuclei.errors import InputError, first_of, raise_if_any
from tasks.nuclei.intensity import GreyLevels, Scaling, grey_levels
from tasks.nuclei.nuclear_size import LEAST_ZOOM, MOST_ZOOM, areas_in, given_size, nuclear_diameter_px
from tasks.nuclei.plates.files import FROZEN_REPORT, Plate, open_plate
from tasks.nuclei.plates.image_files import read_ignored, read_image, read_label_image
from tasks.nuclei.roi_file import ROI_FILE, ROI_TABLE, RoiBlock, RoiReader, RoiSource, RoiWriter, as_stored
from tasks.nuclei.targets import blurred_border, distance_map, not_known
from tasks.nuclei.validation_split import ValidationSplit, lot_of, regions_by_share
from tasks.nuclei.view import View
from tasks.store.imported_plates import report_of

ROIS_PER_BLOCK = 64
ROIS_ON_CONTACT_SHEET = 24
PROGRESS_EVERY_S = 5.0
SENTENCES_SHOWN = 3

log = logging.getLogger("nucleus")


PRESETS: dict[PresetName, dict[str, Any]] = {
    "laptop": {"rois": 5000, "augmentation": "Gentle", "scaling": "percentile", "nucleus_px": 28},
    "paper": {"scaling": "minmax"},
}
"""Values of what isn't given; the paper's are the defaults, but for the scaling."""


class Params(TaskParams):
    plates: list[str] = pydantic.Field(min_length=1)
    """Imported training plates: outputs of `ingest`."""
    new_plates: list[str] = pydantic.Field(default_factory=list)
    """Those of `plates` that the network that the training resumes from hasn't seen yet."""
    new_share: float = pydantic.Field(0.5, gt=0, lt=1)
    """Share of the ROIs that the new plates get, where there are new and others."""
    rois: int = pydantic.Field(35_000, ge=10, le=10_000_000, title="ROIs")
    """Number of training crops of 256 x 256 px in all, those for validation included."""
    roi_px: int = pydantic.Field(256, ge=32, le=2048, multiple_of=32)
    """Side of a ROI."""
    nucleus_px: float | None = pydantic.Field(None, ge=8, le=128, title="Nuclear diameter seen")
    """Each plate is magnified first so that its nuclei have this diameter in pixels, by 0.25 to 4; so does a network
    trained on these ROIs with every plate that it segments, whose nuclei it measures itself. It finds nuclei of all
    sizes equally well."""
    zoom: float = pydantic.Field(1.0, ge=LEAST_ZOOM, le=MOST_ZOOM, title="Zoom")
    """Instead, all fields are magnified by this, whatever the size of their nuclei, here and whenever a network trained
    on these ROIs segments; written with a point: 1.5."""
    scaling: Scaling = pydantic.Field(
        "percentile", title="Intensity scaling", json_schema_extra={"enum": ["percentile", "minmax"]}
    )
    """How intensities become the grey levels that networks see, here and whenever a network trained on these ROIs
    segments. percentile: hot pixels, dead cells, blank borders and glare don't change how bright nuclei look, and faint
    differences are kept. minmax: 8 bits from the darkest to the brightest pixel of a field, as in the paper; one hot
    pixel can hide all nuclei."""
    augmentation: AugmentationName = pydantic.Field("Full", title="Augmentation")
    """How the crops are changed. Full: the paper's. Min_Blur, Min_Contr, Min_Noise: Full without blur, changes of
    contrast, noise. Min_Scaling: Full at one scale. None: crops only. Gentle: for short trainings."""
    split: Literal["field", "paper"] = "field"
    """How validation ROIs are chosen: from fields or regions of their own, or at random (the paper's)."""
    validation_share: float = pydantic.Field(0.2, gt=0, lt=1)
    """Share of the ROIs, and about that of the fields, for validation. The pixels of a field decide: it stays where it
    is when other plates arrive, and with every seed."""
    random_seed: int = pydantic.Field(0, ge=0, lt=2**31)

    @pydantic.model_validator(mode="after")
    def _magnify_in_one_way(self) -> Params:
        if self.nucleus_px is not None and self.zoom != 1:
            raise ValueError(
                f"zoom={self.zoom:g} and nucleus_px={self.nucleus_px:g}: plates are magnified alike or by the size of "
                "their nuclei; give one of the two"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _know_new_plates(self) -> Params:
        if unknown := sorted(set(self.new_plates) - set(self.plates)):
            raise ValueError(f"new_plates: {', '.join(unknown)} must be in plates too")
        return self

    @property
    def view(self) -> View:
        return View(scaling=self.scaling, zoom=self.zoom, nucleus_px=self.nucleus_px)


@dataclass(frozen=True, order=True)
class Source(RoiSource):
    """A field, or a region of it, that ROIs are cut from, with its files."""

    image_path: Path
    labels_path: Path
    is_validation: bool
    is_new: bool
    ignored_path: Path | None = None


@dataclass(frozen=True)
class Block:
    """ROIs of one source and one scale that one process makes at a time."""

    first_row: int
    rows: int
    source_index: int
    source: Source
    scale: float


def run(params: Params, workspace: Workspace) -> Outcome:
    plates = [open_plate(workspace.input(path)) for path in params.plates]
    raise_if_any([problem for plate in plates for problem in problems_of_doubts(plate)], workspace.store)
    augmentation = changes.PRESETS[params.augmentation]
    sources = split_sources(plates, params)
    blocks = list(plan_blocks(sources, augmentation.scales, params))
    path = workspace.output_dir / ROI_FILE
    has_ignored = any(source.ignored_path for source in sources)
    with RoiWriter(path, params.rois, params.roi_px, params.view, sources, has_ignored) as writer:
        _write_blocks(writer, blocks, augmentation, params)
    sheet = workspace.output_dir / "contact_sheet.png"
    write_contact_sheet(path, sheet, ROIS_ON_CONTACT_SHEET, params.random_seed)
    reader = RoiReader(path, leaves_out_ignored=True)
    counts = {"training_rois": len(reader.training_rows), "validation_rois": len(reader.validation_rows)}
    if not all(counts.values()):
        raise InputError(f"{params.rois} ROIs leave none for training or validation; raise rois.")
    return Outcome({"rois": ROI_FILE, "contact_sheet": "contact_sheet.png"}, {}, counts)


def split_sources(plates: list[Plate], params: Params) -> list[Source]:
    """Fields or regions with their part (training or validation), in a fixed order; `plates` are those of the params.

    Each cell line, of new plates and of others, has both parts. A field that was trained on isn't kept back later, when
    there are other plates too, but where that would be more than half of a cell line.

    With `split="paper"` every field is in both parts: the part is drawn per ROI.
    """
    sources = []
    by_group: dict[tuple[bool, str], list[Source]] = {}
    for path, plate in zip(params.plates, plates, strict=True):
        is_new = path in params.new_plates
        by_group.setdefault((is_new, plate.info.cell_line), []).extend(fields_of(plate, is_new, params))
    if params.split == "paper":
        return [field for group in sorted(by_group) for field in sorted(by_group[group])]
    lots = _lots_of_images(plates)
    split = ValidationSplit(params.validation_share)
    for group in sorted(by_group):
        fields = sorted(by_group[group])
        drawn = [lots[field.image_path] for field in fields]
        if len(set(drawn)) == 1:
            sources += _split_one_image(fields, drawn[0], split)
        else:
            sources += _split_by_field(fields, drawn, split)
    return sources


def fields_of(plate: Plate, is_new: bool, params: Params) -> list[Source]:
    """Give the fields of a plate, for training, with the zoom that all of them have."""
    fields, areas = [], []
    for fov in plate.fovs:
        if fov.labels_path is None:
            raise InputError(f"{fov.image_path} has no label image; training needs one for every field.")
        label_image = read_label_image(fov.labels_path)
        areas.append(areas_in(label_image, read_ignored(fov.ignored_path) if fov.ignored_path else None))
        where = (plate.info.name, plate.info.cell_line, fov.name, (0, 0, *label_image.shape), params.zoom)
        fields.append(Source(*where, fov.image_path, fov.labels_path, False, is_new, fov.ignored_path))
    if params.nucleus_px is None:
        return fields
    zoom = _zoom_of(plate.info.name, nuclear_diameter_px(areas), params.nucleus_px)
    return [replace(field, zoom=zoom) for field in fields]


def _zoom_of(name: str, diameter_px: float | None, nucleus_px: float) -> float:
    """Give the zoom of a plate; one without a nucleus is seen as it will be in use, where none is found either."""
    if diameter_px is None:
        log.info("%s: no nuclei, zoom 1", name)
        return 1.0
    size = given_size(diameter_px, nucleus_px)
    log.info("%s: nuclei of %.1f px, zoom %.2f", name, diameter_px, size.zoom)
    for remark in size.remarks:
        log.warning("%s: %s", name, remark)
    return size.zoom


def _lots_of_images(plates: list[Plate]) -> dict[Path, float]:
    """Give the lot of each image in the split; copies of one, which are named in the log, have the same."""
    fingerprints = {
        f"{plate.folder.name}/{row['image']}": Fingerprint.of_row(row)
        for plate in plates
        for row in report_of(plate.folder).get("fovs", [])
    }
    paths = {
        f"{plate.folder.name}/{fov.image_path.relative_to(plate.folder).as_posix()}": fov.image_path
        for plate in plates
        for fov in plate.fovs
    }
    pairs = copies_within(fingerprints)
    if pairs:
        named = first_of([f"{copy.name} {copy.kind} {copy.other}" for copy in pairs], separator="; ")
        log.warning("copies are kept on one side of the validation split: %s", named)
    hashes = {name: _pixels_sha256(fingerprints.get(name), path) for name, path in paths.items()}
    groups = grouped(list(paths), pairs)
    return {paths[name]: lot_of(hashes[other] for other in group) for group in groups for name in group}


def _pixels_sha256(fingerprint: Fingerprint | None, image_path: Path) -> str:
    """Give the hash that the pixels have in every dtype; of an image imported without a fingerprint, as it is."""
    return max(fingerprint.values) if fingerprint else pixels_sha256(read_image(image_path))


def _split_by_field(fields: list[Source], lots: list[float], split: ValidationSplit) -> list[Source]:
    kept_back = split.of_group(lots)
    if kept_back is None:
        raise _copies_of_others(fields)
    return [replace(field, is_validation=is_kept) for field, is_kept in zip(fields, kept_back, strict=True)]


def _split_one_image(fields: list[Source], lot: float, split: ValidationSplit) -> list[Source]:
    """Split the largest of the fields, all copies of one image, by region, and leave out the others."""
    if not split.may_cut(lot):
        raise _copies_of_others(fields)
    split.cut(lot)
    largest = max(fields, key=lambda field: field.region[2] * field.region[3])
    if len(fields) > 1:
        log.warning(
            "all %d fields of %s are copies of one; only %s is used", len(fields), largest.cell_line, largest.fov
        )
    return _split_by_region(largest, split.share)


def _copies_of_others(fields: list[Source]) -> InputError:
    plates = ", ".join(sorted({field.plate for field in fields}))
    return InputError(
        f"{plates}: fields of {fields[0].cell_line} are copies of fields of other cell lines, or of plates that are "
        "not new, so that they can't be divided into training and validation; leave one of these plates out."
    )


def problems_of_doubts(plate: Plate) -> list[str]:
    """Say which doubts of a plate nobody has confirmed; plates of before there were doubts have none."""
    doubts = report_of(plate.folder).get("doubts", [])
    if not doubts:
        return []
    shown = first_of(doubts, SENTENCES_SHOWN, "; ")
    return [
        f"plate {plate.info.name} has labels or images in doubt: {shown}. Look at all of them, in its {FROZEN_REPORT}; "
        'correct them, or write "labels_confirmed": true into plate.json, which holds for these files as they are, and '
        "import the plate again"
    ]


def _split_by_region(field: Source, share: float) -> list[Source]:
    """Cut the field across its longer side; the last part is for validation."""
    ignored = read_ignored(field.ignored_path) if field.ignored_path else None
    regions = regions_by_share((field.region[2], field.region[3]), share, ignored)
    return [replace(field, region=region, is_validation=i == 1) for i, region in enumerate(regions)]


def plan_blocks(sources: list[Source], scales: tuple[float, ...], params: Params) -> Iterator[Block]:
    """Share the ROIs between new plates and others, cell lines, parts, scales and fields, and number the rows."""
    row = 0
    for group, in_group in _groups(sources, params):
        for is_validation in (False, True):
            part = [(index, source) for index, source in group if source.is_validation == is_validation]
            if not part:
                continue
            in_validation = 0 if params.split == "paper" else round(in_group * params.validation_share)
            in_part = in_validation if is_validation else in_group - in_validation
            # Fields are dealt out scale by scale, so that a remainder goes to another field each time.
            jobs = [(scale, index, source) for scale in scales for index, source in part]
            for (scale, index, source), amount in zip(jobs, _shares(in_part, len(jobs)), strict=True):
                for first in range(0, amount, ROIS_PER_BLOCK):
                    rows = min(ROIS_PER_BLOCK, amount - first)
                    yield Block(row, rows, index, source, scale)
                    row += rows


def _groups(sources: list[Source], params: Params) -> Iterator[tuple[list[tuple[int, Source]], int]]:
    """Give the sources of each cell line, of new plates and of others, with their numbers and their amount of ROIs."""
    kinds = sorted({source.is_new for source in sources})
    in_new = round(params.rois * params.new_share)
    amounts = {False: params.rois - in_new, True: in_new} if len(kinds) == 2 else {kinds[0]: params.rois}
    for is_new in kinds:
        cell_lines = sorted({source.cell_line for source in sources if source.is_new == is_new})
        for cell_line, amount in zip(cell_lines, _shares(amounts[is_new], len(cell_lines)), strict=True):
            group = (is_new, cell_line)
            yield [(i, s) for i, s in enumerate(sources) if (s.is_new, s.cell_line) == group], amount


def _shares(amount: int, parts: int) -> list[int]:
    """Split `amount` into whole numbers that differ by one at most, evenly spread."""
    edges = [amount * part // parts for part in range(parts + 1)]
    return [stop - start for start, stop in pairwise(edges)]


def make_block(block: Block, augmentation: Augmentation, params: Params) -> RoiBlock:
    """Make the ROIs of a block; every ROI's random numbers depend on the seed and its row alone."""
    source = block.source
    y0, x0, y1, x1 = source.region
    image, label_image = _read_field(source.image_path, source.labels_path, params.scaling)
    image, label_image = image[y0:y1, x0:x1], label_image[y0:y1, x0:x1]
    in_part = None
    if source.ignored_path is not None:
        in_part = AnnotatedWindows(read_ignored(source.ignored_path)[y0:y1, x0:x1])
    rows = np.zeros(block.rows, ROI_TABLE)
    rois = []
    for i in range(block.rows):
        rng = np.random.default_rng([params.random_seed, block.first_row + i])
        scale = block.scale * source.zoom
        roi = augmented_roi(image, label_image, scale, params.roi_px, augmentation, rng, in_part)
        y, x, height, width = roi.window
        is_validation = rng.random() < params.validation_share if params.split == "paper" else source.is_validation
        rows[i] = (block.source_index, roi.scale, y + y0, x + x0, height, width, is_validation)
        rois.append(roi)
    return RoiBlock(
        np.stack([as_stored(roi.image) for roi in rois]),
        np.stack([roi.label_image for roi in rois]),
        np.stack([_as_uint8(distance_map(roi.label_image)) for roi in rois]),
        np.stack([_as_uint8(blurred_border(roi.label_image)) for roi in rois]),
        rows,
        None if in_part is None else np.stack([not_known(roi.label_image, roi.ignored) for roi in rois]),
    )


@lru_cache(maxsize=8)
def _read_field(image_path: Path, labels_path: Path, scaling: Scaling) -> tuple[GreyLevels, NDArray[np.integer]]:
    return grey_levels(read_image(image_path), scaling), read_label_image(labels_path)


def _as_uint8(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(values * 255).astype(np.uint8)


def _write_blocks(writer: RoiWriter, blocks: list[Block], augmentation: Augmentation, params: Params) -> None:
    """Make blocks on all cores and write them in order; few are in memory at a time."""
    processes = cores()
    make = partial(make_block, augmentation=augmentation, params=params)
    written, reported = 0, time.monotonic()
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        for first in range(0, len(blocks), 8 * processes):
            part = blocks[first : first + 8 * processes]
            for block, made in zip(part, pool.map(make, part), strict=True):
                writer.write(block.first_row, made)
                written += block.rows
            if time.monotonic() - reported > PROGRESS_EVERY_S or written == params.rois:
                reported = time.monotonic()
                log.info("%d of %d ROIs", written, params.rois)


def log_result(params: Params, result: Result, store: Path) -> None:
    run = tracking.Run()
    run.log_params(params.model_dump(exclude={"plates"}), "augment")
    run.log_artifact(store / result.outputs["contact_sheet"], "augment")


TASK = Task(
    name="augment",
    version=6,
    params_type=Params,
    run=run,
    log=log_result,
    resources=Resources(PROCESSING, cpu=8, memory_gib=8),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
