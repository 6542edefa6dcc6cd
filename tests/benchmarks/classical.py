"""What does the method without a network reach, and at what cost? Prints a row for each cell line.

    python -m tests.benchmarks.classical OUT_FOLDER [--plates synthetic dsb2018] [--chosen]

Segments test plates of all four synthetic cell lines, and the test images of the Data Science Bowl, by the usual
settings, in about a CPU minute. With --chosen, also by settings chosen on fields of the training plates. That takes two
CPU minutes more for the synthetic ones, and much longer for those of the Data Science Bowl, of which more fields are
kept back. Started again with the same folder, it resumes where it was. Ends with exit status 1 if F1 at 0.7 on
synthetic MCF10A is below 0.9.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.contract import execute
from tasks.methods.registry import baseline_method
from tasks.nuclei.scoring import REPORTED_IOU_THRESHOLDS
from tasks.steps import augment, calibrate, ingest, score, segment, synthesize
from tests.benchmarks.train_on_dsb2018 import done, ingested_plates, megapixels

FIELDS = {"MCF10A": (1078, 1278), "U2OS": (1079, 1279), "HCT116": (1080, 1280), "Eosinophils": (512, 512)}
"""Height and width by cell line: the paper's, or a quarter of it."""
FOVS = {"train": 4, "test": 3}
LEAST, WHERE = 0.9, "f1_at_0.7/MCF10A"
MODEL: dict[str, Any] = {"method": baseline_method().name, "networks": []}


def synthetic_plates(store: Path) -> dict[str, list[str]]:
    """Give plates of every cell line by role, of other nuclei for each."""
    plates: dict[str, list[str]] = {"train": [], "test": []}
    for cell_line, (height_px, width_px) in FIELDS.items():
        for random_seed, (role, fovs) in enumerate(FOVS.items()):
            shape = {"height_px": height_px, "width_px": width_px}
            given = {"name": f"{cell_line}-{role}", "cell_line": cell_line, "role": role, "fovs": fovs} | shape
            made = execute(
                synthesize.TASK, synthesize.Params.model_validate({**given, "random_seed": random_seed}), store
            )
            folder = str(store / made.outputs["plate"])
            plates[role].append(execute(ingest.TASK, ingest.Params(folder=folder), store).outputs["plate"])
    return plates


def chosen_settings(plates: Sequence[str], store: Path) -> dict[str, Any]:
    """Give settings chosen on fields of training plates that ROIs would be kept back of."""
    rois = execute(augment.TASK, augment.Params(plates=list(plates), rois=100, validation_share=0.3), store)
    params = calibrate.Params.model_validate({**MODEL, "rois": rois.outputs["rois"]})
    settings: dict[str, Any] = execute(calibrate.TASK, params, store).values["settings"]
    return settings


def print_rows(name: str, settings: dict[str, Any], plates: Sequence[str], store: Path) -> dict[str, float]:
    """Print F1 of each cell line; gives all metrics."""
    segmented = [done(segment.TASK, {**MODEL, "settings": settings, "plate": plate}, store) for plate in plates]
    paths = [result.outputs["segmentation"] for result, _ in segmented]
    metrics = execute(score.TASK, score.Params(segmentations=paths), store).metrics
    use = sum(cpu_s for _, cpu_s in segmented) / megapixels(store / plate for plate in plates)
    first = f"f1_at_{REPORTED_IOU_THRESHOLDS[0]}/"
    for cell_line in sorted(metric.removeprefix(first) for metric in metrics if metric.startswith(first)):
        f1 = " | ".join(f"{metrics[f'f1_at_{at}/{cell_line}']:.3f}" for at in REPORTED_IOU_THRESHOLDS)
        print(f"| {name} | {cell_line} | {f1} | {use:.2f} |", flush=True)
    return metrics


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out_folder", type=Path)
    parser.add_argument("--plates", nargs="+", choices=("synthetic", "dsb2018"), default=["synthetic", "dsb2018"])
    parser.add_argument("--chosen", action="store_true", help="segment by chosen settings too")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    print(
        f"| settings | cell line | {' | '.join(f'F1 at {at}' for at in REPORTED_IOU_THRESHOLDS)} | CPU s a megapixel |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    reached = 1.0
    for kind in args.plates:
        store = args.out_folder / kind
        found = synthetic_plates(store) if kind == "synthetic" else ingested_plates(store)
        reached = min(reached, print_rows("usual", {}, found["test"], store).get(WHERE, 1.0))
        if args.chosen:
            print_rows("chosen", chosen_settings(found["train"], store), found["test"], store)
    if reached < LEAST:
        print(f"F1 at 0.7 on synthetic MCF10A is {reached:.3f}, not {LEAST} at least")
        sys.exit(1)
