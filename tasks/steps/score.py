"""Compare segmentations with the true labels of their plates: F1 over IoU thresholds and error rates.

Writes f1.csv and errors.csv (pooled per cell line, per plate and over all), fovs.csv (one line a fov), and
true_nuclei.parquet and predicted_nuclei.parquet (one row a nucleus: best IoU, partners with IoU >= 0.1). Where plates
have several label sets, label_sets.csv has F1 against each of them, and how well they agree. Where patches of plates
were chosen to be annotated, f1_at_random.csv has F1 on those alone that were drawn at random. Nuclei that are mostly
ignored are in none of them; `tasks.nuclei.scoring` says what is.
"""

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pydantic

from tasks import tracking
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.nuclei import scoring
from tasks.nuclei.errors import InputError, first_of
from tasks.nuclei.intervals import Interval, interval_of_f1
from tasks.nuclei.label_set_scores import label_set_scores
from tasks.nuclei.plates.chosen_patches import patches_of, read_chosen_patches
from tasks.nuclei.plates.files import Fov, Plate
from tasks.nuclei.plates.image_files import read_ignored, read_numbered
from tasks.nuclei.plates.info import ALL_CELL_LINES
from tasks.nuclei.random_patches import scores_in
from tasks.nuclei.tables import read_csv, write_csv
from tasks.nuclei.usability import MARK, shortcoming_of
from tasks.store.provenance import (
    own_proposals_of_plates,
    params_of_segmentation,
    plate_at,
    plate_of_segmentation,
    proposed_itself,
    result_of,
)

log = logging.getLogger("nucleus")

ERROR_IOU_THRESHOLD = scoring.OBJECT_LEVEL_IOU
"""Where false positives and negatives are counted, as in the paper's Fig. S3."""

LABEL_SETS_CSV = "label_sets.csv"
AT_RANDOM_CSV = "f1_at_random.csv"

SEARCHED = (
    *(f"f1_at_{iou_threshold}/{ALL_CELL_LINES}" for iou_threshold in scoring.SHOWN_IOU_THRESHOLDS),
    f"fn_rate/{ALL_CELL_LINES}",
)
"""Metrics that stand on the version of a model too, to find versions by; the others are in its MLflow run."""

# Four fields of 2160 x 2560 px at a time take about half a gigabyte.
_THREADS = 4


class Params(TaskParams):
    segmentations: list[str] = pydantic.Field(min_length=1)
    """Outputs of `segment`, one for each plate, relative to the store."""


@dataclass(frozen=True)
class Segmentation:
    plate: Plate
    labels_folder: Path
    chosen: pd.DataFrame
    """Patches of it that were chosen to be annotated."""

    def predicted_path(self, fov: Fov) -> Path:
        return self.labels_folder / f"{fov.name}.tif"


@dataclass(frozen=True)
class ScoredFov:
    plate: str
    cell_line: str
    fov: str
    scores: scoring.InstanceScores
    counts: scoring.Counts
    at_random: scoring.InstanceScores | None
    """On its random patches alone; all of a field without a choice of patches, None if it has none at random."""


@dataclass(frozen=True)
class ScoredGroup:
    """Counts of several fovs, pooled, with the 95 % CI of their F1."""

    group: str
    """cell_line, plate or all"""
    name: str
    fovs: int
    counts: scoring.Counts
    f1: Interval

    def f1_at(self, iou_threshold: float) -> float:
        at = scoring.IOU_THRESHOLDS.index(iou_threshold)
        return float(_f1(self.counts)[at])

    def errors(self) -> dict[str, int]:
        at = scoring.IOU_THRESHOLDS.index(ERROR_IOU_THRESHOLD)
        return {
            "splits": self.counts.splits,
            "merges": self.counts.merges,
            "false_positives": int(self.counts.fp[at]),
            "false_negatives": int(self.counts.fn[at]),
        }

    def rates(self) -> dict[str, float]:
        """All per true nucleus; see `scoring.error_rate`."""
        names = {"splits": "split", "merges": "merge", "false_positives": "fp", "false_negatives": "fn"}
        return {
            f"{names[error]}_rate": scoring.error_rate(number, self.counts.true_nuclei)
            for error, number in self.errors().items()
        }


