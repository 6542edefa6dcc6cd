"""What the tables and figures of a matrix are made of, as tables: from the store, or as they were logged to MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.contract import Result
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.files import Plate
from tasks.nuclei.plates.image_files import read_image, read_numbered
from tasks.nuclei.plates.info import PlateInfo, read_plate_info
from tasks.nuclei.tables import read_csv, write_csv
from tasks.store.provenance import (
    history_of,
    own_proposals_of_plates,
    plate_at,
    plate_of_segmentation,
    result_of,
    segmentations_of_scores,
)

LABELS = {"manual": "Manual", "semi-automatic": "Semi-Automated", "synthetic": "Synthetic"}
"""How the paper calls the annotations of plate.json."""
WORD = "word/"
"""Before the name of a column of the matrix, in which an experiment has a word."""
TESTING, TRAINING = "Testing", "Training"
COUNTED = ("tp", "fp", "fn")
ERRORS = ("false_positives", "false_negatives", "merges", "splits")
OWN = "own_proposals"
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Data:
    """Tables of all experiments, with one row for each of what the docstrings say."""

    scores: pd.DataFrame
    """Experiment, role, cell line, labels, IoU threshold: its words, replicate, plates, tp, fp, fn, and own_proposals,
    how many of the labels the model proposed itself. `is_counting` says whether these are the labels that count, or a
    further label set of the plates."""
    errors: pd.DataFrame
    """Experiment, role, cell line: true_nuclei and errors at an IoU of 0.7."""
    plates: pd.DataFrame
    """Plate: what Table S1 says of it."""
    agreement: pd.DataFrame
    """Cell line, label set and IoU threshold: F1 of the set against the labels that count."""
    costs: pd.DataFrame
    """Experiment: its key, seconds, memory, bytes, money, F1 at 0.7 and own_proposals."""


def write_data(data: Data, folder: Path) -> None:
    """Write each table as CSV."""
    for name, table in asdict(data).items():
        write_csv(table, folder / f"{name}.csv")


def read_data(folder: Path) -> Data:
    """Read what `write_data` wrote; words are texts, also where they look like numbers or like nothing."""
    tables = {}
    for field in fields(Data):
        header = read_csv(folder / f"{field.name}.csv", dtype=str).columns
        texts = [name for name in header if name not in NUMBERS]
        tables[field.name] = read_csv(folder / f"{field.name}.csv", dtype=dict.fromkeys(texts, str))
    return Data(**tables | {name: _with_own_proposals(tables[name]) for name in ("scores", "costs")})


def _with_own_proposals(table: pd.DataFrame) -> pd.DataFrame:
    """Add the column to a table that was made before these were counted."""
    return table if OWN in table else table.assign(**{OWN: 0})


NUMBERS = {
    *("replicate", "iou_threshold", "true_nuclei", "fovs", "nuclei", "area_mean_px", "area_sd_px", "pixel_size_um"),
    *("cpu_seconds", "gpu_seconds", "peak_memory_bytes", "bytes", "money", "f1_at_0.7", "cpu_hours", "binning"),
    *(*COUNTED, *ERRORS, "f1", "is_counting", OWN),
}
"""Columns that hold numbers; all others are texts."""


def merged(before: Data, after: Data) -> Data:
    """Give the rows of both; of an experiment, plate or cell line that both have, those of `after`."""
    tables = {}
    for field in fields(Data):
        old, new = getattr(before, field.name), getattr(after, field.name)
        key = next(name for name in ("experiment", "plate", "cell_line") if name in new)
        tables[field.name] = pd.concat([old[~old[key].isin(new[key])], new], ignore_index=True)
    return Data(**tables)


def collect(
    experiments: Sequence[Mapping[str, Any]], plates: Iterable[str], prices: Mapping[str, Any], store: Path
) -> Data:
    """Read what the store says of experiments, each a `tabulate.Experiment` as a mapping."""
    parts = [part for experiment in experiments for part in _scored_parts(experiment, store)]
    opened = [plate_at(path, store) for path in plates]
    scores = pd.concat([part[0] for part in parts], ignore_index=True)
    return Data(
        scores=scores,
        errors=pd.concat([part[1] for part in parts], ignore_index=True),
        plates=pd.DataFrame([_plate_row(plate) for plate in opened]),
        agreement=_agreement(experiments, store),
        costs=pd.DataFrame([_cost(experiment, prices, store) for experiment in experiments]),
    )


def _scored_parts(experiment: Mapping[str, Any], store: Path) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    words = {f"{WORD}{name}": word for name, word in experiment["words"].items()}
    named = {"experiment": experiment["name"], **words, "replicate": experiment["replicate"]}
    named["weights"] = experiment["missing_weights"]
    for role, path in ((TESTING, experiment["scores"]), (TRAINING, experiment["training_scores"])):
        if path:
            scores, errors = _pooled(path, store)
            yield scores.assign(**named, role=role), errors.assign(**named, role=role)


def _pooled(scores: str, store: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pool the counts of all plates of a cell line against the labels that count, and against each other label set."""
    infos = {info.name: info for info in _plate_infos(scores, store)}
    folder = inside(store, scores)
    f1, errors = (_of_plates(folder / f"{name}.csv") for name in ("f1", "errors"))
    counting = f1.assign(labels=f1["name"].map(lambda name: shown_set(infos[name].name_of_labels)), is_counting=True)
    own = own_proposals_of_plates(segmentations_of_scores(scores, store), store)
    counting = counting.assign(**{OWN: counting["name"].map(own)})
    sets = _label_sets(folder, "model")
    others = sets.assign(name=sets["plate"], labels=sets["labels"].map(shown_set), is_counting=False)
    # Beside each other set, the one that counts is scored again on the fields of that set.
    others = others[others["labels"] == others["label_set"].map(shown_set)]
    lines = {name: info.cell_line for name, info in infos.items()}
    both = pd.concat([counting, others[list(counting.columns)]], ignore_index=True)
    grouped = both.assign(cell_line=both["name"].map(lines)).groupby(
        ["cell_line", "is_counting", "labels", "iou_threshold"], sort=False
    )
    summed = {name: (name, "sum") for name in (*COUNTED, OWN)}
    counts = grouped.agg(**summed, plates=("name", " ".join)).reset_index()
    of_lines = errors.assign(cell_line=errors["name"].map(lines)).groupby("cell_line", sort=False)
    return counts, of_lines[["true_nuclei", *ERRORS]].sum().reset_index()


