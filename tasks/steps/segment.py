"""Segment a plate: a label image for every field, and a table of all nuclei.

Fields whose label image looks wrong to the method are counted, and doubts.json says why, field by field.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pydantic
from numpy.typing import NDArray

from tasks import tracking
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, Workspace
from tasks.cores import cores
from tasks.files import move, of_earlier_try, read_json, written_whole
from tasks.methods.registry import load_segmenter
from tasks.methods.segmentation_params import SegmentationParams, depends_on
from tasks.methods.segmenter import SAMPLED_FIELDS, spread
from tasks.nuclei.errors import InputError
from tasks.nuclei.intensity import brighter, least_span
from tasks.nuclei.measure import nuclei_table
from tasks.nuclei.nuclear_size import NuclearSize, given_size
from tasks.nuclei.plates.files import Fov, Plate, open_plate
from tasks.nuclei.plates.image_files import read_image, read_label_image, write_label_image
from tasks.nuclei.tables import doubts_about_sizes, read_csv, write_csv
from tasks.store.imported_plates import report_of
from tasks.store.provenance import own_proposals, pixel_sizes_trained_on
from tasks.store.registered_model import ModelName, ReadyModelName

if TYPE_CHECKING:
    from tasks.methods.segmenter import Segmenter

FIELDS_READ_AHEAD = 2
FIELDS_BEHIND = 4
IMAGES_KEPT = FIELDS_READ_AHEAD + FIELDS_BEHIND + 2
"""From being read until the nuclei are measured: in between, one is in the networks and one waits to be flooded. A
third-party tool gets all images of a plate before it gives anything back; then they are read again."""
BEHIND_NICENESS = 10
PROGRESS_EVERY_S = 15.0
PIXEL_SIZES_APART = 1.5
"""Nuclei that look so much larger or smaller may be of another kind for networks; the next objective makes about 2."""
MOST_SHOWN = 20
"""Doubts in the result; all are in doubts.json."""

ReadImage = Callable[[Path], NDArray[Any]]

log = logging.getLogger("nucleus")


class Params(SegmentationParams):
    plate: str
    """Imported plate: output of `ingest`."""
    fovs: list[str] | None = pydantic.Field(default=None, min_length=1)
    """Names of the fields to segment; all if not given."""
    nuclear_diameter_px: float | None = pydantic.Field(None, gt=0, title="Nuclear diameter")
    """Of the nuclei of this plate, in pixels: networks that know nuclei of one size see it magnified accordingly. It is
    found in some fields if it isn't given."""
    made_by: ModelName | ReadyModelName | None = None
    """The model, written into every label image."""


def run(params: Params, workspace: Workspace) -> Outcome:
    whole_plate = open_plate(workspace.input(params.plate))
    plate = _with_fovs(whole_plate, params)
    folders = [workspace.input(path) for path in params.networks]
    settings = params.settings.of_cell_line(whole_plate.info.cell_line)
    model = load_segmenter(params.model.method, folders, settings)
    if model.needs_level:
        model = model.covering(_span_of_plate(whole_plate, workspace))
    size = _size_of_nuclei(model, whole_plate, params, workspace)
    if size is not None:
        model = model.magnifying(size.zoom)
    unfinished = [fov for fov in plate.fovs if not _is_done(fov, workspace)]
    if len(unfinished) < len(plate.fovs):
        log.info("%d of %d fields are left of an earlier attempt", len(unfinished), len(plate.fovs))
    problems, predict_seconds = _segment_fields(unfinished, plate, model, params, workspace)
    if problems:
        failed = f"{len(problems)} of {len(plate.fovs)} fields failed, the others are done"
        raise InputError(f"{failed}: {'; '.join(problems)}")
    nuclei = _collect(plate, workspace)
    doubts = _collect_doubts(plate, workspace)
    metrics = {"predict_seconds": round(predict_seconds, 3)}
    if len(nuclei):
        metrics["area_mean_px"] = float(nuclei["area_px"].astype(float).mean())
    counts = {"fovs": len(plate.fovs), "nuclei": len(nuclei), "doubtful_fovs": len(doubts)}
    shown = [f"{fov}: {doubt}" for fov, of_field in doubts.items() for doubt in of_field][:MOST_SHOWN]
    for doubt in shown:
        log.warning("%s; look at its label image", doubt)
    counts["own_proposals"] = own_proposals(params.method, params.networks, plate.folder, workspace.store)
    remarks = [*(size.remarks if size else ()), *_on_pixel_size(model, plate, params, workspace)]
    remarks += _on_own_proposals(counts["own_proposals"])
    values = {"doubts": shown, "remarks": remarks}
    return Outcome({"segmentation": "."}, metrics | _in_numbers(size), counts, values=values)