def run(params: Params, workspace: Workspace) -> Outcome:
    segmentations = [_open_segmentation(path, workspace) for path in params.segmentations]
    _refuse_repeated_plates(segmentations)
    _refuse_missing_labels(segmentations)
    fovs = _score_fovs(segmentations)
    groups = _pooled(fovs)
    write_csv(_f1_table(groups), workspace.output_dir / "f1.csv")
    if any(len(one.chosen) for one in segmentations):
        write_csv(_table_at_random(fovs), workspace.output_dir / AT_RANDOM_CSV)
    write_csv(_error_table(groups), workspace.output_dir / "errors.csv")
    write_csv(_fov_table(fovs), workspace.output_dir / "fovs.csv")
    for kind in ("true", "predicted"):
        _nuclei_table(fovs, kind).to_parquet(workspace.output_dir / f"{kind}_nuclei.parquet", index=False)
    sets = [
        label_set_scores(one.plate, one.predicted_path, partial(_proposed_itself, path, workspace.store))
        for path, one in zip(params.segmentations, segmentations, strict=True)
        if one.plate.label_sets
    ]
    if sets:
        write_csv(pd.concat(sets, ignore_index=True), workspace.output_dir / LABEL_SETS_CSV)
    total = groups[-1]
    doubtful = _in_all("doubtful_fovs", params.segmentations, workspace.store)
    counts = {"plates": len(segmentations), "fovs": len(fovs), "true_nuclei": total.counts.true_nuclei}
    counts["doubtful_fovs"] = doubtful
    counts["own_proposals"] = own_proposals = _in_all("own_proposals", params.segmentations, workspace.store)
    if doubtful:
        log.warning("%d of %d fields have label images that look wrong, and count in F1", doubtful, len(fovs))
    if own_proposals:
        log.warning("%d true labels were proposed by the model that is scored: its F1 is too good", own_proposals)
    return Outcome(outputs={"scores": "."}, metrics=_metrics(groups), counts=counts)


def log_result(params: Params, result: Result, store: Path) -> None:
    """Log the F1 curves with the step 100 x IoU, so that MLflow draws F1 against IoU, and the single metrics.

    What MLflow shows of a curve in its list of runs is its last point, at 0.95: hence a name that says what it is.

    Some metrics also stand on the version of the model that was registered from the run, and F1 of each test plate with
    its model.
    """
    curves = read_csv(store / result.outputs["scores"] / "f1.csv", dtype={"name": str})
    shown = curves[curves["group"] != "plate"]
    points = [
        tracking.Point(f"f1_curve/{name}", f1, round(100 * iou_threshold))
        for name, f1, iou_threshold in zip(shown["name"], shown["f1"], shown["iou_threshold"], strict=True)
    ]
    points += [tracking.Point(name, value) for name, value in result.metrics.items()]
    run = tracking.Run()
    run.log_points(points)
    own = result.counts.get("own_proposals")
    marks = {tracking.OWN_PROPOSALS: str(own)} if own else {}
    run.set_tags(marks)
    searched = {name: f"{result.metrics[name]:.4f}" for name in SEARCHED}
    run.tag_model_versions(searched | marks)
    _log_scores_of_plates(run, params, curves, store)
    if wrong := shortcoming_of(result.metrics):
        run.mark_model_versions(f"{MARK} This model can't be used: it {wrong} of the test plates.")


def _log_scores_of_plates(run: tracking.Run, params: Params, curves: pd.DataFrame, store: Path) -> None:
    """Log F1 on each test plate for the model, by which MLflow sorts models. The run shows that of one plate too."""
    own = own_proposals_of_plates(params.segmentations, store)
    scores = []
    for segmentation in params.segmentations:
        plate = plate_at(plate_of_segmentation(segmentation, store), store)
        of_plate = curves[(curves["group"] == "plate") & (curves["name"] == plate.info.name)]
        f1 = dict(zip(of_plate["iou_threshold"], of_plate["f1"], strict=True))
        shown = {t: float(f1[t]) for t in scoring.SHOWN_IOU_THRESHOLDS}
        name, _, digest = plate.folder.name.rpartition("@")
        scores.append(tracking.PlateScores(name, digest, shown, own[name]))
    run.log_scores_of_plates(scores)


