"""Which scaling of intensities keeps nuclei visible in faulty fields, and empty wells empty? Prints a line for each.

    python -m tests.benchmarks.faulty_fields OUT_FOLDER

Trains a network by each scaling on the same synthetic fields from random weights, two CPU minutes each, and has it
segment fields of round nuclei with faults: F1 at an IoU of 0.7 over three fields of 25 nuclei, and in wells without a
nucleus, on a plate with such fields, the number that was found. What a border covers doesn't count; a dead cell that is
found counts against F1. Started again with the same folder, it trains nothing anew. With --calibrations it tries
networks of a store instead, with the settings that `calibrate` gave them:

    python -m tests.benchmarks.faulty_fields STORE --calibrations calibrate/0123456789abcdef
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tasks.contract import execute, read_result
from tasks.methods.fpn2_ws import train as train_fpn
from tasks.methods.registry import load_segmenter, method_named
from tasks.methods.segmenter import Segmenter
from tasks.nuclei.intensity import SCALINGS, Scaling
from tasks.nuclei.scoring import count, f1_score, pool, score_instances
from tasks.steps import augment, calibrate, ingest, synthesize
from tests.faulty_fields import FAULTS, HARD_FIELDS, Image, empty_wells, field, glare

SEEDS = (1, 2, 3)
IOU_THRESHOLD = 0.7
SHOWN_FAULTS = (
    "a hot pixel",
    "15 hot pixels",
    "150 hot pixels",
    "a hot column",
    "a dead cell, 10 times as bright",
    "three dead cells",
    "a narrow black border",
    "a wide black border",
    "a saturated edge",
    "a wide saturated border",
    "glare in a corner",
)


class Field(NamedTuple):
    image: Image
    labels: NDArray[np.int32]


def faulty_fields() -> Iterator[tuple[str, list[Field]]]:
    """Give what is wrong with some fields, and the fields."""
    yield "none", [Field(*field(seed=seed)) for seed in SEEDS]
    for name in SHOWN_FAULTS:
        yield name, [with_fault(FAULTS[name], *field(seed=seed)) for seed in SEEDS]
    yield (
        "a dead pixel, camera with an offset of 2,000",
        [with_fault(FAULTS["a dead pixel"], *field(background=2000, seed=seed)) for seed in SEEDS],
    )
    yield "glare over an eighth of the field", [with_fault(glare(40, 60), *field(seed=seed)) for seed in SEEDS]
    for name, make in HARD_FIELDS.items():
        yield name, [Field(*make(seed)) for seed in SEEDS]
    single = [field(nuclei=1, seed=seed) for seed in SEEDS]
    yield "one nucleus alone", [Field(*alone) for alone in single]
    yield "one nucleus alone and a hot pixel", [with_fault(FAULTS["a hot pixel"], *alone) for alone in single]


def with_fault(fault: Callable[[Image], Image], image: Image, labels: NDArray[np.int32]) -> Field:
    faulty = fault(image)
    covered = (faulty == faulty.min()) | (faulty == faulty.max())
    # Single pixels hide no nucleus, and brightness that is added hides none altogether.
    return Field(faulty, np.where(covered & (faulty != image), 0, labels))


def trained(scaling: Scaling, store: Path) -> Segmenter:
    """Train with a scaling on synthetic fields, choose thresholds, and give what segments."""
    plate = synthesize.Params(name="train", cell_line="MCF10A", fovs=4, height_px=768, width_px=768, random_seed=1)
    folder = store / execute(synthesize.TASK, plate, store).outputs["plate"]
    plates = [execute(ingest.TASK, ingest.Params(folder=str(folder)), store).outputs["plate"]]
    cut = augment.Params(plates=plates, rois=320, zoom=0.5, augmentation="Gentle", scaling=scaling)
    rois = execute(augment.TASK, cut, store).outputs["rois"]
    training = train_fpn.Params.model_validate({"rois": rois, "target": "all", "preset": "laptop", "cycles": 3})
    network = execute(train_fpn.TASK, training, store).outputs["network"]
    chosen: dict[str, Any] = {"method": "fpn2_ws", "networks": [network]}
    values = execute(calibrate.TASK, calibrate.Params.model_validate(chosen), store).values
    method = method_named("fpn2_ws")
    return load_segmenter(method, [store / network], method.settings.model_validate(values["settings"]))


def stored(calibration: str, store: Path) -> Segmenter:
    """Give what segments with networks of the store and the settings of an output of `calibrate`."""
    result = read_result(store / calibration)
    method = method_named(result.params["method"])
    networks = [store / network for network in result.params["networks"]]
    return load_segmenter(method, networks, method.settings.model_validate(result.values["settings"]))


def f1_of(segmenter: Segmenter, fields: list[Field]) -> str:
    counts = [count(score_instances(one.labels, segmenter.segment(one.image)), [IOU_THRESHOLD]) for one in fields]
    pooled = pool(counts)
    return f"{f1_score(pooled.tp, pooled.fp, pooled.fn)[0]:.2f}"


def compare(named: dict[str, Segmenter]) -> None:
    segmenters, columns = list(named.values()), f"{' | '.join(named)} |\n|---{'|---' * len(named)}|"
    print(f"| fault | {columns}", flush=True)
    for name, fields in faulty_fields():
        print(f"| {name} | {' | '.join(f1_of(segmenter, fields) for segmenter in segmenters)} |", flush=True)
    print(f"\n| empty wells | {columns}", flush=True)
    wells = [empty_wells(seed) for seed in SEEDS]
    beside_nuclei = [one.at_the_level_of(field(seed=seed)[0] for seed in SEEDS) for one in segmenters]
    for name in wells[0]:
        found = [sum(int(segmenter.segment(well[name]).max()) for well in wells) for segmenter in beside_nuclei]
        print(f"| {name} | {' | '.join(map(str, found))} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out_folder", type=Path)
    parser.add_argument("--scalings", nargs="+", choices=SCALINGS, default=list(SCALINGS))
    parser.add_argument("--calibrations", nargs="+", default=[])
    args = parser.parse_args()
    started = time.monotonic()
    if args.calibrations:
        compare({calibration: stored(calibration, args.out_folder) for calibration in args.calibrations})
    else:
        compare({scaling: trained(scaling, args.out_folder) for scaling in args.scalings})
    print(f"{time.monotonic() - started:.0f} s in all")
