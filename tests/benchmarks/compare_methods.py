"""What do the methods reach on the same plates? Prints a line for each and cell line, with the CPU seconds of training.

    python -m tests.benchmarks.compare_methods OUT_FOLDER synthetic --cycles fpn2_ws=4 mask_rcnn=8

Trains from random weights with the preset `laptop` on one set of ROIs, calibrates on fields of the training plates that
were kept back, and scores on the test plates: either synthetic MCF10A and eosinophils, or the images of the Data
Science Bowl. Started again with the same folder, it resumes where it was.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.contract import Result, execute
from tasks.methods.method import RANDOM
from tasks.methods.registry import method_named
from tasks.steps import augment, calibrate, ingest, report, score, segment, synthesize
from tests import dsb2018

SYNTHETIC = {"MCF10A": (1080, 1280), "Eosinophils": (512, 512)}
"""Cell lines with the sides of their fields in px."""
TRAIN_FOVS, TEST_FOVS = 6, 3
SHOWN = ("f1_at_0.7", "f1_at_0.9", "split_rate", "merge_rate", "fp_rate", "fn_rate")


def synthetic_plates(store: Path) -> dict[str, list[str]]:
    """Make and ingest plates of every cell line, of other nuclei for each role."""
    plates: dict[str, list[str]] = {"train": [], "test": []}
    for cell_line, (height_px, width_px) in SYNTHETIC.items():
        for random_seed, (role, fovs) in enumerate((("train", TRAIN_FOVS), ("test", TEST_FOVS))):
            params = synthesize.Params.model_validate(
                {
                    "name": f"{cell_line}-{role}",
                    "cell_line": cell_line,
                    "role": role,
                    "fovs": fovs,
                    "height_px": height_px,
                    "width_px": width_px,
                    "random_seed": random_seed,
                }
            )
            folder = store / execute(synthesize.TASK, params, store).outputs["plate"]
            plates[role].append(execute(ingest.TASK, ingest.Params(folder=str(folder)), store).outputs["plate"])
    return plates


def dsb2018_plates(store: Path) -> dict[str, list[str]]:
    plates: dict[str, list[str]] = {"train": [], "test": []}
    shutil.rmtree(store / "inbox", ignore_errors=True)
    for folder in dsb2018.make_plates(store / "inbox"):
        role = json.loads((folder / "plate.json").read_text())["role"]
        plates[role].append(execute(ingest.TASK, ingest.Params(folder=str(folder)), store).outputs["plate"])
    return plates


def compare(store: Path, plates: dict[str, list[str]], rois: int, zoom: float, cycles: dict[str, int]) -> None:
    made = augment.Params(plates=plates["train"], rois=rois, zoom=zoom, augmentation="Gentle", validation_share=0.1)
    cut = execute(augment.TASK, made, store).outputs["rois"]
    print(f"| method | CPU s | cell line | {' | '.join(SHOWN)} |\n|{'---|' * (3 + len(SHOWN))}", flush=True)
    scores = {}
    for method, amount in cycles.items():
        trained = _trained(method, cut, amount, store)
        networks = [training.outputs["network"] for training in trained]
        scored = _scored({"method": method, "networks": networks}, plates["test"], store)
        scores[method] = scored.outputs["scores"]
        cpu_seconds = sum(training.metrics["training_cpu_seconds"] for training in trained)
        for line in _lines(scored):
            print(f"| {method} | {cpu_seconds:.0f} | {line} |", flush=True)
    drawn = execute(report.TASK, report.Params(scores=scores), store)
    print(f"figures: {store / drawn.outputs['figures']}")


def _trained(name: str, rois: str, cycles: int, store: Path) -> list[Result]:
    """Train the networks of a method that its preset `laptop` names."""
    method = method_named(name)
    task = importlib.import_module(method.training).TASK
    (networks,) = (networks for networks in method.networks if networks.name == method.presets["laptop"].networks)
    given = {"rois": rois, "preset": "laptop", "initialisation": RANDOM, "cycles": cycles}
    return [
        execute(task, task.params_type.model_validate(given | dict(params)), store) for params in networks.trainings
    ]


def _scored(model: dict[str, Any], plates: Sequence[str], store: Path) -> Result:
    calibrated = execute(calibrate.TASK, calibrate.Params.model_validate(model), store)
    given = [segment.Params.model_validate({**model, "plate": plate, **calibrated.values}) for plate in plates]
    segmented = [execute(segment.TASK, params, store) for params in given]
    return execute(
        score.TASK, score.Params(segmentations=[result.outputs["segmentation"] for result in segmented]), store
    )


def _lines(scored: Result) -> list[str]:
    cell_lines = sorted(name.partition("/")[2] for name in scored.metrics if name.startswith(f"{SHOWN[0]}/"))
    return [
        " | ".join([cell_line, *(f"{scored.metrics.get(f'{name}/{cell_line}', float('nan')):.3f}" for name in SHOWN)])
        for cell_line in cell_lines
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out_folder", type=Path)
    parser.add_argument("plates", choices=("synthetic", "dsb2018"))
    parser.add_argument("--rois", type=int, default=1500)
    parser.add_argument("--zoom", type=float, default=1.0)
    parser.add_argument("--cycles", nargs="+", default=["fpn2_ws=4", "mask_rcnn=4"], metavar="METHOD=CYCLES")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    started = time.monotonic()
    found = synthetic_plates(args.out_folder) if args.plates == "synthetic" else dsb2018_plates(args.out_folder)
    chosen = {method: int(amount) for method, _, amount in (text.partition("=") for text in args.cycles)}
    compare(args.out_folder, found, args.rois, args.zoom, chosen)
    print(f"{time.monotonic() - started:.0f} s in all")
