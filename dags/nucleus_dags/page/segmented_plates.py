"""The results of `segment_plate` in the store: which plates were segmented with which models, and what to know of them.

Every path in a result is one of the store, or the result isn't shown.
"""

from __future__ import annotations

import glob
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from nucleus_dags.manifest import manifest
from nucleus_dags.page.damaged import DAMAGED, left_out_if_damaged
from nucleus_dags.page.registered import Registry
from nucleus_dags.page.remembered import remembered
from nucleus_dags.planning.remarks import remarks_on, remarks_on_segmentations
from nucleus_dags.planning.usability import MARK, shortcoming
from nucleus_dags.plates.named_results import name_of_model
from nucleus_dags.plates.names import is_key
from nucleus_dags.plates.stored import StoredPlate, read_plate

TASK, DAG_ID = "assemble_plate", "segment_plate"
_KEY = re.compile("[0-9a-f]{16}")
_ITEM, _DETAIL = re.compile(r"- (?:\*\*[^*]+\*\*:? )?(.*)"), re.compile(r" +- (.*)")
"""Lines of a note. Its plate is known where they are shown."""

log = logging.getLogger(__name__)


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


class Remark(NamedTuple):
    """What a person should know of a result, with single fields or files below."""

    text: str
    details: tuple[str, ...] = ()


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


class _Receipt(NamedTuple):
    key: str
    mlflow_run_id: str
    warning: str
    """Of `find_model`."""


def segmented_plates(store: Path) -> list[SegmentedPlate]:
    """Give all segmented plates, first the one that was asked for last. Damaged ones are left out."""
    found: list[tuple[float, SegmentedPlate]] = []
    for path in store.glob(f"{TASK}/[!.]*/result.json"):
        with left_out_if_damaged(path):
            if one := _read(path):
                # Of a result that is there already, `execute` dates only the folder anew.
                found.append((one.folder.stat().st_mtime, one))
    return [one for _, one in sorted(found, key=lambda dated: dated[0], reverse=True)]


def segmented_plate(store: Path, key: str) -> SegmentedPlate | None:
    """Give one by its key; None if there is none."""
    path = store / TASK / key / "result.json"
    with left_out_if_damaged(path):
        return _read(path) if _KEY.fullmatch(key) and path.exists() else None
    return None


def fields_of(result: SegmentedPlate) -> Mapping[str, Field]:
    """Give the fields of a plate by name, sorted."""
    report = result.plate_folder / "report.json"
    return _fields(report, report.stat().st_mtime_ns)


def doubts_of(result: SegmentedPlate) -> Mapping[str, list[str]]:
    """Say of each field whose label image looks wrong why."""
    # Only parts with doubts have the file.
    files = [path for part in result.parts if (path := part / "doubts.json").exists()]
    return {field: doubts for path in files for field, doubts in _json(path).items()}


def plate_of(result: SegmentedPlate) -> StoredPlate:
    return _plate(result.plate_folder / "report.json")


def info_of(result: SegmentedPlate) -> Mapping[str, Any]:
    """Give the plate.json of the plate."""
    return _json(result.plate_folder / "plate.json")


def remarks_of(result: SegmentedPlate, run: Run | None, registry: Registry) -> list[Remark]:
    """Say all that a person should know of a result: of its model, its label images, and its plate."""
    remarks = [*_on_model(result, registry), *(_in_note(run) if run else ())]
    try:
        parts: Any = [_part(part / "result.json") for part in result.parts]
        lines = [*remarks_on_segmentations(parts), *remarks_on([plate_of(result)])]
        remarks += [*_as_remarks(lines), *_on_version(result)]
    except DAMAGED as error:
        log.warning("A part of %s, or its plate, is lost or damaged: %r", result.folder, error)
        remarks.append(Remark("The store has lost a part of this result, or it is damaged."))
    return list(dict.fromkeys(remarks))


def _on_model(result: SegmentedPlate, registry: Registry) -> Iterator[Remark]:
    """Say it if the model is known now to be of no use."""
    version = registry.version(result.version) if result.version else None
    if version and version.key == result.model_key and (wrong := _shortcoming_in(version.tags)):
        yield Remark(f"The model {wrong} of its test plates.")


def _shortcoming_in(tags: Mapping[str, str]) -> str:
    with suppress(ValueError):  # People may change tags in MLflow.
        return shortcoming({"fn_rate/all": float(tags.get("fn_rate/all", 0))}).removeprefix(MARK).strip()
    return ""


