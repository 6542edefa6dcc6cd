"""Reads mutated files in a process of its own, within bounds of memory and time, and counts what came of them.

    python -m tests.situations.read_mutated KIND AMOUNT FOLDER

What is neither accepted nor refused with an InputError ends the process with a traceback.
"""

from __future__ import annotations

import json
import logging
import resource
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import h5py
import imagecodecs
import numpy as np
import tifffile

from tasks.contract import execute
from tasks.methods.shared.weights_file import read_weights
from tasks.nuclei.errors import InputError
from tasks.nuclei.roi_file import RoiReader
from tasks.steps.ingest import TASK, Params
from tests.rois import make_roi_file
from tests.situations.mutations import mutated
from tests.situations.ome_zarr import IMAGES, OmeZarr
from tests.situations.plain import field, plain_plate, put_image, put_labels

MEMORY_BYTES = 2 * 2**30
"""Above what the process has once its libraries are loaded."""
SECONDS = 20
SIDE_PX = 96
SIDE_IN_CHUNKS_PX = 160
"""Four chunks."""
WEIGHTS = "weights.h5"


def of_tiff(folder: Path) -> list[Path]:
    return [folder / "images/f1.tif"]


def of_tiff_in_tiles(folder: Path) -> list[Path]:
    put_image(folder, field(1, SIDE_PX)[0], tile=(32, 32), compression="zlib", predictor=True)
    return [folder / "images/f1.tif"]


def of_ome_tiff(folder: Path) -> list[Path]:
    (folder / "images/f1.tif").unlink()
    metadata = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}
    path = folder / "images/f1.ome.tif"
    tifffile.imwrite(path, field(1, SIDE_PX)[0], ome=True, metadata=metadata)
    return [path]


def of_labels(folder: Path) -> list[Path]:
    put_labels(folder, field(1, SIDE_PX)[1], compression="lzw")
    return [folder / "labels/f1.tif"]


def of_png(folder: Path) -> list[Path]:
    (folder / "images/f1.tif").unlink()
    (folder / "images/f1.png").write_bytes(imagecodecs.png_encode(field(1, SIDE_PX)[0]))
    return [folder / "images/f1.png"]


def of_plate_json(folder: Path) -> list[Path]:
    return [folder / "plate.json"]


def of_ome_zarr(folder: Path) -> list[Path]:
    OmeZarr(side_px=SIDE_IN_CHUNKS_PX).write(folder)
    return [path for path in (folder / IMAGES).rglob("*") if path.is_file()]


PLATES: dict[str, Callable[[Path], list[Path]]] = {
    "TIFF": of_tiff,
    "TIFF in tiles": of_tiff_in_tiles,
    "OME-TIFF": of_ome_tiff,
    "labels": of_labels,
    "PNG": of_png,
    "plate.json": of_plate_json,
    "OME-Zarr": of_ome_zarr,
}
"""Write what is to be mutated into a small plate; give its files."""


def write_weights(folder: Path) -> Path:
    """Write a file of weights in Keras' layout."""
    with h5py.File(folder / WEIGHTS, "w") as file:
        for layer in ("conv1", "conv2"):
            kernel = np.ones((3, 3, 4, 4), np.float32)
            file.create_dataset(f"{layer}/{layer}/kernel:0", data=kernel, compression="gzip")
    return folder / WEIGHTS


def write_rois(folder: Path) -> Path:
    """Write a small ROI file."""
    return make_roi_file(folder / "rois.h5")


def read_rois(path: Path) -> None:
    reader = RoiReader(path)
    for row in reader.training_rows:
        reader.image(int(row))


FILES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "weights in HDF5": (write_weights, read_weights),
    "ROIs in HDF5": (write_rois, read_rois),
}
KINDS = (*PLATES, *FILES)


def read_plates(kind: str, amount: int, folder: Path) -> Counter[str]:
    """Import a plate again and again, each time with one file mutated."""
    rng = np.random.default_rng(0)
    plate, store = plain_plate(folder / "plate", SIDE_PX), folder / "store"
    paths = PLATES[kind](plate)
    whole = {path: path.read_bytes() for path in paths}
    params = Params(folder=str(plate))
    outcomes: Counter[str] = Counter()
    for _ in range(amount):
        path = paths[rng.integers(len(paths))]
        path.write_bytes(mutated(whole[path], rng))
        outcomes[outcome_of(lambda: execute(TASK, params, store))] += 1
        path.write_bytes(whole[path])
    return outcomes


def read_files(kind: str, amount: int, folder: Path) -> Counter[str]:
    """Read a file again and again, mutated each time."""
    rng = np.random.default_rng(0)
    write, read = FILES[kind]
    path = write(folder)
    whole = path.read_bytes()
    outcomes: Counter[str] = Counter()
    for _ in range(amount):
        path.write_bytes(mutated(whole, rng))
        outcomes[outcome_of(lambda: read(path))] += 1
    return outcomes


def outcome_of(read: Callable[[], object]) -> str:
    signal.alarm(SECONDS)  # Its signal ends the process: nothing may hang.
    try:
        read()
    except InputError as error:
        return "refused in several lines" if "\n" in str(error) else "refused"
    finally:
        signal.alarm(0)
    return "accepted"


def bound_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    bound_memory()
    kind_of_file, how_many, where = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    read_all = read_plates if kind_of_file in PLATES else read_files
    print(json.dumps(read_all(kind_of_file, how_many, where)))
