"""What tasks leave in the store: plates and segmentations of fields of one line of pixels, and models."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from tasks import tracking
from tasks.contract import Result, Task


def image(line: list[int]) -> NDArray[np.uint16]:
    return np.array([line], np.uint16)


def add_plate(
    store: Path, name: str, cell_line: str, truths: dict[str, list[int]], ignored: Mapping[str, list[int]] = {}
) -> str:
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
    for fov, line in ignored.items():
        (folder / "ignored").mkdir(exist_ok=True)
        tifffile.imwrite(folder / "ignored" / f"{fov}.tif", image(line))
    store_result(store, path, {"folder": name}, {"plate": path})
    return path


def add_segmentation(store: Path, plate: str, predictions: dict[str, list[int]], key: str | None = None) -> str:
    """Make what `segment` leaves in the store, under `key` or the plate's name; gives its path there."""
    path = f"segment/{key or Path(plate).name.split('@')[0]}"
    folder = store / path
    (folder / "labels").mkdir(parents=True)
    for fov, line in predictions.items():
        tifffile.imwrite(folder / "labels" / f"{fov}.tif", image(line))
    params = {"method": "fpn2_ws", "networks": [], "settings": {}, "plate": plate}
    store_result(store, path, params, {"segmentation": path})
    return path


def count_own(store: Path, result: str, number: int) -> None:
    """Write into a segmentation, or scores, how many true labels its model proposed itself."""
    path = store / result / "result.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"counts": {**content["counts"], "own_proposals": number}}))


def add_model(
    store: Path, key: str, plates: Sequence[str] = (), initialisation: str = "random", method: str = "fpn2_ws"
) -> str:
    """Make what `augment`, a training and `register_model` leave in the store, all under one key; gives the model."""
    network = f"train_{method}/{key}"
    store_result(store, f"augment/{key}", {"plates": list(plates)})
    store_result(store, network, {"rois": f"augment/{key}/rois.h5", "initialisation": initialisation})
    (store / network / "network.json").write_text(json.dumps({"method": method}))
    params = {"method": method, "networks": [network], "settings": {}}
    store_result(store, f"register_model/{key}", params)
    return f"register_model/{key}"


def register(store: Path, model: str, tags: Mapping[str, str] = {}) -> None:
    """Register a model of the store from the MLflow run that is open."""
    (store / "files_of_model").mkdir(exist_ok=True)
    (store / "files_of_model" / "weights").write_text("")
    tracking.Run().register_model(store / "files_of_model", Path(model).name, tags, "A model.")


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


def store_result_of(store: Path, task: Task[Any], params: dict[str, Any], output: str, file: str = "") -> str:
    """Put the result of a task into the store under its key; gives its output."""
    parsed = task.params_type.model_validate(params)
    path = f"{task.name}/{task.output_key(parsed, store)}"
    store_result(store, path, parsed.model_dump(mode="json"), {output: f"{path}/{file}".rstrip("/")})
    if file:
        (store / path / file).write_bytes(b"0" * 1000)
    return f"{path}/{file}".rstrip("/")


def add_scored_plate(store: Path, name: str, cell_line: str, fovs: dict[str, tuple[list[int], list[int]]]) -> str:
    plate = add_plate(store, name, cell_line, {fov: truth for fov, (truth, _) in fovs.items()})
    return add_segmentation(store, plate, {fov: prediction for fov, (_, prediction) in fovs.items()})
