"""Which network gives the best F1 for the same CPU seconds? Prints a line for each.

    python -m tests.benchmarks.compare_networks OUT_FOLDER

Trains on the training images of the Data Science Bowl, for about eight CPU minutes each, and scores
on those of them that were kept back for validation, with thresholds calibrated there: figures to
compare with each other, not with the scores of test images.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from tasks.contract import execute
from tasks.methods.fpn2_ws import train as train_fpn
from tasks.steps import augment, calibrate, ingest
from tests import dsb2018

BOTH, EACH = ("both",), ("distance_map", "blurred_border")
NETWORKS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    # A network for each target takes half the cycles, resnet34 and efficientnetb0 are half as fast.
    "preset laptop: mobilenetv2, two heads, cross-entropy": (BOTH, {"cycles": 4}),
    "two networks, one for each target": (EACH, {"cycles": 2}),
    "squared error": (BOTH, {"cycles": 4, "loss": "mse"}),
    "encoder resnet34": (BOTH, {"cycles": 2, "encoder": "resnet34"}),
    "encoder efficientnetb0": (BOTH, {"cycles": 2, "encoder": "efficientnetb0"}),
}
ROIS = 800


def compare(out_folder: Path) -> None:
    plates = [
        execute(ingest.TASK, ingest.Params(folder=str(folder)), out_folder).outputs["plate"]
        for folder in dsb2018.make_plates(out_folder / "inbox")
        if folder.name.endswith("-train")
    ]
    made = augment.Params(plates=plates, rois=ROIS, zoom=2.0, augmentation="Gentle", validation_share=0.1)
    rois = execute(augment.TASK, made, out_folder).outputs["rois"]
    print("| network | CPU s | F1 at 0.5 | at 0.7 | at 0.9 |\n|---|---|---|---|---|", flush=True)
    for name, (targets, settings) in NETWORKS.items():
        trained = [
            execute(
                train_fpn.TASK,
                train_fpn.Params(rois=rois, target=target, preset="laptop", initialisation="random", **settings),
                out_folder,
            )
            for target in targets
        ]
        networks = [training.outputs["network"] for training in trained]
        f1 = execute(calibrate.TASK, calibrate.Params(method="fpn2_ws", networks=networks), out_folder).metrics
        cpu_seconds = sum(training.metrics["training_cpu_seconds"] for training in trained)
        scores = " | ".join(f"{f1[f'validation_f1_at_{t}']:.3f}" for t in (0.5, 0.7, 0.9))
        print(f"| {name} | {cpu_seconds:.0f} | {scores} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out_folder", type=Path)
    started = time.monotonic()
    compare(parser.parse_args().out_folder)
    print(f"{time.monotonic() - started:.0f} s in all")
