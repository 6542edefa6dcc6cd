"""What the tables and figures of a matrix are made of, as tables: from the store, or as they were logged to MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.contract import Result
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.files import Plate
from tasks.nuclei.plates.image_files import read_image, read_numbered
from tasks.nuclei.plates.info import PlateInfo, read_plate_info
from tasks.nuclei.tables import read_csv, write_csv
from tasks.store.provenance import (
    generations,
    history_of,
    own_proposals_of_plates,
    params_of_segmentation,
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
NO_PLATE = "none"
COUNTED = ("tp", "fp", "fn")
ERRORS = ("false_positives", "false_negatives", "merges", "splits")
OWN = "own_proposals"
SHARED = "shared_proposals"
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Data:
    """Tables of all experiments, with one row for each of what the docstrings say."""

    scores: pd.DataFrame
    """Experiment, role, cell line, labels, IoU threshold: its words, replicate, tp, fp, fn, and own_proposals,
    how many of the labels the model proposed itself. `is_counting` says whether these are the labels that count, or a
    further label set of the plates; of those that count, `f1_low` and `f1_high`
    are the 95 % CI over fields. `plates` were scored, `trained_on` are those that its networks learnt from, with spaces
    between: NO_PLATE of networks that came with the pipeline, empty where that isn't known."""
    errors: pd.DataFrame
    """Experiment, role, cell line: true_nuclei and errors at an IoU of 0.7."""
    plates: pd.DataFrame
    """Plate and label set: what Table S1 says of it."""
    agreement: pd.DataFrame
    """Cell line, label set and IoU threshold: F1 of the set against the labels that count, and shared_proposals, how
    many labels of both come from the same proposals, or from the other set."""
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
    # Kept by earlier versions of the pipeline, they lack what was added since.
    for name in ADDED_TO_SCORES.keys() - set(tables["scores"]):
        tables["scores"][name] = ADDED_TO_SCORES[name]
    counted = {"scores": OWN, "costs": OWN, "agreement": SHARED}
    return Data(**tables | {name: _with_counts(tables[name], column) for name, column in counted.items()})