def _on_version(result: SegmentedPlate) -> Iterator[Remark]:
    """Say it if the plate was imported anew since."""
    own, folder = plate_of(result), result.plate_folder.parent
    versions = [own]
    for path in folder.glob(f"{glob.escape(result.plate)}@*/report.json"):
        with left_out_if_damaged(path):
            versions.append(_plate(path))
    newest = max(versions, key=lambda plate: plate.frozen_at)
    if newest.path != own.path:
        yield Remark(
            f"It is of an earlier version of the plate, imported on {own.frozen_at[:10]}; the one imported on "
            f"{newest.frozen_at[:10]} counts. Segment the plate again."
        )


def runs_by_key(store: Path) -> dict[str, Run]:
    """Give the DAG run that made each result; of several, the latest."""
    found: list[tuple[float, Path, _Receipt]] = []
    for path in store.glob(f"dag_runs/{DAG_ID}/*/{TASK}/*.json"):
        # A task that runs again takes its receipt away.
        with left_out_if_damaged(path), suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, path, _receipt(path)))
    return {made.key: Run(path.parents[1], made.mlflow_run_id) for _, path, made in sorted(found)}


def _in_note(run: Run) -> list[Remark]:
    """Say what the note of a run says of the model, and of the plate as an outlier."""
    remarks: list[Remark] = []
    for path in run.receipts.glob("find_model/*.json"):
        with left_out_if_damaged(path):
            warning = _receipt(path).warning
            remarks += [Remark(warning.removeprefix(MARK).strip())] if warning else []
    for path in run.receipts.glob("compare/*.json"):
        with left_out_if_damaged(path):
            warnings = run.receipts.parents[2] / "drift" / _receipt(path).key / "warnings.txt"
            found = warnings.read_text().splitlines() if warnings.exists() else []
            remarks += [Remark("It is an outlier among the plates of its cell line:", tuple(found))] if found else []
    return remarks


def _as_remarks(lines: Iterable[str]) -> list[Remark]:
    """Read lines of Markdown: an item for each remark, and below it one for each detail."""
    remarks: list[Remark] = []
    for line in (line.replace("`", "") for line in lines):
        if item := _ITEM.fullmatch(line):
            remarks.append(Remark(item[1]))
        elif detail := _DETAIL.fullmatch(line):
            remarks[-1] = Remark(remarks[-1].text, (*remarks[-1].details, detail[1]))
    return remarks


@remembered
def _read(path: Path) -> SegmentedPlate | None:
    """Read a result; None for one that names anything that isn't of the store, or is of an early version.

    Raises one of DAMAGED where a file is lost or damaged, so that nothing of it is remembered.
    """
    result, folder, store = _json(path), path.parent, path.parents[2]
    model, parts = result["params"].get("model"), result["params"]["segmentations"]
    if not isinstance(model, dict) or not all(_is_result(part, "segment") for part in parts):
        return None
    plate = _part(store / parts[0] / "result.json")["params"]["plate"]
    task, _, key = plate.partition("/")
    if task != "ingest" or not is_key(key):
        return None
    return SegmentedPlate(
        key=folder.name,
        folder=folder,
        made_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        plate=key.rpartition("@")[0],
        plate_folder=store / plate,
        model=name_of_model(model),
        version=model.get("version"),
        model_key=model["key"],
        model_in_words=_in_words(model),
        outputs=result["outputs"],
        counts=result["counts"],
        parts=tuple(store / part for part in parts),
    )


def _in_words(model: Mapping[str, Any]) -> str:
    registered = manifest()["registered_model"]
    name = f"{registered} version {model['version']}" if "version" in model else model["name"]
    return f"{name}, {model['key']}"


def _is_result(path: str, task: str) -> bool:
    of_task, _, key = path.partition("/")
    return of_task == task and _KEY.fullmatch(key) is not None


@lru_cache(maxsize=16)
def _fields(report: Path, state: int) -> Mapping[str, Field]:
    folder = report.parent
    fields = [
        Field(
            *(row["fov"], row["well"], row["site"], folder / "images" / Path(row["image"]).name),
            folder / "labels" / Path(row["labels"]).name if row["labels"] else None,
        )
        for row in _json(report)["fovs"]
    ]
    return {field.name: field for field in sorted(fields, key=lambda field: field.name)}


@remembered
def _plate(report: Path) -> StoredPlate:
    folder = report.parent
    return read_plate(folder.parents[1], folder.relative_to(folder.parents[1]).as_posix())


@remembered
def _part(path: Path) -> dict[str, Any]:
    """Give what remarks are made of, of a result of `segment`: the names of its fields would fill the memory."""
    result = _json(path)
    known = {name: result.get(name, {}) for name in ("values", "counts", "outputs")}
    return known | {"params": {"plate": result["params"]["plate"]}}


@remembered
def _receipt(path: Path) -> _Receipt:
    receipt = _json(path)
    return _Receipt(receipt["key"], receipt.get("mlflow_run_id") or "", receipt.get("values", {}).get("warning", ""))


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content
