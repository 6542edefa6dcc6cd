"""The results of `segment_plate` in the store: which plates were segmented with which models, and their fields.

Every path in a result is one of the store, or the result isn't shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from nucleus_dags.in_store import in_store
from nucleus_dags.manifest import manifest
from nucleus_dags.page.damaged import left_out_if_damaged, reading
from nucleus_dags.page.known_plates import plate_at
from nucleus_dags.page.remembered import remembered
from nucleus_dags.page.store_results import RESULT, json_at, read_json, result_at, results_of
from nucleus_dags.plates.named_results import name_of_model
from nucleus_dags.plates.names import is_key, is_result_key
from nucleus_dags.plates.stored import StoredPlate

TASK, DAG_ID = "assemble_plate", "segment_plate"


@dataclass(frozen=True)
class SegmentedPlate:
    """A plate that was segmented as a whole with one model."""

    key: str
    """Of the result of `assemble_plate`."""
    folder: Path
    made_at: datetime
    plate: str
    """Name of the plate."""
    plate_folder: Path
    """Of the version of it that was segmented, in the store."""
    model: str
    """Name of the model in addresses, as in the folder results/."""
    version: int | None
    """Of the registered model; None of one that isn't registered."""
    model_key: str
    model_in_words: str
    """As in tables and pictures."""
    outputs: Mapping[str, str]
    """Paths relative to the store."""
    counts: Mapping[str, int]
    parts: tuple[Path, ...]
    """Folders of `segment`, each of some fields."""

    @property
    def address(self) -> str:
        """Below the section, of what is shown of this plate and model."""
        return f"{self.plate}/{self.model}"

    @property
    def labels(self) -> Path:
        return self.folder / "labels"

    def output(self, name: str) -> Path | None:
        """Give a file or folder of the result by its name in outputs; None if it has none."""
        return self.folder / Path(self.outputs[name]).name if name in self.outputs else None


class Field(NamedTuple):
    """One field of view of a segmented plate."""

    name: str
    well: str
    """Empty where the name gives none."""
    site: int | None
    image: Path
    true_labels: Path | None
    """Label image that the plate came with."""


class Run(NamedTuple):
    """The DAG run that made a result; known while its receipts are kept."""

    receipts: Path
    """`dag_runs/<DAG>/<id of the run>` in the store."""
    mlflow_run_id: str

    @property
    def dag_id(self) -> str:
        return self.receipts.parent.name

    @property
    def run_id(self) -> str:
        return self.receipts.name


def segmented_plates(store: Path) -> list[SegmentedPlate]:
    """Give all segmented plates, first the one that was asked for last. Damaged ones are left out."""
    found = (segmented_plate(store, result.key) for result in reversed(results_of(store, TASK)))
    return [one for one in found if one]


def segmented_plate(store: Path, key: str) -> SegmentedPlate | None:
    """Give one by its key; None if there is none."""
    path = store / TASK / key / RESULT
    with left_out_if_damaged(path):
        return _read(path) if is_result_key(key) and path.exists() else None
    return None


def fields_of(result: SegmentedPlate) -> Mapping[str, Field]:
    """Give the fields of a plate by name, sorted."""
    report = result.plate_folder / "report.json"
    with reading(report):
        return _fields(report, report.stat().st_mtime_ns)


def doubts_of(result: SegmentedPlate) -> Mapping[str, list[str]]:
    """Say of each field whose label image looks wrong why."""
    # Only parts with doubts have the file.
    files = [path for part in result.parts if (path := part / "doubts.json").exists()]
    return {field: doubts for path in files for field, doubts in json_at(path).items()}


def plate_of(result: SegmentedPlate) -> StoredPlate:
    return plate_at(result.plate_folder)


def info_of(result: SegmentedPlate) -> Mapping[str, Any]:
    """Give the plate.json of the plate."""
    return json_at(result.plate_folder / "plate.json")


def runs_by_key(store: Path) -> dict[str, Run]:
    """Give the DAG run that made each result; of several, the latest."""
    found: list[tuple[float, Path, str, Run]] = []
    for path in store.glob(f"dag_runs/{DAG_ID}/*/{TASK}/*.json"):
        # A task that runs again takes its receipt away.
        with left_out_if_damaged(path), suppress(FileNotFoundError):
            receipt = json_at(path)
            run = Run(path.parents[1], receipt.get("mlflow_run_id") or "")
            found.append((path.stat().st_mtime, path, receipt["key"], run))
    return {key: run for _, _, key, run in sorted(found)}


@remembered
def _read(path: Path) -> SegmentedPlate | None:
    """Read a result; None for one that names anything that isn't of the store, or is of an early version."""
    result = result_at(path.parent)
    model, parts, store = result.params.get("model"), result.params["segmentations"], result.store
    if not isinstance(model, dict) or not all(_is_result(part, "segment") for part in parts):
        return None
    plate = part_at(in_store(store, parts[0]) / RESULT)["params"]["plate"]
    task, _, key = plate.partition("/")
    if task != "ingest" or not is_key(key):
        return None
    return SegmentedPlate(
        key=result.key,
        folder=result.folder,
        made_at=result.made_at,
        plate=key.rpartition("@")[0],
        plate_folder=in_store(store, plate),
        model=name_of_model(model),
        version=model.get("version"),
        model_key=model["key"],
        model_in_words=_in_words(model),
        outputs=result.content["outputs"],
        counts=result.content["counts"],
        parts=tuple(in_store(store, part) for part in parts),
    )


def _in_words(model: Mapping[str, Any]) -> str:
    registered = manifest()["registered_model"]
    name = f"{registered} version {model['version']}" if "version" in model else model["name"]
    return f"{name}, {model['key']}"


def _is_result(path: str, task: str) -> bool:
    of_task, _, key = path.partition("/")
    return of_task == task and is_result_key(key)


@lru_cache(maxsize=16)
def _fields(report: Path, state: int) -> Mapping[str, Field]:
    folder = report.parent
    fields = [
        Field(
            *(row["fov"], row["well"], row["site"], folder / "images" / Path(row["image"]).name),
            folder / "labels" / Path(row["labels"]).name if row["labels"] else None,
        )
        for row in read_json(report)["fovs"]
    ]
    return {field.name: field for field in sorted(fields, key=lambda field: field.name)}


@remembered
def part_at(path: Path) -> dict[str, Any]:
    """Give what remarks are made of, of a result of `segment`: the names of its fields would fill the memory."""
    result = read_json(path)
    known = {name: result.get(name, {}) for name in ("values", "counts", "outputs")}
    return known | {"params": {"plate": result["params"]["plate"]}}
