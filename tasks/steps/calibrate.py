"""Choose the thresholds of trained networks, on the fields kept back for validation.

Writes calibration.csv: all thresholds that were tried, the best first.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pydantic

from tasks import tracking
from tasks.contract import Outcome, Result, Task, TaskParams, Workspace, read_result
from tasks.methods.shared.training_task import fovs_of
from tasks.nuclei.calibration import KnownField, Trial, calibrate
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates import Fov, read_image, read_label_image
from tasks.nuclei.roi_file import RoiReader, RoiSource
from tasks.nuclei.segmentation import SegmentationSettings

if TYPE_CHECKING:
    from tasks.methods.segmenter import Segmenter

MOST_PIXELS = 64_000_000
"""That the networks see in all: twelve fields of 2160 x 2560 px at zoom 1, whose maps take half a gigabyte."""
PROGRESS_EVERY_S = 15.0
SHOWN_IOU_THRESHOLDS = (0.5, 0.7, 0.9)

log = logging.getLogger("nucleus")


class Params(TaskParams):
    networks: list[str] = pydantic.Field(min_length=1, max_length=2)
    """Trained networks of one method, from the same ROIs."""
    test_time_augmentation: bool = False
    """As it will be in `segment`."""


def run(params: Params, workspace: Workspace) -> Outcome:
    from tasks.methods.segmenter import load_segmenter

    settings = SegmentationSettings(test_time_augmentation=params.test_time_augmentation)
    trained_on = _trained_on(params, workspace)
    model = load_segmenter([workspace.input(path) for path in params.networks], settings)
    names = [name for name, _ in model.searched]
    if not names:
        log.info("there are no thresholds to choose")
        _table([], names).to_csv(workspace.output_dir / "calibration.csv", index=False)
        return Outcome({"calibration": "calibration.csv"}, {}, {"fovs": 0})
    fields = list(_known_fields(_in_turns(trained_on.sources), trained_on, model))
    true_nuclei = any(field.true_labels.any() for field in fields)
    trials = calibrate(fields, model.nuclei_in, settings, model.searched) if true_nuclei else []
    _table(trials, names).to_csv(workspace.output_dir / "calibration.csv", index=False)
    outputs, counts = {"calibration": "calibration.csv"}, {"fovs": len(fields)}
    if not trials or trials[0].mean_f1 == 0:
        reason = "the networks find none of the nuclei there" if trials else "there are no nuclei to find"
        log.warning("no thresholds can be chosen on %d validation fields: %s; the defaults stay", len(fields), reason)
        return Outcome(outputs, settings.model_dump(include=set(names)), counts)
    best = trials[0]
    chosen = ", ".join(f"{name} {value:g}" for name, value in best.values.items())
    scores = {f"validation_f1_at_{t}": best.f1_at(t) for t in SHOWN_IOU_THRESHOLDS}
    log.info(
        "%s: F1 %.3f at 0.7 and %.3f at 0.9 on %d validation fields",
        *(chosen, best.f1_at(0.7), best.f1_at(0.9), len(fields)),
    )
    return Outcome(outputs, best.values | scores, counts)


@dataclass(frozen=True)
class TrainedOn:
    """What the networks' ROIs were cut from."""

    zoom: float
    sources: list[RoiSource]
    """Those kept back for validation."""
    fovs: dict[tuple[str, str], Fov]
    """By the names of plate and field."""


def _trained_on(params: Params, workspace: Workspace) -> TrainedOn:
    """Follow the stored results from the networks to their ROIs and from there to the plates."""
    paths = {read_result(workspace.input(path)).params["rois"] for path in params.networks}
    if len(paths) > 1:
        raise InputError(f"The networks were trained on different ROIs: {', '.join(sorted(paths))}; train both on one.")
    path = paths.pop()
    reader = RoiReader(workspace.input(path))
    return TrainedOn(reader.zoom, reader.validation_sources(), fovs_of(path, workspace))


def _in_turns(sources: list[RoiSource]) -> Iterator[RoiSource]:
    """One of each cell line, then the next of each, so that a limit cuts all of them alike."""
    cell_lines = sorted({source.cell_line for source in sources})
    of_each = [[source for source in sources if source.cell_line == cell_line] for cell_line in cell_lines]
    for turn in zip_longest(*of_each):
        yield from (source for source in turn if source is not None)


def _known_fields(sources: Iterator[RoiSource], trained_on: TrainedOn, model: Segmenter) -> Iterator[KnownField]:
    """Predict fields or regions until they have more pixels than the limit."""
    pixels, reported = 0.0, time.monotonic()
    for number, source in enumerate(sources, start=1):
        if pixels > MOST_PIXELS:
            return
        y0, x0, y1, x1 = source.region
        pixels += (y1 - y0) * (x1 - x0) * trained_on.zoom**2
        fov = trained_on.fovs[source.plate, source.fov]
        assert fov.labels_path is not None
        seen = model.look_at(read_image(fov.image_path)[y0:y1, x0:x1])
        # A copy, because a part of an array keeps the whole of it in memory.
        yield KnownField(seen, read_label_image(fov.labels_path)[y0:y1, x0:x1].copy())
        if time.monotonic() - reported > PROGRESS_EVERY_S:
            reported = time.monotonic()
            log.info("%d of %d validation fields, or fewer if they are large", number, len(trained_on.sources))


def _table(trials: list[Trial], names: list[str]) -> pd.DataFrame:
    columns = (*names, "mean_f1", *(f"f1_at_{t}" for t in SHOWN_IOU_THRESHOLDS))
    rows = [(*trial.values.values(), trial.mean_f1, *map(trial.f1_at, SHOWN_IOU_THRESHOLDS)) for trial in trials]
    return pd.DataFrame(rows, columns=columns)


def publish(params: Params, result: Result, store: Path) -> None:
    run = tracking.Run()
    run.log_points([tracking.Point(f"calibrate/{name}", value) for name, value in result.metrics.items()])
    run.log_artifact(store / result.outputs["calibration"], "calibrate")


TASK = Task(name="calibrate", version=3, params_type=Params, run=run, publish=publish)

if __name__ == "__main__":
    sys.exit(TASK.main())
