"""Plates for the tests of tasks.steps.ingest, and its calls."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from tasks.contract import Result, execute
from tasks.steps.ingest import TASK, Params
from tests.plates import make_plate, two_squares
from tests.repository import REPOSITORY

IMAGE, LABEL_IMAGE = two_squares()


def two_fields(folder: Path) -> Path:
    """Make two fields of view, with four nuclei of 16, 36, 16 and 36 px in all."""
    arrays = {"a": IMAGE, "b": IMAGE}, {"a": LABEL_IMAGE, "b": LABEL_IMAGE}
    return make_plate(folder, *arrays, pixel_size_um=0.5)


def one_field(folder: Path, image: NDArray[Any] = IMAGE, **info: Any) -> Path:
    return make_plate(folder, {"a": image}, {"a": LABEL_IMAGE}, **info)


def relabel(plate: Path, label_image: NDArray[Any]) -> None:
    for path in (plate / "labels").iterdir():
        tifffile.imwrite(path, label_image)


def cut_image(plate: Path) -> None:
    path = plate / "images/b.tif"
    path.write_bytes(path.read_bytes()[:-300])


def ingest(plate: Path, store: Path, **params: Any) -> Result:
    return execute(TASK, Params(folder=str(plate), **params), store)


def run_command(plate: Path, store: Path, **params: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "tasks.steps.ingest"),
            *("--params", json.dumps({"folder": str(plate)} | params)),
            *("--store", str(store)),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def report_of(result: Result, store: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((store / result.outputs["plate"] / "report.json").read_text())
    return report


def stored_plates(store: Path) -> list[str]:
    return [path.name for path in store.glob("ingest/*") if not path.name.startswith(".")]
