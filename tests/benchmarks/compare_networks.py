"""What in the preset `laptop` helps for the same CPU seconds? Prints a row for each change of it.

    python -m tests.benchmarks.compare_networks OUT_FOLDER [--seeds 0 1 2] [--only "preset laptop" "decoder fpn"]

Trains on the training images of the Data Science Bowl, for about 15 CPU minutes each, and scores on those of them that
were kept back for validation, with thresholds calibrated there: figures to compare with each other, not with the scores
of test images. A seed changes which images are kept back, the ROIs and the initial weights. A change is worth something
if it differs from the preset with every seed. Started again with the same folder, it resumes where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.contract import execute
from tasks.methods.fpn2_ws import train as train_fpn2_ws
from tasks.nuclei.scoring import REPORTED_IOU_THRESHOLDS
from tasks.steps import augment, calibrate
from tests.benchmarks.train_on_dsb2018 import ingested_plates

CHANGES: dict[str, dict[str, Any]] = {
    "preset laptop": {},
    "decoder fpn": {"decoder": "fpn"},
    "no foreground": {"target": "both"},
    "outlines count as the rest": {"outline_weight": 0},
    "weights of the last step": {"averaging": 0},
    "batches of 8": {"batch_size": 8},
    # It is half as fast.
    "encoder resnet34, half the epochs": {"encoder": "resnet34", "cycles": 1},
}
ROIS, CYCLES, VALIDATION_SHARE = 3000, 2, 0.2


def row_of(plates: list[str], change: dict[str, Any], random_seed: int, store: Path) -> dict[str, float]:
    """Train with a change of the preset; gives F1 on validation fields, and CPU seconds."""
    cut = {"rois": ROIS, "validation_share": VALIDATION_SHARE, "random_seed": random_seed}
    made = augment.Params.model_validate({**augment.PRESETS["laptop"], "plates": plates, **cut})
    rois = execute(augment.TASK, made, store).outputs["rois"]
    given = {"rois": rois, "target": "all", "preset": "laptop", "cycles": CYCLES, "random_seed": random_seed}
    trained = execute(train_fpn2_ws.TASK, train_fpn2_ws.Params.model_validate({**given, **change}), store)
    model = calibrate.Params(method="fpn2_ws", networks=[trained.outputs["network"]])
    f1 = execute(calibrate.TASK, model, store).metrics
    scores = {f"F1 at {iou}": f1[f"validation_f1_at_{iou}"] for iou in REPORTED_IOU_THRESHOLDS}
    return scores | {"CPU s": trained.metrics["training_cpu_seconds"]}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out_folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=CHANGES, default=list(CHANGES), metavar="CHANGE")
    args = parser.parse_args()
    train_plates = ingested_plates(args.out_folder)["train"]
    for seed in args.seeds:
        for name in args.only:
            row = row_of(train_plates, CHANGES[name], seed, args.out_folder)
            print(pd.DataFrame([row], [f"{name}, seed {seed}"]).round(3).to_string(header=False), flush=True)
