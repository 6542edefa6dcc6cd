"""What does the base model bring to a group of images that it hasn't seen, and what does it forget meanwhile?

    python -m tests.benchmarks.fine_tune OUT_FOLDER --group medium-520 [--fields 1 2 5 20] [--seeds 0 1 2]

Trains a base model without the group, with a tenth of the recipe's ROIs. Then it takes some annotated fields of the
group and trains, by the preset `laptop`, once from that base model, once from random weights for as many steps, and
once from the base model with half of the ROIs from the plates that it was trained on before. Prints, for each number of
fields and start, F1 on test images of the group, F1 on those of the groups before, and CPU seconds: mean and standard
deviation over seeds, which choose the fields, too. Started again with the same folder, it resumes where it was.

`--group Eosinophils` is synthetic, with lobed nuclei. The data are those of `make base-model`.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.contract import execute
from tasks.methods.fpn2_ws import train as train_fpn2_ws
from tasks.methods.fpn2_ws.method import FINE_TUNING
from tasks.nuclei.plates.files import open_plate
from tasks.recipes.base_model import RECIPE, BaseModelRun, Recipe, all_plates, all_trainings
from tasks.recipes.real_plates import DATA
from tasks.steps import augment, calibrate, ingest, score, segment

SHARE_OF_RECIPE = 0.1
ROIS = 600
SHOWN_IOU_THRESHOLDS = (0.7, 0.9)
STARTS = ("base", "random", "base, with plates of before")


@dataclass(frozen=True)
class Comparison:
    """A base model that lacks a group, and what is compared with it."""

    run: BaseModelRun
    group: str
    base: str
    """Network, as its path in the store."""
    before: list[str]
    """Plates that the base model was trained on."""
    of_group: str
    """The plate that fields are taken from."""
    tests: dict[str, str]
    """Test plates by group."""


def prepared(run: BaseModelRun, group: str) -> Comparison:
    """Train the base model without the group."""
    plates = all_plates(run)
    groups = {path: open_plate(run.store / path).info for paths in plates.judged.values() for path in paths}
    of_all = {path: open_plate(run.store / path).info.cell_line for path in plates.train}
    before = [path for path, name in of_all.items() if name != group]
    rois = run.done(augment.TASK, {"plates": before, **augment.PRESETS["laptop"], **run.recipe.augment})
    base = all_trainings(rois, run)[-1].outputs["network"]
    of_group = next(path for path, name in of_all.items() if name == group)
    tests = {info.cell_line: path for path, info in groups.items()}
    return Comparison(run, group, base, before, of_group, tests)


def smaller_recipe() -> Recipe:
    rois = round(RECIPE.augment["rois"] * SHARE_OF_RECIPE)
    return replace(RECIPE, augment={**RECIPE.augment, "rois": rois}, trainings=RECIPE.trainings[:1])


def some_fields(compared: Comparison, amount: int, random_seed: int) -> str:
    """Make a plate of some fields of the group; gives its path in the store."""
    plate = open_plate(compared.run.store / compared.of_group)
    name = f"{compared.group}-{amount}-fields-{random_seed}"
    folder = compared.run.out_folder / "inbox" / name
    shutil.rmtree(folder, ignore_errors=True)
    chosen = np.random.default_rng(random_seed).permutation(len(plate.fovs))[:amount]
    for number in sorted(chosen):
        for path in (plate.fovs[number].image_path, plate.fovs[number].labels_path):
            assert path is not None
            target = folder / path.relative_to(plate.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    info = json.loads((plate.folder / "plate.json").read_text())
    (folder / "plate.json").write_text(json.dumps(info | {"name": name, "labels_confirmed": True}))
    return execute(ingest.TASK, ingest.Params(folder=str(folder)), compared.run.store).outputs["plate"]


def row_of(compared: Comparison, start: str, amount: int, random_seed: int) -> dict[str, float]:
    """Train on some fields of the group; gives F1 of its test plate and of the others, and CPU seconds."""
    plate = some_fields(compared, amount, random_seed)
    with_others = start == STARTS[2]
    plates = {"plates": [*compared.before, plate], "new_plates": [plate]} if with_others else {"plates": [plate]}
    cut = {"rois": ROIS, "random_seed": random_seed, "validation_share": 0.2}
    rois = compared.run.done(augment.TASK, {**augment.PRESETS["laptop"], **plates, **cut}).outputs["rois"]
    training = {
        "rois": rois,
        "target": "all",
        "preset": "laptop",
        "random_seed": random_seed,
        **_weights(start, compared),
    }
    trained = compared.run.done(train_fpn2_ws.TASK, training)
    model = {"method": "fpn2_ws", "networks": [trained.outputs["network"]]}
    model |= compared.run.done(calibrate.TASK, model).values
    f1 = {group: _f1(model, path, compared.run) for group, path in compared.tests.items()}
    others = [f1[group] for group in f1 if group != compared.group]
    return {
        **{f"F1 at {iou}": f1[compared.group][iou] for iou in SHOWN_IOU_THRESHOLDS},
        **{f"others at {iou}": float(np.mean([of_group[iou] for of_group in others])) for iou in SHOWN_IOU_THRESHOLDS},
        "CPU s": trained.metrics["training_cpu_seconds"],
    }


def _weights(start: str, compared: Comparison) -> dict[str, Any]:
    if start == "random":
        return {"initialisation": "random", "cycles": FINE_TUNING["cycles"]}
    return {"initialisation": compared.base, **FINE_TUNING}


def _f1(model: Mapping[str, Any], plate: str, run: BaseModelRun) -> dict[float, float]:
    segmented = run.done(segment.TASK, {**model, "plate": plate}).outputs["segmentation"]
    metrics = run.done(score.TASK, {"segmentations": [segmented]}).metrics
    return {iou: metrics[f"f1_at_{iou}/all"] for iou in SHOWN_IOU_THRESHOLDS}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.fine_tune",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out_folder", type=Path)
    parser.add_argument("--group", required=True)
    parser.add_argument("--fields", type=int, nargs="+", default=[1, 2, 5, 20])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data", type=Path, default=DATA)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    run = BaseModelRun(smaller_recipe(), args.out_folder, args.data)
    compared = prepared(run, args.group)
    for amount in args.fields:
        for start in STARTS:
            rows = pd.DataFrame([row_of(compared, start, amount, seed) for seed in args.seeds])
            shown = rows.agg(["mean", "std"]).round(3).to_dict()
            cells = " | ".join(f"{of['mean']:.3f} ± {of['std']:.3f}" for of in shown.values())
            print(f"| {amount} | {start} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