def _size_of_nuclei(model: Segmenter, plate: Plate, params: Params, workspace: Workspace) -> NuclearSize | None:
    """Give the size that the networks see the nuclei of a plate by; None for networks that it doesn't matter to.

    It is found in fields of the whole plate, so that all parts get the same; an earlier attempt's stays.
    """
    if model.nucleus_px is None:
        if params.nuclear_diameter_px is not None:
            raise InputError(
                f"nuclear_diameter_px: these networks see every plate at the zoom {model.zoom:g}, whatever the size "
                "of its nuclei; leave it out."
            )
        return None
    if params.nuclear_diameter_px is not None:
        return _logged(given_size(params.nuclear_diameter_px, model.nucleus_px), plate)
    found = workspace.checkpoint_dir / "nuclear_size.json"
    diameter_px, zoom, remarks = _once(found, lambda: model.size_in(_readable_images(spread(plate.fovs))))
    return _logged(NuclearSize(diameter_px, zoom, tuple(remarks)), plate)


def _span_of_plate(plate: Plate, workspace: Workspace) -> float:
    """Give how many intensities the grey levels cover at least, by fields of the whole plate, as for the size."""
    found = workspace.checkpoint_dir / "least_span.json"
    return float(_once(found, lambda: least_span(_readable_images(_brighter_fovs(plate)))))


def _once(path: Path, find: Callable[[], Any]) -> Any:
    """Give what an earlier attempt found and wrote as JSON, or find and write it."""
    known = of_earlier_try(path, read_json)
    if known is None:
        known = find()
        with written_whole(path) as beside:
            beside.write_text(json.dumps(known))
    return known


def _on_pixel_size(model: Segmenter, plate: Plate, params: Params, workspace: Workspace) -> list[str]:
    """Say where networks that don't fit a plate's zoom to its nuclei learnt from pixels of quite another size."""
    known = pixel_sizes_trained_on(params.networks, workspace.store) if model.nucleus_px is None else []
    own = plate.info.pixel_size_um
    if not known or known[0] / PIXEL_SIZES_APART <= own <= known[-1] * PIXEL_SIZES_APART:
        return []
    learnt = f"{known[0]:g}" if len(known) == 1 else f"{known[0]:g} to {known[-1]:g}"
    remark = (
        f"its pixels are {own:g} µm wide, and those of the plates that the networks were trained on {learnt} µm, so "
        f"that its nuclei look {'smaller' if own > known[-1] else 'larger'} than those that they know: look at the "
        "outlines and, if they are wrong, use a model that was trained with a nuclear diameter seen, or train on "
        "plates like this one"
    )
    log.warning("%s: %s", plate.info.name, remark)
    return [remark]


def _on_own_proposals(number: int) -> list[str]:
    """Say it where the labels of a plate come from the model that finds its nuclei now."""
    if not number:
        return []
    return [
        f"{number} of its labels were proposed by this model or one that it began from, and then accepted or "
        "corrected: F1 on this plate is better than it would be against labels made without it"
    ]


