"""Segmented plates for tests: made by the tasks themselves, or many with no more than lists need."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from tasks.contract import execute
from tasks.nuclei.plates.files import open_plate
from tasks.steps import assemble_plate, ingest
from tasks.store.registered_model import ModelName, ReadyModelName
from tests.dags.stored_plates import add_plate
from tests.fields import round_nuclei
from tests.plates import make_plate
from tests.segmentations import add_part
from tests.stored_results import store_result

CHAMPION = ModelName(version=3, key="0123456789abcdef")
SIDE_PX = 400
NUCLEI = 12


def field(well: str, site: int) -> str:
    return f"p_{well}_T0001F{site:03d}L01A01Z01C01"


B07_1, B07_2, D08_1 = field("B07", 1), field("B07", 2), field("D08", 1)
"""The second has a doubtful nucleus, 5, and a label image that looks wrong; the third has no nucleus."""


class Segmented:
    """Makes each result once, in a folder, and puts copies of it into stores."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[Any, ...], tuple[Path, str]] = {}

    def put(
        self,
        store: Path,
        name: str = "screen",
        model: ModelName | ReadyModelName = CHAMPION,
        role: str = "screen",
        ome_zarr: bool = False,
    ) -> str:
        """Put a segmented plate into a store, see `segment`; gives the key of the result."""
        wanted = (name, model, role, ome_zarr)
        if wanted not in self._made:
            folder = self._folder / str(len(self._made))
            self._made[wanted] = (folder / "store", segment(folder / "store", folder, *wanted))
        made, key = self._made[wanted]
        shutil.copytree(made, store, dirs_exist_ok=True)
        return key


def segment(store: Path, folder: Path, name: str, model: ModelName | ReadyModelName, role: str, ome_zarr: bool) -> str:
    """Import a plate of three fields and leave what `segment_plate` leaves of it; gives the key of the result.

    A plate that isn't for screening has the same labels as are found.
    """
    pictures = {fov: round_nuclei(seed, (SIDE_PX, SIDE_PX), NUCLEI) for seed, fov in enumerate((B07_1, B07_2, D08_1))}
    images = {fov: image for fov, (image, _) in pictures.items()}
    found = {fov: labels if fov != D08_1 else np.zeros_like(labels) for fov, (_, labels) in pictures.items()}
    plate = make_plate(folder / name, images, {} if role == "screen" else found, role=role, annotation="manual")
    stored = execute(ingest.TASK, ingest.Params(folder=str(plate)), store).outputs["plate"]
    confidences = {fov: [0.95] * int(labels.max()) for fov, labels in found.items()}
    confidences[B07_2][4] = 0.2
    part = add_part(store, "a" * 16, open_plate(store / stored), found, {"plate": stored}, confidences)
    doubt_about(store / part, {B07_2: ["looks like a mask"]})
    return execute(
        assemble_plate.TASK, assemble_plate.Params(segmentations=[part], model=model, ome_zarr=ome_zarr), store
    ).key


def doubt_about(part: Path, doubts: dict[str, list[str]]) -> None:
    (part / "doubts.json").write_text(json.dumps(doubts))
    result = json.loads((part / "result.json").read_bytes())
    shown = [f"{fov}: {doubt}" for fov, of_field in doubts.items() for doubt in of_field]
    result |= {"values": {"doubts": shown, "remarks": []}, "counts": {"fovs": 3, "doubtful_fovs": len(doubts)}}
    (part / "result.json").write_text(json.dumps(result))


def add_receipt(store: Path, run_id: str, task: str, key: str, **values: Any) -> None:
    """Leave the receipt of a task of a run of `segment_plate`."""
    folder = store / "dag_runs/segment_plate" / run_id / task
    folder.mkdir(parents=True)
    receipt = {"task": task, "key": key, "params": {}, "outputs": {}, "values": values, "mlflow_run_id": "0" * 32}
    (folder / "-1.json").write_text(json.dumps(receipt))


def add_many(store: Path, results: int, plates: int, fields: int) -> None:
    """Leave results with what lists need of them: each of one of so many plates and of a version of its own."""
    rows = [
        {"fov": f"f{number:04}", "well": "B07", "site": number, "image": f"images/f{number:04}.tif", "labels": None}
        for number in range(fields)
    ]
    paths = [add_plate(store, f"plate{number:03}", "screen", f"{number:012x}", fovs=rows) for number in range(plates)]
    for number in range(results):
        key, part = f"{number:016x}", f"segment/{number:016x}"
        store_result(store, part, {"plate": paths[number % plates]}, {"segmentation": part})
        params = {"segmentations": [part], "model": {"version": number // plates + 1, "key": key}}
        store_result(store, f"assemble_plate/{key}", params, {"assembled": f"assemble_plate/{key}"})
        made = store / f"assemble_plate/{key}/result.json"
        made.write_text(made.read_text().replace('"counts":{}', '"counts":{"fovs":9,"nuclei":900,"wells":3}'))
        for path in (made, made.parent):
            os.utime(path, (number, number))
        add_receipt(store, f"manual__{number}", "assemble_plate", key)