def _of_plates(path: Path) -> pd.DataFrame:
    table = read_csv(path, dtype={"name": str})
    columns = [name for name in ("name", "iou_threshold", *COUNTED, "true_nuclei", *ERRORS) if name in table]
    return table.loc[table["group"] == "plate", columns]


def _label_sets(scores: Path, kind: str) -> pd.DataFrame:
    """Read the scores against other label sets than the one that counts; no rows where no plate has several."""
    path, texts = scores / "label_sets.csv", ("plate", "labels", "label_set")
    if not path.exists():
        return pd.DataFrame(columns=[*texts, "kind", "iou_threshold", "f1", "nuclei", *COUNTED, OWN])
    table = read_csv(path, dtype=dict.fromkeys(texts, str))
    if "tp" not in table:
        raise InputError(f"{path} is of an earlier version of the pipeline; remove its folder and score again.")
    return _with_own_proposals(table[table["kind"] == kind])


def shown_set(name: str) -> str:
    """Give the name of a label set as the paper has it, or as the plate has it."""
    return LABELS.get(name, name)


def _plate_infos(scores: str, store: Path) -> list[PlateInfo]:
    result_of(scores, store, "score")
    paths = [plate_of_segmentation(path, store) for path in segmentations_of_scores(scores, store)]
    return [read_plate_info(inside(store, path)) for path in paths]