def _brighter_fovs(plate: Plate) -> list[Fov]:
    """Choose fields whose nuclei are as bright as is usual in the whole plate, so that all parts see it alike."""
    rows = report_of(plate.folder).get("fovs", [])
    contrasts = {plate.folder / row["image"]: row["intensity_p99"] - row["intensity_p10"] for row in rows}
    known = [fov for fov in plate.fovs if fov.image_path in contrasts]
    return brighter(known, [contrasts[fov.image_path] for fov in known], SAMPLED_FIELDS)


def _readable_images(fovs: list[Fov]) -> list[NDArray[Any]]:
    """Read images, but for those that can't be read: the part of the plate that they are in says so."""
    images = []
    for fov in fovs:
        with suppress(InputError, OSError):
            images.append(read_image(fov.image_path))
    return images


def _logged(size: NuclearSize, plate: Plate) -> NuclearSize:
    nuclei = "no nuclei were found" if size.diameter_px is None else f"nuclei of {size.diameter_px:.1f} px"
    log.info("%s: %s, zoom %.2f", plate.info.name, nuclei, size.zoom)
    for remark in size.remarks:
        log.warning("%s: %s", plate.info.name, remark)
    return size


def _in_numbers(size: NuclearSize | None) -> dict[str, float]:
    if size is None:
        return {}
    return {"zoom": size.zoom} | ({} if size.diameter_px is None else {"nuclear_diameter_px": size.diameter_px})


def _with_fovs(plate: Plate, params: Params) -> Plate:
    if params.fovs is None:
        return plate
    by_name = {fov.name: fov for fov in plate.fovs}
    if unknown := [name for name in params.fovs if name not in by_name]:
        raise InputError(f"fovs: {params.plate} has no field {', '.join(unknown[:10])}; it has {len(by_name)} others.")
    return replace(plate, fovs=tuple(by_name[name] for name in params.fovs))


def _segment_fields(
    fovs: list[Fov], plate: Plate, model: Segmenter, params: Params, workspace: Workspace
) -> tuple[list[str], float]:
    """Segment fields into the checkpoint folder; gives the problems met and the seconds of waiting for the networks.

    Fields are read ahead, and nuclei found and written behind, in other threads: the networks never wait.
    """
    (workspace.checkpoint_dir / "labels").mkdir(exist_ok=True)
    problems: list[str] = []
    in_network: deque[Fov] = deque()
    read = lru_cache(IMAGES_KEPT)(read_image)

    def images() -> Iterator[NDArray[Any]]:
        for fov, image_read in _read_ahead(fovs, read, readers):
            try:
                image = image_read.result()
            except (InputError, OSError) as error:
                problems.append(str(error))
                continue
            in_network.append(fov)
            # A method may work in place, and the nuclei are measured in the image as it was.
            yield image.copy()

    predict_seconds, reported = 0.0, time.monotonic()
    behind: deque[Future[None]] = deque()
    # On Linux `os.nice` is for the calling thread: what is done behind takes the time that the networks leave.
    finders = ThreadPoolExecutor(cores(), initializer=os.nice, initargs=(BEHIND_NICENESS,))
    with ThreadPoolExecutor(1) as readers, finders:
        for done, (seen, seconds) in enumerate(_timed(model.look_at_all(images())), start=1):
            predict_seconds += seconds
            if len(behind) == FIELDS_BEHIND:
                behind.popleft().result()
            fov = in_network.popleft()
            behind.append(finders.submit(_find_and_write, fov, read, plate, model, seen, params, workspace))
            if time.monotonic() - reported > PROGRESS_EVERY_S:
                reported = time.monotonic()
                log.info("%d of %d fields", done, len(fovs))
        for field in behind:
            field.result()
    return problems, predict_seconds


def _timed(items: Iterator[Any]) -> Iterator[tuple[Any, float]]:
    """Give each item with the seconds that it was waited for."""
    started = time.monotonic()
    for item in items:
        yield item, time.monotonic() - started
        started = time.monotonic()


