"""What do the methods reach on the same plates? Prints a line for each and cell line, with the CPU seconds of training.

    python -m tests.benchmarks.compare_methods OUT_FOLDER made --cycles fpn2_ws=4 mask_rcnn=8

Trains with the preset `laptop` on one set of ROIs, calibrates on fields of the training plates that were kept back, and
scores on the test plates: either made MCF10A and eosinophils, or the images of the Data Science Bowl. Started again
with the same folder, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.contract import Result, execute
from tasks.methods.fpn2_ws import train as train_fpn
from tasks.methods.jacobkie import train as train_jacobkie
from tasks.methods.mask_rcnn import train as train_mask_rcnn
from tasks.steps import augment, calibrate, ingest, report, score, segment, synthesize
from tests import dsb2018

TRAININGS: dict[str, Any] = {
    "fpn2_ws": lambda **settings: (train_fpn.TASK, train_fpn.Params(target="both", **settings)),
    "mask_rcnn": lambda **settings: (train_mask_rcnn.TASK, train_mask_rcnn.Params(**settings)),
    "jacobkie": lambda **settings: (train_jacobkie.TASK, train_jacobkie.Params(**settings)),
}
MADE = {"MCF10A": (1080, 1280), "Eosinophils": (512, 512)}
"""Cell lines with the sides of their fields in px."""
TRAIN_FOVS, TEST_FOVS = 6, 3
SHOWN = ("f1_at_0.7", "f1_at_0.9", "split_rate", "merge_rate", "fp_rate", "fn_rate")


def made_plates(store: Path) -> dict[str, list[str]]:
    """Make and ingest plates of every cell line, of other nuclei for each role."""
    plates: dict[str, list[str]] = {"train": [], "test": []}
    for cell_line, (height_px, width_px) in MADE.items():
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
        task, params = TRAININGS[method](rois=cut, preset="laptop", cycles=amount)
        trained = execute(task, params, store)
        scored = _scored([trained.outputs["network"]], plates["test"], store)
        scores[method] = scored.outputs["scores"]
        for line in _lines(scored):
            print(f"| {method} | {trained.metrics['training_cpu_seconds']:.0f} | {line} |", flush=True)
    drawn = execute(report.TASK, report.Params(scores=scores), store)
    print(f"figures: {store / drawn.outputs['figures']}")


def _scored(networks: Sequence[str], plates: Sequence[str], store: Path) -> Result:
    calibrated = execute(calibrate.TASK, calibrate.Params(networks=list(networks)), store)
    known = segment.Params.model_fields
    thresholds = {name: value for name, value in calibrated.metrics.items() if name in known}
    segmented = [
        execute(segment.TASK, segment.Params(networks=list(networks), plate=plate, **thresholds), store)
        for plate in plates
    ]
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
    parser.add_argument("plates", choices=("made", "dsb2018"))
    parser.add_argument("--rois", type=int, default=1500)
    parser.add_argument("--zoom", type=float, default=1.0)
    parser.add_argument("--cycles", nargs="+", default=["fpn2_ws=4", "mask_rcnn=4"], metavar="METHOD=CYCLES")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    started = time.monotonic()
    found = made_plates(args.out_folder) if args.plates == "made" else dsb2018_plates(args.out_folder)
    chosen = {method: int(amount) for method, _, amount in (text.partition("=") for text in args.cycles)}
    compare(args.out_folder, found, args.rois, args.zoom, chosen)
    print(f"{time.monotonic() - started:.0f} s in all")