def _open_segmentation(path: str, workspace: Workspace) -> Segmentation:
    plate = plate_at(plate_of_segmentation(path, workspace.store), workspace.store)
    return Segmentation(plate, workspace.input(path) / "labels", read_chosen_patches(plate.folder))


def _proposed_itself(segmentation: str, store: Path, origins: pd.DataFrame) -> pd.Series:
    """Say of each row of a table of origins whether the model that segmented proposed the label."""
    made = params_of_segmentation(segmentation, store)
    # Before methods had their names in the params, there were no origins.
    return proposed_itself(made.get("method", ""), made["networks"], origins, store)


def _in_all(name: str, segmentations: Iterable[str], store: Path) -> int:
    """Give the sum of what `segment` counted. It didn't always count everything."""
    return sum(result_of(path, store).counts.get(name, 0) for path in segmentations)


def _refuse_repeated_plates(segmentations: list[Segmentation]) -> None:
    names = [segmentation.plate.info.name for segmentation in segmentations]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"segmentations: {', '.join(repeated)} is there more than once; give one of each plate.")


def _refuse_missing_labels(segmentations: list[Segmentation]) -> None:
    missing = []
    for segmentation in segmentations:
        name = segmentation.plate.info.name
        for fov in segmentation.plate.fovs:
            if fov.labels_path is None:
                missing.append(f"{name}: {fov.name} has no true labels")
            if not segmentation.predicted_path(fov).exists():
                missing.append(f"{name}: {fov.name} has no predicted labels")
    _raise_if_any(missing)


def _raise_if_any(problems: list[str]) -> None:
    if problems:
        shown = first_of(problems, separator="; ")
        raise InputError(f"Nothing was scored: {shown}. Correct these and segment the plate again.")


def _score_fovs(segmentations: list[Segmentation]) -> list[ScoredFov]:
    """Read and score all fovs, a few at a time; what can't be read is refused once for all."""
    jobs = [(segmentation, fov) for segmentation in segmentations for fov in segmentation.plate.fovs]
    scored: list[ScoredFov] = []
    problems: list[str] = []
    with ThreadPoolExecutor(_THREADS) as threads:
        for done, outcome in enumerate(threads.map(lambda job: _score_fov(*job), jobs), start=1):
            if isinstance(outcome, ScoredFov):
                scored.append(outcome)
            else:
                problems.append(str(outcome))
            if done == len(jobs) or done % max(1, len(jobs) // 10) == 0:
                log.info("score: %d of %d fovs", done, len(jobs))
    _raise_if_any(problems)
    return scored


def _score_fov(segmentation: Segmentation, fov: Fov) -> ScoredFov | InputError:
    assert fov.labels_path is not None
    info = segmentation.plate.info
    try:
        true_labels = read_numbered(fov.labels_path)
        ignored = read_ignored(fov.ignored_path) if fov.ignored_path else None
        predicted_labels = read_numbered(segmentation.predicted_path(fov))
    except InputError as error:
        return error
    images = (true_labels.label_image, predicted_labels.label_image, ignored)
    try:
        scores = scoring.score_instances(*images)
    except InputError as error:
        return InputError(f"{info.name}: {fov.name}: {error}")
    at_random: scoring.InstanceScores | None = scores
    if fov.name in set(segmentation.chosen["fov"]):
        patches = patches_of(segmentation.chosen, fov.name, "random")
        at_random = scores_in(patches, *images) if patches else None
    # People look for a nucleus by its label in the file.
    scores = replace(
        scores,
        true_ids=true_labels.ids[scores.true_ids - 1],
        predicted_ids=predicted_labels.ids[scores.predicted_ids - 1],
    )
    return ScoredFov(info.name, info.cell_line, fov.name, scores, scoring.count(scores), at_random)


def _pooled(fovs: list[ScoredFov]) -> list[ScoredGroup]:
    """Cell lines, then plates, then all."""
    groups: dict[tuple[str, str], list[ScoredFov]] = {}
    for fov in fovs:
        groups.setdefault(("cell_line", fov.cell_line), []).append(fov)
    for fov in fovs:
        groups.setdefault(("plate", fov.plate), []).append(fov)
    groups[ALL_CELL_LINES, ALL_CELL_LINES] = fovs
    return [
        ScoredGroup(
            *(group, name, len(members)),
            scoring.pool([fov.counts for fov in members]),
            interval_of_f1([fov.scores for fov in members]),
        )
        for (group, name), members in groups.items()
    ]


def _f1(counts: scoring.Counts) -> np.ndarray:
    return scoring.f1_score(counts.tp, counts.fp, counts.fn)


def _f1_table(groups: Iterable[ScoredGroup]) -> pd.DataFrame:
    curves = [
        pd.DataFrame(
            {
                "group": scored.group,
                "name": scored.name,
                "iou_threshold": scoring.IOU_THRESHOLDS,
                "f1": _f1(scored.counts),
                "f1_low": scored.f1.low,
                "f1_high": scored.f1.high,
                "tp": scored.counts.tp,
                "fp": scored.counts.fp,
                "fn": scored.counts.fn,
            }
        )
        for scored in groups
    ]
    return pd.concat(curves, ignore_index=True)


def _table_at_random(fovs: list[ScoredFov]) -> pd.DataFrame:
    """Give the table of F1, without a row if no patch was drawn at random."""
    at_random = [
        replace(fov, scores=fov.at_random, counts=scoring.count(fov.at_random)) for fov in fovs if fov.at_random
    ]
    return _f1_table(_pooled(at_random)) if at_random else _f1_table(_pooled(fovs)).iloc[:0]


def _error_table(groups: Iterable[ScoredGroup]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "group": scored.group,
            "name": scored.name,
            "fovs": scored.fovs,
            "true_nuclei": scored.counts.true_nuclei,
            "predicted_nuclei": scored.counts.predicted_nuclei,
            **scored.errors(),
            **scored.rates(),
        }
        for scored in groups
    )


