"""How much do the nuclei of a field resemble each other in how well they are segmented? Prints a table.

    python -m tests.benchmarks.likeness OUT_FOLDER

Segments the test images of the Data Science Bowl with the base model, with and without test-time augmentation, and
prints the intraclass correlations of its scores and of the difference between both: how far the scatter between fields
(the jackknife) is beyond that of so many independent nuclei. Started again with the same folder, it reuses what is
there.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.contract import Task, execute
from tasks.methods.registry import default_method
from tasks.nuclei.intervals import Estimate, Nuclei, estimate
from tasks.nuclei.scoring import IOU_THRESHOLDS
from tasks.recipes.install_base_model import base_model_of
from tasks.steps import ingest, score, segment
from tests import dsb2018

SHOWN_IOU_THRESHOLDS = (0.7, 0.9)
LEAST_FIELDS = 10


def likeness(scores: Estimate) -> dict[float, float]:
    """Give the intraclass correlation by IoU threshold.

    The variance of a score is that of independent nuclei and, for every other nucleus of the same field, this part of
    it once more, as `Estimate.spread` has it.
    """
    fields, others = len(scores.without), scores.nuclei - 1
    squared = np.concatenate([scores.true_part, scores.other_part]) ** 2
    of_others = others[np.concatenate([scores.true_field, scores.other_field])] @ squared
    between = (fields - 1) / fields * ((scores.without - scores.value) ** 2).sum(axis=0)
    found = (between - squared.sum(axis=0)) / of_others
    return {threshold: found[IOU_THRESHOLDS.index(threshold)] for threshold in SHOWN_IOU_THRESHOLDS}


def estimate_of(scores: Path, cell_line: str) -> Estimate:
    """Read what `score` wrote of a cell line."""
    tables = [pd.read_parquet(scores / f"{kind}_nuclei.parquet") for kind in ("true", "predicted")]
    tables = [table[table["cell_line"] == cell_line] for table in tables]
    fields = sorted(set(tables[0]["fov"]) | set(tables[1]["fov"]))
    true, predicted = (
        Nuclei(
            pd.Categorical(table["fov"], fields).codes.astype(int),
            table["iou"].to_numpy(),
            table["partners"].to_numpy(),
        )
        for table in tables
    )
    return estimate(true, predicted, len(fields))


def scores_of_base_model(plates: list[str], settings: Mapping[str, Any], store: Path) -> Path:
    """Segment plates with the base model, with some settings that differ from its own, and score it."""
    method = default_method()
    _, model = base_model_of(method)
    training: Task[Any] = importlib.import_module(method.training).TASK
    network = execute(training, training.params_type.model_validate(model.training), store).outputs["network"]
    of_model = {"method": method.name, "networks": [network], "settings": {**model.settings, **settings}}
    segmentations = [
        execute(segment.TASK, segment.Params.model_validate({**of_model, "plate": plate}), store).outputs[
            "segmentation"
        ]
        for plate in plates
    ]
    return store / execute(score.TASK, score.Params(segmentations=segmentations), store).outputs["scores"]


def lines(out_folder: Path) -> Iterator[str]:
    store = out_folder / "store"
    store.mkdir(parents=True, exist_ok=True)
    folders = [folder for folder in dsb2018.make_plates(out_folder / "inbox") if folder.name.endswith("-test")]
    plates = [execute(ingest.TASK, ingest.Params(folder=str(folder)), store).outputs["plate"] for folder in folders]
    alone, augmented = (
        scores_of_base_model(plates, {"test_time_augmentation": is_on}, store) for is_on in (False, True)
    )
    yield "| group | fields | nuclei | F1 at 0.7 | F1 at 0.9 | difference at 0.7 | difference at 0.9 |"
    yield "|---|---|---|---|---|---|---|"
    for group in sorted(folder.name.removesuffix("-test") for folder in folders):
        first, second = (estimate_of(scores, group) for scores in (alone, augmented))
        if len(first.without) < LEAST_FIELDS:
            continue
        found = [*likeness(first).values(), *likeness(second.minus(first)).values()]
        numbers = " | ".join(f"{value:.2f}" for value in found)
        yield f"| {group} | {len(first.without)} | {first.nuclei.sum():,} | {numbers} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out_folder", type=Path)
    for line in lines(parser.parse_args().out_folder):
        print(line)
