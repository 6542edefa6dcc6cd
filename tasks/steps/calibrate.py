"""Choose the thresholds of trained networks, on the fields kept back for validation.

Those for all cell lines together, and others for the cell lines for which these are better. Writes calibration.csv: all
thresholds that were tried, for each cell line the chosen ones first.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pydantic

from tasks import tracking
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, Workspace
from tasks.cores import cores
from tasks.methods.registry import found_methods, load_segmenter, method_named
from tasks.methods.segmentation_params import SegmentationParams, depends_on
from tasks.nuclei.calibration import KnownField, Trial, calibrate, calibrate_cell_lines
from tasks.nuclei.ignored import counted_nuclei
from tasks.nuclei.plates.files import Fov
from tasks.nuclei.plates.image_files import read_ignored, read_image, read_label_image
from tasks.nuclei.roi_file import RoiReader, RoiSource
from tasks.nuclei.scoring import REPORTED_IOU_THRESHOLDS, SHOWN_IOU_THRESHOLDS, pool
from tasks.nuclei.segmentation import SegmentationSettings
from tasks.nuclei.tables import write_csv
from tasks.store.provenance import fovs_of_rois, rois_of_networks

if TYPE_CHECKING:
    from tasks.methods.segmenter import Segmenter

MOST_PIXELS = 64_000_000
"""In all, as the fields are or as the networks see them: twelve of 2160 x 2560 px, whose maps take half a gigabyte."""
PROGRESS_EVERY_S = 15.0
ALL_CELL_LINES = "all"
"""Stands for them in the table."""

log = logging.getLogger("nucleus")


class Params(SegmentationParams):
    rois: str | None = pydantic.Field(None, exclude_if=lambda path: path is None)
    """ROI file: output of `augment`, on whose fields kept back for validation the settings are chosen. If not given,
    the one that the networks were trained on."""
    search: list[str] = pydantic.Field(default_factory=list)
    """Names of the settings to choose. If not given, those that the method searches and `settings` doesn't give."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _search_what_is_not_given(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "search" in values or values.get("method") not in found_methods():
            return values
        given = values.get("settings") or {}
        names = given.model_fields_set if isinstance(given, SegmentationSettings) else given
        return {**values, "search": [name for name in method_named(values["method"]).search if name not in names]}

    @pydantic.model_validator(mode="after")
    def _search_what_the_method_has(self) -> Params:
        if unknown := [name for name in self.search if name not in self.model.method.search]:
            allowed = ", ".join(self.model.method.search) or "none"
            raise ValueError(f"search: {', '.join(unknown)} can't be searched for {self.method}; allowed: {allowed}")
        return self


def run(params: Params, workspace: Workspace) -> Outcome:
    if not params.search:
        return _nothing_chosen(params, workspace)
    trained_on = _trained_on(params, workspace)
    folders = [workspace.input(path) for path in params.networks]
    model = load_segmenter(params.model.method, folders, params.settings)
    names = [name for name in params.search if name not in model.unused_settings]
    if not names:
        return _nothing_chosen(params, workspace)
    fields = _known_fields(_in_turns(trained_on.sources), trained_on, model)
    searched = [(name, params.model.method.search[name]) for name in names]
    settings = params.settings.model_copy(update={"for_cell_lines": {}})
    everything = [field for of_line in fields.values() for field in of_line]
    true_nuclei = any(counted_nuclei(field.true_labels, field.ignored).any() for field in everything)
    trials = calibrate(everything, model.nuclei_in, settings, searched, cores()) if true_nuclei else []
    if not trials or trials[0].mean_f1 == 0:
        _write_table([(ALL_CELL_LINES, trials)], names, workspace)
        reason = "the networks find none of the nuclei there" if trials else "there are no nuclei to find"
        log.warning("nothing can be chosen on %d validation fields: %s; the defaults stay", len(everything), reason)
        return _outcome(params.settings, {}, len(everything))
    settings = settings.model_copy(update=trials[0].values)
    several = len(fields) > 1
    of_lines = calibrate_cell_lines(fields, model.nuclei_in, settings, searched, cores()) if several else {}
    _write_table([(ALL_CELL_LINES, trials), *of_lines.items()], names, workspace)
    return _chosen(settings, trials[0], {name: of_line[0] for name, of_line in of_lines.items()}, len(everything))


