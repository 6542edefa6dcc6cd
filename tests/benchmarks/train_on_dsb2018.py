"""What does the preset `laptop` reach on the real images of the 2018 Data Science Bowl, and at what cost?

    python -m tests.benchmarks.train_on_dsb2018 OUT_FOLDER [--seeds 0 1 2]

Trains from random weights on the images for training, once for each seed, and scores on those for testing. Prints a row
for each seed, then mean and standard deviation. Started again with the same folder, it resumes where it was. Ends with
exit status 1 if a mean misses what is asked for.

The bar is StarDist, trained from scratch on the same images for 3,837 CPU seconds: F1 0.855, 0.719 and 0.152 at IoU
0.5, 0.7 and 0.9, pooled over the 88 test images, for 2.0 CPU seconds a megapixel in use.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.contract import Result, Task, execute
from tasks.methods.fpn2_ws import train as train_fpn2_ws
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.image_files import read_image
from tasks.steps import augment, calibrate, ingest, score, segment
from tests import dsb2018

TRAINING, USE = "training CPU s", "CPU s a megapixel"
MOST = {TRAINING: 3800.0, USE: 1.0}
LEAST = {"F1 at 0.5": 0.90, "F1 at 0.7": 0.83, "F1 at 0.9": 0.46}
GROUPS = ("small-256", "large-360", "medium-520", "mixed")


def row_of(plates: dict[str, list[str]], random_seed: int, store: Path) -> dict[str, float]:
    """Train by the preset and score on the test plates; gives F1 and costs."""
    shared = {"plates": plates["train"], "validation_share": 0.1, "random_seed": random_seed}
    rois, cut_cpu_s = done(augment.TASK, {**augment.PRESETS["laptop"], **shared}, store)
    training = {"rois": rois.outputs["rois"], "target": "all", "preset": "laptop", "random_seed": random_seed}
    trained, _ = done(train_fpn2_ws.TASK, training, store)
    model = {"method": "fpn2_ws", "networks": [trained.outputs["network"]]}
    calibrated, calibrated_cpu_s = done(calibrate.TASK, model, store)
    segmented = [done(segment.TASK, {**model, **calibrated.values, "plate": plate}, store) for plate in plates["test"]]
    scores = {"segmentations": [result.outputs["segmentation"] for result, _ in segmented]}
    f1 = done(score.TASK, scores, store)[0].metrics
    return {
        **{name: f1[f"f1_at_{name[-3:]}/all"] for name in LEAST},
        **{f"{group} at 0.7": f1[f"f1_at_0.7/{group}"] for group in GROUPS},
        TRAINING: cut_cpu_s + trained.metrics["training_cpu_seconds"] + calibrated_cpu_s,
        USE: sum(cpu_s for _, cpu_s in segmented) / megapixels(store / plate for plate in plates["test"]),
    }


def done(task: Task[Any], params: dict[str, Any], store: Path) -> tuple[Result, float]:
    """Give the result of a step and the CPU seconds that it took when it was done."""
    before = _cpu_seconds()
    result = execute(task, task.params_type.model_validate(params), store)
    cost = store / f"cpu-seconds-{task.name}-{result.key}.json"
    if not cost.exists():
        cost.write_text(json.dumps(_cpu_seconds() - before))
    return result, float(json.loads(cost.read_text()))


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def megapixels(plates: Iterable[Path]) -> float:
    return sum(read_image(fov.image_path).size for plate in plates for fov in open_plate(plate).fovs) / 1e6


def ingested_plates(store: Path) -> dict[str, list[str]]:
    """Give the plates by role."""
    plates: dict[str, list[str]] = {"train": [], "test": []}
    # Already there, if this was begun before.
    folders = sorted(path for path in (store / "inbox").glob("*") if path.is_dir()) or dsb2018.make_plates(
        store / "inbox"
    )
    for folder in folders:
        ingested = execute(ingest.TASK, ingest.Params(folder=str(folder)), store)
        plates[json.loads((folder / "plate.json").read_text())["role"]].append(ingested.outputs["plate"])
    return plates


def misses(mean: pd.Series[float]) -> list[str]:
    """Say which means aren't what is asked for."""
    low = [f"{name} is {mean[name]:.3f}, not {least} at least" for name, least in LEAST.items() if mean[name] < least]
    high = [f"{name} is {mean[name]:.1f}, over {most:g}" for name, most in MOST.items() if mean[name] > most]
    return low + high


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out_folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    imported = ingested_plates(args.out_folder)
    table = pd.DataFrame()
    for seed in args.seeds:
        table[f"seed {seed}"] = pd.Series(row_of(imported, seed, args.out_folder))
        print(table.T.round(3).to_string(), flush=True)
    print(table.T.agg(["mean", "std"]).round(3).to_string())
    if missed := misses(table.mean(axis=1)):
        print("; ".join(missed))
        sys.exit(1)
