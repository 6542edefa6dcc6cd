"""Draw the picture of README.md: a real field, its true labels, and the nuclei that the base model finds in it.

    python -m tasks.recipes.readme_picture OUT_FOLDER [--data FOLDER] [--into FILE]

The field is a test image of the 2018 Data Science Bowl, CC0, of a group whose images are of one kind; the base model
wasn't trained on it. Of all fields of the group it is the one whose F1 is nearest to theirs. OUT_FOLDER/store holds all
results. The field and its F1 are printed, for the caption.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tasks.contract import BAD_INPUT, DONE, Task, execute
from tasks.methods.registry import default_method
from tasks.nuclei.errors import InputError
from tasks.nuclei.figures.error_kinds import matched_numbers
from tasks.nuclei.figures.pictures import display_grey, draw_picture, label_overlay
from tasks.nuclei.figures.style import DPI
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.image_files import read_image, read_label_image
from tasks.nuclei.scoring import SHOWN_IOU_THRESHOLDS, Counts, count, f1_score, pool, score_instances
from tasks.recipes.install_base_model import base_model_of
from tasks.recipes.real_plates import DATA, DSB2018, make_plate, plates_of
from tasks.steps import ingest, segment

PLATE = "medium-520-test"
PICTURE = Path(__file__).with_suffix(".png")
PANEL_INCH, TITLE_INCH = 3.0, 0.3


@dataclass(frozen=True)
class SegmentedField:
    """A field with its nuclei; all arrays are (y, x)."""

    name: str
    image: NDArray[Any]
    true_labels: NDArray[np.integer]
    predicted_labels: NDArray[np.integer]


def segmented_fields(out_folder: Path, data: Path) -> list[SegmentedField]:
    """Segment the plate with the base model by the tasks of the pipeline.

    Raises InputError if the images aren't there.
    """
    method, store = default_method(), out_folder / "store"
    _, model = base_model_of(method)
    [real] = [plate for plate in plates_of(DSB2018, data) if plate.name == PLATE]
    imported = execute(ingest.TASK, ingest.Params(folder=str(make_plate(real, out_folder))), store)
    training: Task[Any] = importlib.import_module(method.training).TASK
    kept = execute(training, training.params_type.model_validate(model.training), store)
    of_model = {"method": method.name, "networks": [kept.outputs["network"]], "settings": model.settings}
    params = segment.Params.model_validate({**of_model, "plate": imported.outputs["plate"]})
    labels = store / execute(segment.TASK, params, store).outputs["segmentation"] / "labels"
    return [
        SegmentedField(
            fov.name,
            read_image(fov.image_path),
            read_label_image(fov.labels_path),
            read_label_image(labels / f"{fov.name}.tif"),
        )
        for fov in open_plate(store / imported.outputs["plate"]).fovs
        if fov.labels_path is not None
    ]


def most_usual(fields: Sequence[SegmentedField]) -> tuple[SegmentedField, list[float]]:
    """Give the field whose F1 is nearest to that of all fields, and its F1 at the IoU thresholds that are shown."""
    counts = [
        count(score_instances(field.true_labels, field.predicted_labels), SHOWN_IOU_THRESHOLDS) for field in fields
    ]
    of_all, of_each = _f1(pool(counts)), [_f1(of_field) for of_field in counts]
    nearest = int(np.argmin([np.abs(f1 - of_all).sum() for f1 in of_each]))
    return fields[nearest], of_each[nearest].tolist()


def _f1(counts: Counts) -> NDArray[np.float64]:
    return f1_score(counts.tp, counts.fp, counts.fn)


def picture(field: SegmentedField) -> Figure:
    """Draw the field, its truth and the prediction beside each other; a nucleus has one colour in both."""
    grey, (height, width) = display_grey(field.image), field.image.shape
    numbers = matched_numbers(field.true_labels, field.predicted_labels)
    pictures = {
        "Image": np.repeat(grey[..., np.newaxis], 3, axis=2),
        "Truth": label_overlay(grey, field.true_labels),
        "Prediction": label_overlay(grey, field.predicted_labels, numbers),
    }
    size = (len(pictures) * PANEL_INCH, PANEL_INCH * height / width + TITLE_INCH)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    for axes, (title, content) in zip(figure.subplots(1, len(pictures)), pictures.items(), strict=True):
        axes.set_title(title, fontsize=9)
        draw_picture(axes, content)
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.recipes.readme_picture", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("out_folder", type=Path)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the data sets; default: %(default)s")
    parser.add_argument("--into", type=Path, default=PICTURE, help="the PNG file; default: %(default)s")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    try:
        field, f1 = most_usual(segmented_fields(args.out_folder, args.data))
    except InputError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    picture(field).savefig(args.into, pil_kwargs={"optimize": True})
    f1_in_words = ", ".join(f"{value:.3f} at {iou}" for value, iou in zip(f1, SHOWN_IOU_THRESHOLDS, strict=True))
    print(f"{args.into}: field {field.name} of {PLATE}; F1 {f1_in_words}")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
