"""Measure time and memory of putting a plate together: python -m tests.benchmarks.assemble_plate OUT_FOLDER FIELDS.

The fields are four synthetic ones of 1080 x 1280 px under many names, nine per well, in parts of 50.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.synthesis import KINDS, synthesize_fov
from tasks.steps.assemble_plate import Params
from tasks.store.registered_model import ModelName
from tests.plates import make_plate
from tests.segmentations import add_part

SHAPE = (1080, 1280)
SITES = 9
PART = 50


def field_name(number: int) -> str:
    well, site = divmod(number, SITES)
    row, column = divmod(well, 24)
    return f"screen_{chr(ord('A') + row)}{column + 1:02d}_T0001F{site + 1:03d}L01A01Z01C01"


def make_store(store: Path, fields: int) -> list[str]:
    """Make a plate and its segmentations; gives the paths of these."""
    rng = np.random.default_rng(0)
    made = [synthesize_fov(KINDS["U2OS"], SHAPE, rng) for _ in range(4)]
    names = [field_name(number) for number in range(fields)]
    images = {name: made[number % 4].image for number, name in enumerate(names)}
    plate = open_plate(make_plate(store / "screen", images, {}, role="test"))
    labels = {name: made[number % 4].label_image for number, name in enumerate(names)}
    starts = range(0, fields, PART)
    return [
        add_part(store, f"part{start}", plate, {name: labels[name] for name in names[start : start + PART]})
        for start in starts
    ]


def measure(store: Path, params: Params) -> str:
    """Run the task by itself; gives its seconds and the most memory that any run of this program took."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "tasks.steps.assemble_plate",
        "--params",
        params.model_dump_json(),
        "--store",
        store,
    ]
    started = time.monotonic()
    subprocess.run(command, check=True)
    seconds = time.monotonic() - started
    peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return f"{seconds:.1f} s, {peak_mib:.0f} MiB"


if __name__ == "__main__":
    folder, amount = Path(sys.argv[1]), int(sys.argv[2])
    segmentations = make_store(folder, amount)
    for ome_zarr in (False, True):
        params = Params(segmentations=segmentations, model=ModelName(version=3, key="0" * 16), ome_zarr=ome_zarr)
        print(f"{amount} fields, OME-Zarr {ome_zarr}: {measure(folder, params)}")