def _with_counts(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Add a column to a table that was made before this was counted."""
    return table if column in table else table.assign(**{column: 0})


ADDED_TO_SCORES: dict[str, float | str] = {"f1_low": np.nan, "f1_high": np.nan, "trained_on": ""}
NUMBERS = {
    *("replicate", "iou_threshold", "true_nuclei", "fovs", "nuclei", "area_mean_px", "area_sd_px", "pixel_size_um"),
    *("cpu_seconds", "gpu_seconds", "peak_memory_bytes", "bytes", "money", "f1_at_0.7", "cpu_hours", "binning"),
    *(*COUNTED, *ERRORS, "f1", "f1_low", "f1_high", "is_counting", OWN, SHARED),
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
        plates=pd.DataFrame([row for plate in opened for row in _plate_rows(plate)]),
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
            learnt = {"trained_on": _plates_trained_on(path, store)}
            yield scores.assign(**named, role=role, **learnt), errors.assign(**named, role=role)


def _plates_trained_on(scores: str, store: Path) -> str:
    """Give the names of the plates that the networks, and those that they began from, learnt from."""
    segmentations = segmentations_of_scores(scores, store)
    networks = {network for path in segmentations for network in params_of_segmentation(path, store)["networks"]}
    with suppress(InputError):  # The store may lack what networks were made from.
        paths = {path for generation in generations(sorted(networks), store) for path in generation.plates}
        return " ".join(sorted({plate_at(path, store).info.name for path in paths})) or NO_PLATE
    return ""


def _pooled(scores: str, store: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pool the counts of all plates of a cell line against the labels that count, and against each other label set."""
    infos = {info.name: info for info in _plate_infos(scores, store)}
    folder = inside(store, scores)
    f1, errors = (_of_group("plate", folder / f"{name}.csv") for name in ("f1", "errors"))
    counting = f1.assign(labels=f1["name"].map(lambda name: shown_set(infos[name].name_of_labels)), is_counting=True)
    own = own_proposals_of_plates(segmentations_of_scores(scores, store), store)
    counting = counting.assign(**{OWN: counting["name"].map(own)})
    counting = counting[["name", "labels", "is_counting", "iou_threshold", *COUNTED, OWN]]
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
    intervals = _of_group("cell_line", folder / "f1.csv").rename(columns={"name": "cell_line"})
    intervals = intervals[["cell_line", "iou_threshold", "f1_low", "f1_high"]].assign(is_counting=True)
    counts = counts.merge(intervals, how="left", on=["cell_line", "iou_threshold", "is_counting"])
    of_lines = errors.assign(cell_line=errors["name"].map(lines)).groupby("cell_line", sort=False)
    return counts, of_lines[["true_nuclei", *ERRORS]].sum().reset_index()


def _of_group(group: Literal["plate", "cell_line"], path: Path) -> pd.DataFrame:
    table = read_csv(path, dtype={"name": str})
    return table[table["group"] == group]


def _label_sets(scores: Path, kind: str) -> pd.DataFrame:
    """Read the scores against other label sets than the one that counts; no rows where no plate has several."""
    path, texts = scores / "label_sets.csv", ("plate", "labels", "label_set")
    if not path.exists():
        return pd.DataFrame(columns=[*texts, "kind", "iou_threshold", "f1", "nuclei", *COUNTED, OWN, SHARED])
    table = read_csv(path, dtype=dict.fromkeys(texts, str))
    if "tp" not in table:
        raise InputError(f"{path} is of an earlier version of the pipeline; remove its folder and score again.")
    return _with_counts(_with_counts(table[table["kind"] == kind], OWN), SHARED)


def shown_set(name: str) -> str:
    """Give the name of a label set as the paper has it, or as the plate has it."""
    return LABELS.get(name, name)


def _plate_infos(scores: str, store: Path) -> list[PlateInfo]:
    result_of(scores, store, "score")
    paths = [plate_of_segmentation(path, store) for path in segmentations_of_scores(scores, store)]
    return [read_plate_info(inside(store, path)) for path in paths]


def _plate_rows(plate: Plate) -> Iterator[dict[str, Any]]:
    """Give what Table S1 says of a plate, with one row for the labels that count and for each further label set.

    Areas are in px.
    """
    shapes = sorted({read_image(fov.image_path).shape for fov in plate.fovs})
    of_counting = [fov.labels_path for fov in plate.fovs if fov.labels_path]
    of_sets = {name: list(files.values()) for name, files in plate.label_sets.items()}
    for name, paths in {plate.info.name_of_labels: of_counting, **of_sets}.items():
        areas = _areas(paths)
        yield {
            "plate": plate.info.name,
            "cell_line": plate.info.cell_line,
            "fovs": len(plate.fovs),
            "size": ", ".join(f"{height} x {width}" for height, width in shapes),
            "objective": plate.info.objective,
            "binning": plate.info.binning,
            "pixel_size_um": plate.info.pixel_size_um,
            "nuclei": len(areas),
            "area_mean_px": float(areas.mean()) if len(areas) else None,
            "area_sd_px": float(areas.std(ddof=1)) if len(areas) > 1 else None,
            "role": plate.info.role,
            "annotation": shown_set(name),
        }


def _areas(labels: Iterable[Path]) -> NDArray[np.int64]:
    """Give the area in px of each nucleus of label images."""
    counted = [np.bincount(read_numbered(path).label_image.ravel())[1:] for path in labels]
    return np.concatenate([of_field[of_field > 0] for of_field in counted]) if counted else np.array([], np.int64)


def _agreement(experiments: Sequence[Mapping[str, Any]], store: Path) -> pd.DataFrame:
    """Give how well the label sets of test plates agree with those that count, by nuclei where there are several.

    It is the same for all experiments, of which the first is looked at.
    """
    scores = experiments[0]["scores"]
    lines = {info.name: info.cell_line for info in _plate_infos(scores, store)}
    sets = _label_sets(inside(store, scores), "agreement")
    weighted = sets.assign(cell_line=sets["plate"].map(lines), weighted=sets["f1"] * sets["nuclei"])
    keys = ["cell_line", "label_set", "iou_threshold"]
    summed = weighted.groupby(keys, sort=False)[["weighted", "nuclei", SHARED]].sum().reset_index()
    return summed.assign(f1=summed["weighted"] / summed["nuclei"].clip(lower=1))[[*keys, "f1", SHARED]]


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
    """Give the CPU seconds of all cores; of results of before they were measured, the seconds on the clock.

    What a resumed training used before isn't in the usage of its last process, but in the sum of its cycles.
    """
    return max(step.usage.get("cpu_seconds", step.seconds), step.metrics.get("training_cpu_seconds", 0.0))


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
