"""The parts of test fields that models are shown on beside each other: read from the store, or as logged to MLflow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.figures.error_masks import ErrorMasks, error_masks
from tasks.nuclei.figures.model_panels import Predicted, shown_window
from tasks.nuclei.figures.pictures import Window, display_grey
from tasks.nuclei.inside import inside
from tasks.nuclei.plates.files import Fov, Plate
from tasks.nuclei.plates.image_files import read_ignored, read_image, read_label_image
from tasks.nuclei.scoring import OBJECT_LEVEL_IOU
from tasks.steps.experiments.data import shown_set
from tasks.store.provenance import plate_at, plate_of_segmentation, segmentations_of_scores

INDEX, ARRAYS = "panels.json", "panels.npz"


@dataclass(frozen=True)
class PanelField:
    """A window of a test field of a cell line, with one kind of its labels; arrays are (y, x)."""

    cell_line: str
    labels: str
    """Whose labels are the truth, as tables name them."""
    is_counting: bool
    """Whether these are the labels that count, or a further label set."""
    pixel_size_um: float
    grey: NDArray[np.uint8]
    true_labels: NDArray[np.integer]
    predicted: Mapping[str, Predicted]
    """By the name of the experiment."""


def collect_panels(experiments: Sequence[Mapping[str, Any]], store: Path) -> list[PanelField]:
    """Give a field of each cell line for its labels and for each further label set.

    It is the first field of the first plate that has such labels. Experiments were scored on the same plates.
    """
    segmented = {one["name"]: dict(_segmented_plates(one["scores"], store)) for one in experiments}
    found: dict[tuple[str, str], PanelField] = {}
    for path in next(iter(segmented.values()), {}):
        plate = plate_at(path, store)
        of_plate = {name: inside(store, paths[path]) for name, paths in segmented.items()}
        for labels in (None, *plate.label_sets):
            key = (plate.info.cell_line, shown_set(labels or plate.info.name_of_labels))
            if key not in found:
                found[key] = _field_of(plate, labels, of_plate)
    return list(found.values())


def _segmented_plates(scores: str, store: Path) -> Iterator[tuple[str, str]]:
    for path in segmentations_of_scores(scores, store):
        yield plate_of_segmentation(path, store), path


def _field_of(plate: Plate, label_set: str | None, segmentations: Mapping[str, Path]) -> PanelField:
    """Give the window of the first field that has these labels; None stands for those that count."""
    files = plate.label_sets[label_set] if label_set else {f.name: f.labels_path for f in plate.fovs if f.labels_path}
    fov = next(fov for fov in plate.fovs if fov.name in files)
    assert fov.labels_path is not None
    window = shown_window(read_label_image(fov.labels_path))
    true_labels = read_label_image(files[fov.name])
    predicted = {name: _predicted(fov, true_labels, path, window) for name, path in segmentations.items()}
    return PanelField(
        plate.info.cell_line,
        shown_set(label_set or plate.info.name_of_labels),
        label_set is None,
        plate.info.pixel_size_um,
        window.of(display_grey(read_image(fov.image_path))),
        window.of(true_labels),
        predicted,
    )


def _predicted(fov: Fov, true_labels: NDArray[np.integer], segmentation: Path, window: Window) -> Predicted:
    label_image = read_label_image(segmentation / "labels" / f"{fov.name}.tif")
    ignored = read_ignored(fov.ignored_path) if fov.ignored_path else None
    errors = error_masks(true_labels, label_image, OBJECT_LEVEL_IOU, ignored)
    return Predicted(window.of(label_image), ErrorMasks(window.of(errors.missed), window.of(errors.differing)))


def write_panels(fields: Sequence[PanelField], folder: Path) -> None:
    """Write an index, and all arrays into one file."""
    arrays: dict[str, NDArray[Any]] = {}
    index = []
    for number, field in enumerate(fields):
        arrays |= {f"{number}_grey": field.grey, f"{number}_true": field.true_labels}
        for of_field, one in enumerate(field.predicted.values()):
            names = [f"{number}_{of_field}_{kind}" for kind in ("labels", "missed", "differing")]
            arrays |= dict(zip(names, (one.label_image, *one.errors), strict=True))
        told = {name: getattr(field, name) for name in ("cell_line", "labels", "is_counting", "pixel_size_um")}
        index.append({**told, "experiments": list(field.predicted)})
    (folder / INDEX).write_text(json.dumps(index, indent=1))
    with (folder / ARRAYS).open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_panels(folder: Path) -> list[PanelField]:
    """Read what `write_panels` wrote; none of a matrix without panels, or of an earlier version of the pipeline."""
    if not (folder / INDEX).exists():
        return []
    index = json.loads((folder / INDEX).read_text())
    with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
        return [_read_field(number, row, arrays) for number, row in enumerate(index)]


def _read_field(number: int, row: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> PanelField:
    predicted = {
        name: Predicted(
            arrays[f"{number}_{of_field}_labels"],
            ErrorMasks(arrays[f"{number}_{of_field}_missed"], arrays[f"{number}_{of_field}_differing"]),
        )
        for of_field, name in enumerate(row.pop("experiments"))
    }
    return PanelField(**row, grey=arrays[f"{number}_grey"], true_labels=arrays[f"{number}_true"], predicted=predicted)