def _plate_row(plate: Plate) -> dict[str, Any]:
    """Give what Table S1 says of a plate; areas are in px, of labelled nuclei."""
    sizes = {read_image(fov.image_path).shape for fov in plate.fovs[:1]}
    labels = [read_numbered(fov.labels_path).label_image for fov in plate.fovs if fov.labels_path]
    counted = [np.bincount(label_image.ravel())[1:] for label_image in labels]
    areas = np.concatenate([of_field[of_field > 0] for of_field in counted]) if counted else np.array([])
    return {
        "plate": plate.info.name,
        "cell_line": plate.info.cell_line,
        "fovs": len(plate.fovs),
        "size": ", ".join(f"{height} x {width}" for height, width in sorted(sizes)),
        "objective": plate.info.objective,
        "binning": plate.info.binning,
        "pixel_size_um": plate.info.pixel_size_um,
        "nuclei": len(areas),
        "area_mean_px": float(areas.mean()) if len(areas) else None,
        "area_sd_px": float(areas.std(ddof=1)) if len(areas) > 1 else None,
        "role": plate.info.role,
        "annotation": ", ".join(map(shown_set, (plate.info.name_of_labels, *plate.label_sets))),
    }


def _agreement(experiments: Sequence[Mapping[str, Any]], store: Path) -> pd.DataFrame:
    """Give how well the label sets of test plates agree with those that count, by nuclei where there are several.

    It is the same for all experiments, of which the first is looked at.
    """
    scores = experiments[0]["scores"]
    lines = {info.name: info.cell_line for info in _plate_infos(scores, store)}
    sets = _label_sets(inside(store, scores), "agreement")
    weighted = sets.assign(cell_line=sets["plate"].map(lines), weighted=sets["f1"] * sets["nuclei"])
    keys = ["cell_line", "label_set", "iou_threshold"]
    summed = weighted.groupby(keys, sort=False)[["weighted", "nuclei"]].sum().reset_index()
    return summed.assign(f1=summed["weighted"] / summed["nuclei"].clip(lower=1))[[*keys, "f1"]]


def _cost(experiment: Mapping[str, Any], prices: Mapping[str, Any], store: Path) -> dict[str, Any]:
    """Give what an experiment cost by itself, as if nothing of it were shared with others."""
    paths = [path for path in (experiment["scores"], experiment["training_scores"]) if path]
    steps = [step for step in history_of(paths, store) if step.task != "ingest"]
    gpu_seconds = sum(_gpu_seconds(step) for step in steps)
    cpu_seconds = sum(_cpu_seconds(step) for step in steps)
    hours = {"core_hour": cpu_seconds / SECONDS_PER_HOUR, "gpu_hour": gpu_seconds / SECONDS_PER_HOUR}
    priced = {name: prices[name] for name in hours if prices.get(name) is not None}
    peaks = [step.usage["peak_memory_bytes"] for step in steps if "peak_memory_bytes" in step.usage]
    return {
        "experiment": experiment["name"],
        "key": experiment["key"],
        "weights": experiment["missing_weights"],
        "cpu_seconds": cpu_seconds,
        "gpu_seconds": gpu_seconds,
        "peak_memory_bytes": max(peaks, default=None),
        "bytes": sum(_bytes(inside(store, f"{step.task}/{step.key}")) for step in steps),
        "money": sum(hours[name] * price for name, price in priced.items()) if priced else None,
        "cpu_hours": hours["core_hour"],
        "f1_at_0.7": (scores := result_of(experiment["scores"], store)).metrics.get("f1_at_0.7/all"),
        OWN: scores.counts.get(OWN, 0),
    }


def _cpu_seconds(step: Result) -> float:
    """Give the CPU seconds of all cores; of results of before they were measured, the seconds on the clock."""
    return step.usage.get("cpu_seconds", step.seconds)


def _gpu_seconds(step: Result) -> float:
    if step.machine.get("gpus", "none") == "none":
        return 0.0
    return step.metrics.get("training_seconds", step.seconds) * int(step.machine.get("replicas", 1))


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def refuse_nothing(data: Data) -> None:
    """Raise InputError without any scores."""
    if data.scores.empty:
        raise InputError("experiments: none has scores; run at least one.")