def _chosen(settings: SegmentationSettings, best: Trial, of_lines: dict[str, Trial], fovs: int) -> Outcome:
    """Give the settings, and what all fields reach where each is segmented with those for its cell line."""
    own = {name: trial.values for name, trial in of_lines.items() if trial.values != best.values}
    together = Trial(best.values, pool([trial.counts for trial in of_lines.values()])) if of_lines else best
    for name, values in {f"all of {fovs} validation fields": best.values, **own}.items():
        log.info("for %s: %s", name, ", ".join(f"{setting} {value:g}" for setting, value in values.items()))
    log.info("F1 %s", " and ".join(f"{together.f1_at(t):.3f} at {t}" for t in SHOWN_IOU_THRESHOLDS))
    scores = {f"validation_f1_at_{t}": together.f1_at(t) for t in REPORTED_IOU_THRESHOLDS}
    return _outcome(settings.model_copy(update={"for_cell_lines": own}), best.values | scores, fovs)


def _nothing_chosen(params: Params, workspace: Workspace) -> Outcome:
    log.info("there is nothing to choose")
    _write_table([], [], workspace)
    return _outcome(params.settings, {}, 0)


def _outcome(settings: SegmentationSettings, metrics: dict[str, float], fovs: int) -> Outcome:
    """Hand on all settings, so that segmenting with them needs no other source."""
    values = {"settings": settings.model_dump(mode="json")}
    return Outcome({"calibration": "calibration.csv"}, metrics, {"fovs": fovs}, values=values)


@dataclass(frozen=True)
class TrainedOn:
    """What the networks' ROIs were cut from."""

    sources: list[RoiSource]
    """Those kept back for validation."""
    fovs: dict[tuple[str, str], Fov]
    """By the names of plate and field."""


def _trained_on(params: Params, workspace: Workspace) -> TrainedOn:
    path = params.rois or rois_of_networks(params.networks, workspace.store)
    reader = RoiReader(workspace.input(path), leaves_out_ignored=True)
    return TrainedOn(reader.validation_sources(), fovs_of_rois(path, workspace.store))


def _in_turns(sources: list[RoiSource]) -> Iterator[RoiSource]:
    """One of each cell line, then the next of each, so that a limit cuts all of them alike."""
    cell_lines = sorted({source.cell_line for source in sources})
    of_each = [[source for source in sources if source.cell_line == cell_line] for cell_line in cell_lines]
    for turn in zip_longest(*of_each):
        yield from (source for source in turn if source is not None)


def _known_fields(sources: Iterator[RoiSource], trained_on: TrainedOn, model: Segmenter) -> dict[str, list[KnownField]]:
    """Predict whole fields, by cell line, until they have more pixels than the limit."""
    pixels, reported = 0.0, time.monotonic()
    fields: dict[str, list[KnownField]] = {}
    for number, source in enumerate(sources, start=1):
        if pixels > MOST_PIXELS:
            break
        fov = trained_on.fovs[source.plate, source.fov]
        assert fov.labels_path is not None
        image = read_image(fov.image_path)
        pixels += image.size * max(source.zoom, 1) ** 2
        y0, x0, y1, x1 = source.region
        region = slice(y0, y1), slice(x0, x1)
        looking = model.magnifying(source.zoom)
        # A copy, because a part of an array keeps the whole of it in memory.
        true_labels = read_label_image(fov.labels_path)[region].copy()
        ignored = read_ignored(fov.ignored_path)[region].copy() if fov.ignored_path else None
        zoom = looking.zoom if looking.nucleus_px else 1.0
        known = KnownField(looking.look_at(image), true_labels, zoom, region, ignored)
        fields.setdefault(source.cell_line, []).append(known)
        if time.monotonic() - reported > PROGRESS_EVERY_S:
            reported = time.monotonic()
            log.info("%d of %d validation fields, or fewer if they are large", number, len(trained_on.sources))
    return fields


def depends_on_search(params: Params, store: Path) -> list[Path | str]:
    """Give what a calibration depends on: what a segmentation does, and which values are tried."""
    search = params.model.method.search
    return [*depends_on(params, store), *(f"{name}: {list(search[name])}" for name in params.search)]


def _write_table(trials: list[tuple[str, list[Trial]]], names: list[str], workspace: Workspace) -> None:
    columns = ("cell_line", *names, "mean_f1", *(f"f1_at_{t}" for t in REPORTED_IOU_THRESHOLDS))
    rows = [
        (cell_line, *map(trial.values.get, names), trial.mean_f1, *map(trial.f1_at, REPORTED_IOU_THRESHOLDS))
        for cell_line, of_line in trials
        for trial in of_line
    ]
    write_csv(pd.DataFrame(rows, columns=columns), workspace.output_dir / "calibration.csv")


def log_result(params: Params, result: Result, store: Path) -> None:
    run = tracking.Run()
    run.log_points([tracking.Point(f"calibrate/{name}", value) for name, value in result.metrics.items()])
    run.log_artifact(store / result.outputs["calibration"], "calibrate")


TASK = Task(
    name="calibrate",
    version=5,
    params_type=Params,
    run=run,
    log=log_result,
    depends_on=depends_on_search,
    resources=Resources(PROCESSING, cpu=4, memory_gib=8),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
