"""Choose the thresholds of the watershed for trained networks, on the fields kept back for validation.

Writes calibration.csv: all thresholds that were tried, the best first.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pydantic

from tasks import tracking
from tasks.contract import Outcome, Result, Task, TaskParams, Workspace
from tasks.nuclei.calibration import KnownField, Trial, calibrate
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates import Fov, open_plate, read_image, read_label_image
from tasks.nuclei.roi_file import RoiReader, RoiSource
from tasks.nuclei.segmentation import SegmentationSettings

if TYPE_CHECKING:
    from tasks.nuclei.models.fpn2_ws import Fpn2Ws

MOST_PIXELS = 64_000_000
"""Of all fields that are looked at: twelve of 2160 x 2560 px, whose maps take half a gigabyte."""
SHOWN_IOU_THRESHOLDS = (0.5, 0.7, 0.9)

log = logging.getLogger("nucleus")


class Params(TaskParams):
    networks: list[str] = pydantic.Field(min_length=1, max_length=2)
    """Trained networks, outputs of `train_fpn`: one for both targets, or one for each."""
    rois: str
    """ROI file that they were trained on, output of `augment`: it says what was kept back for validation."""
    plates: list[str] = pydantic.Field(min_length=1)
    """Frozen training plates that the ROIs are from: outputs of `ingest`."""
    test_time_augmentation: bool = False
    """As it will be in `segment`."""


def run(params: Params, workspace: Workspace) -> Outcome:
    from tasks.nuclei.models.fpn import load_fpn
    from tasks.nuclei.models.fpn2_ws import Fpn2Ws

    settings = SegmentationSettings(test_time_augmentation=params.test_time_augmentation)
    model = Fpn2Ws([load_fpn(workspace.input(path)) for path in params.networks], settings)
    sources = RoiReader(workspace.input(params.rois)).validation_sources()
    fovs = _fovs_by_name(params, workspace)
    fields = list(_known_fields(_in_turns(sources), fovs, model))
    trials = calibrate(fields, settings)
    _table(trials).to_csv(workspace.output_dir / "calibration.csv", index=False)
    best = trials[0]
    if best.mean_f1 == 0:
        log.warning("the networks find no nucleus of the validation fields; the thresholds stay as they are")
        best = Trial(settings.marker_threshold, settings.foreground_threshold, best.f1)
    log.info(
        "marker threshold %g, foreground threshold %g: F1 %.3f at 0.7 and %.3f at 0.9 on %d validation fields",
        *(best.marker_threshold, best.foreground_threshold, best.f1_at(0.7), best.f1_at(0.9), len(fields)),
    )
    metrics = {"marker_threshold": best.marker_threshold, "foreground_threshold": best.foreground_threshold}
    metrics |= {f"validation_f1_at_{t}": best.f1_at(t) for t in SHOWN_IOU_THRESHOLDS}
    return Outcome({"calibration": "calibration.csv"}, metrics, {"fields": len(fields)})


def _fovs_by_name(params: Params, workspace: Workspace) -> dict[tuple[str, str], Fov]:
    plates = [open_plate(workspace.input(path)) for path in params.plates]
    return {(plate.info.name, fov.name): fov for plate in plates for fov in plate.fovs}


def _in_turns(sources: list[RoiSource]) -> Iterator[RoiSource]:
    """One of each cell line, then the next of each, so that a limit cuts all of them alike."""
    cell_lines = sorted({source.cell_line for source in sources})
    of_each = [[source for source in sources if source.cell_line == cell_line] for cell_line in cell_lines]
    for turn in zip_longest(*of_each):
        yield from (source for source in turn if source is not None)


def _known_fields(
    sources: Iterator[RoiSource], fovs: dict[tuple[str, str], Fov], model: Fpn2Ws
) -> Iterator[KnownField]:
    """Predict fields or regions until they have more pixels than the limit."""
    pixels = 0
    for source in sources:
        if pixels > MOST_PIXELS:
            return
        y0, x0, y1, x1 = source.region
        pixels += (y1 - y0) * (x1 - x0)
        fov = fovs.get((source.plate, source.fov))
        if fov is None or fov.labels_path is None:
            raise InputError(f"{source.plate} has no field {source.fov} with labels; give the plates of the ROI file.")
        region = np.s_[y0:y1, x0:x1]
        maps = model.predict_maps(read_image(fov.image_path))
        yield KnownField(maps[0][region], maps[1][region], read_label_image(fov.labels_path)[region])


def _table(trials: list[Trial]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "marker_threshold": trial.marker_threshold,
            "foreground_threshold": trial.foreground_threshold,
            "mean_f1": trial.mean_f1,
            **{f"f1_at_{t}": trial.f1_at(t) for t in SHOWN_IOU_THRESHOLDS},
        }
        for trial in trials
    )


def publish(params: Params, result: Result, store: Path) -> None:
    run = tracking.Run()
    run.log_points([tracking.Point(f"calibrate/{name}", value) for name, value in result.metrics.items()])
    run.log_artifact(store / result.outputs["calibration"], "calibrate")


TASK = Task(name="calibrate", version=1, params_type=Params, run=run, publish=publish)

if __name__ == "__main__":
    sys.exit(TASK.main())
