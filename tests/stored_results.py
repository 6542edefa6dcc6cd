"""What `ingest` and `segment` leave in the store, for fields of one line of pixels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from tasks.contract import Result


def image(line: list[int]) -> NDArray[np.uint16]:
    return np.array([line], np.uint16)


def add_plate(store: Path, name: str, cell_line: str, truths: dict[str, list[int]]) -> str:
    """Make what `ingest` leaves in the store; gives its path there."""
    path = f"ingest/{name}@0123456789ab"
    folder = store / path
    info = {"name": name, "cell_line": cell_line, "objective": "20X", "binning": 1, "pixel_size_um": 0.5}
    info |= {"role": "test", "replicate": "biological", "annotation": "manual"}
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    (folder / "plate.json").write_text(json.dumps(info))
    for fov, line in truths.items():
        tifffile.imwrite(folder / "images" / f"{fov}.tif", image(line))
        tifffile.imwrite(folder / "labels" / f"{fov}.tif", image(line))
    return path


def add_segmentation(store: Path, plate: str, predictions: dict[str, list[int]], key: str | None = None) -> str:
    """Make what `segment` leaves in the store, under `key` or the plate's name; gives its path there."""
    path = f"segment/{key or Path(plate).name.split('@')[0]}"
    folder = store / path
    (folder / "labels").mkdir(parents=True)
    for fov, line in predictions.items():
        tifffile.imwrite(folder / "labels" / f"{fov}.tif", image(line))
    store_result(store, path, {"plate": plate, "networks": []}, {"segmentation": path})
    return path


def store_result(store: Path, path: str, params: dict[str, Any], outputs: dict[str, str] | None = None) -> None:
    """Write the result.json of a task's output folder."""
    folder = store / path
    folder.mkdir(parents=True, exist_ok=True)
    result = Result(
        task=folder.parent.name,
        key=folder.name,
        version=1,
        params=params,
        outputs=outputs or {},
        metrics={},
        counts={},
        libraries={},
        seconds=0.0,
    )
    (folder / "result.json").write_text(result.model_dump_json())


def add_scored_plate(store: Path, name: str, cell_line: str, fovs: dict[str, tuple[list[int], list[int]]]) -> str:
    plate = add_plate(store, name, cell_line, {fov: truth for fov, (truth, _) in fovs.items()})
    return add_segmentation(store, plate, {fov: prediction for fov, (_, prediction) in fovs.items()})