def _fov_table(fovs: Iterable[ScoredFov]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "plate": fov.plate,
            "cell_line": fov.cell_line,
            "fov": fov.fov,
            "true_nuclei": fov.counts.true_nuclei,
            "predicted_nuclei": fov.counts.predicted_nuclei,
            "splits": fov.counts.splits,
            "merges": fov.counts.merges,
            **_columns_at_thresholds(fov.counts),
        }
        for fov in fovs
    )


def _nuclei_table(fovs: Sequence[ScoredFov], kind: Literal["true", "predicted"]) -> pd.DataFrame:
    ids = [getattr(fov.scores, f"{kind}_ids") for fov in fovs]
    largest = max(int(of_fov.max(initial=0)) for of_fov in ids)
    dtype = np.int64 if largest <= np.iinfo(np.int64).max else np.uint64
    tables = [
        pd.DataFrame(
            {
                "plate": fov.plate,
                "cell_line": fov.cell_line,
                "fov": fov.fov,
                "label": of_fov.astype(dtype),
                "iou": getattr(fov.scores, f"{kind}_iou"),
                "partners": getattr(fov.scores, f"{kind}_partners"),
            }
        )
        for fov, of_fov in zip(fovs, ids, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)


def _columns_at_thresholds(counts: scoring.Counts) -> Mapping[str, float]:
    columns: dict[str, float] = {}
    for iou_threshold in scoring.REPORTED_IOU_THRESHOLDS:
        at = scoring.IOU_THRESHOLDS.index(iou_threshold)
        for name, values in (("tp", counts.tp), ("fp", counts.fp), ("fn", counts.fn), ("f1", _f1(counts))):
            columns[f"{name}_at_{iou_threshold}"] = values[at]
    return columns


def _metrics(groups: Iterable[ScoredGroup]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for scored in groups:
        if scored.group == "plate":
            continue
        for iou_threshold in scoring.REPORTED_IOU_THRESHOLDS:
            metrics[f"f1_at_{iou_threshold}/{scored.name}"] = scored.f1_at(iou_threshold)
        metrics[f"f1_area/{scored.name}"] = float(np.mean(_f1(scored.counts)))
        for rate, value in scored.rates().items():
            metrics[f"{rate}/{scored.name}"] = value
    return metrics


TASK = Task(
    name="score",
    version=3,
    params_type=Params,
    run=run,
    log=log_result,
    resources=Resources(PROCESSING, cpu=2, memory_gib=8),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