def _read_ahead(
    fovs: list[Fov], read: ReadImage, readers: ThreadPoolExecutor
) -> Iterator[tuple[Fov, Future[NDArray[Any]]]]:
    waiting = deque((fov, readers.submit(read, fov.image_path)) for fov in fovs[:FIELDS_READ_AHEAD])
    for following in [*fovs[FIELDS_READ_AHEAD:], *[None] * len(waiting)]:
        yield waiting.popleft()
        if following is not None:
            waiting.append((following, readers.submit(read, following.image_path)))


def _find_and_write(
    fov: Fov, read: ReadImage, plate: Plate, model: Segmenter, seen: Any, params: Params, workspace: Workspace
) -> None:
    """Write a field's label image and, last, its table, which marks it as done."""
    nuclei = model.nuclei_in(seen, model.in_field_px(model.settings))
    table = nuclei_table(nuclei, read(fov.image_path))
    doubts = [*model.doubts_about(seen), *doubts_about_sizes(table, nuclei.label_image.size)]
    where = {"plate": plate.info.name, "well": fov.well, "site": fov.site, "fov": fov.name}
    for position, (column, value) in enumerate(where.items()):
        table.insert(position, column, value)
    made_by = str(params.made_by) if params.made_by else None
    write_label_image(_labels_path(workspace, fov), nuclei.label_image, plate.info.pixel_size_um, made_by)
    _doubts_path(workspace, fov).write_text(json.dumps(doubts))
    with written_whole(_table_path(workspace, fov)) as beside:
        write_csv(table, beside)


def _labels_path(workspace: Workspace, fov: Fov) -> Path:
    return workspace.checkpoint_dir / "labels" / f"{fov.name}.tif"


def _table_path(workspace: Workspace, fov: Fov) -> Path:
    return workspace.checkpoint_dir / f"{fov.name}.csv"


def _doubts_path(workspace: Workspace, fov: Fov) -> Path:
    return workspace.checkpoint_dir / f"{fov.name}.json"


def _is_done(fov: Fov, workspace: Workspace) -> bool:
    """Whether an earlier try left the field done, and whole: nothing of it was flushed but its table."""
    table = of_earlier_try(_table_path(workspace, fov), _read_table)
    if table is None:
        return False
    doubts = of_earlier_try(_doubts_path(workspace, fov), read_json)
    areas = of_earlier_try(_labels_path(workspace, fov), _read_areas)
    if doubts is None or areas is None:
        return False
    is_whole = areas == table["area_px"].astype(int).tolist()
    if not is_whole:
        log.warning("%s: an earlier try left another label image than its table says; it is made again", fov.name)
    return is_whole


def _read_table(path: Path) -> pd.DataFrame:
    # As text, because a field may be called 0012.
    return read_csv(path, dtype=str)


def _read_areas(path: Path) -> list[int]:
    """Give the areas of a label image, as in the table."""
    areas = np.bincount(read_label_image(path).ravel())[1:]
    return [int(area) for area in areas if area]


def _collect(plate: Plate, workspace: Workspace) -> pd.DataFrame:
    tables = [_read_table(_table_path(workspace, fov)) for fov in plate.fovs]
    nuclei = pd.concat(tables, ignore_index=True)
    write_csv(nuclei, workspace.output_dir / "nuclei.csv")
    move(workspace.checkpoint_dir / "labels", workspace.output_dir / "labels")
    return nuclei


def _collect_doubts(plate: Plate, workspace: Workspace) -> dict[str, list[str]]:
    """Write down the fields that may be wrong, if there are any, and why; gives them."""
    doubts = {fov.name: read_json(_doubts_path(workspace, fov)) for fov in plate.fovs}
    found = {name: of_field for name, of_field in doubts.items() if of_field}
    if found:
        (workspace.output_dir / "doubts.json").write_text(json.dumps(found, indent=1))
    return found


def log_result(params: Params, result: Result, store: Path) -> None:
    tracking.Run().log_params({"method": params.method, **params.settings.model_dump()}, "segment")


TASK = Task(
    name="segment",
    version=5,
    params_type=Params,
    run=run,
    log=log_result,
    depends_on=depends_on,
    resources=Resources(PROCESSING, cpu=4, memory_gib=8),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
