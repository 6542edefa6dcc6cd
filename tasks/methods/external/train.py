"""Train a third-party tool on the fields that the ROIs are cut from, or take a model of it that is there.

The tool gets folders with `images/` and `labels/`, grey images and label images of the same names (TIFF), for
training and for validation. What it writes into its folder `model` is kept. Tools can't leave pixels out: of fields
that are annotated in part they get the rectangles in which all is annotated.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pydantic
import tifffile

from tasks import tracking
from tasks.contract import Outcome, Result, Task, TaskParams, Workspace
from tasks.methods.external.catalogue import tool_named
from tasks.methods.external.command import run_command
from tasks.methods.external.method import METHOD, name_of_tool
from tasks.methods.external.segmenter import MODEL
from tasks.methods.method import RANDOM
from tasks.methods.shared.initial_weights import earlier_network, weights_folder
from tasks.methods.shared.training_params import Initialisation
from tasks.methods.shared.training_task import GPU_TRAINING
from tasks.nuclei.annotated_rectangles import Rectangle, annotated_rectangles
from tasks.nuclei.errors import InputError, first_of
from tasks.nuclei.plates.files import Fov
from tasks.nuclei.plates.image_files import read_ignored, read_image, read_label_image, write_label_image
from tasks.nuclei.roi_file import RoiReader, RoiSource
from tasks.store.provenance import fovs_of_rois

PRETRAINED = "pretrained"
LEAST_CROP_PX = 128
"""Shorter side of a part of a field that a tool learns from; StarDist's patches are as large as its smallest image."""

log = logging.getLogger("nucleus")


class Params(TaskParams):
    rois: str | None
    """ROI file: output of `augment`. It says which fields are for training, and which for validation. None keeps a
    model of the tool that is there as it is."""
    tool: str = pydantic.Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,49}$", title="Third-party tools")
    """Name in tools.yaml. How long a tool is trained, its command there says."""
    initialisation: Initialisation | None = None
    random_seed: int = pydantic.Field(0, ge=0, lt=2**31)
    """Seed for the command that trains."""

    @property
    def begins_from(self) -> str:
        """The kind of initial weights; if none is given, random ones where the tool has a command that trains."""
        return self.initialisation or (RANDOM if tool_named(self.tool).train else PRETRAINED)


def run(params: Params, workspace: Workspace) -> Outcome:
    started = time.monotonic()
    model = workspace.output_dir / MODEL
    if (pretrained := pretrained_model(params)) is not None:
        shutil.copytree(pretrained, model)
        fields, command = 0, None
    else:
        fields, command = _train(params, model, workspace), tool_named(params.tool).train
    content = {"tool": params.tool, "method": METHOD.name}
    (workspace.output_dir / "network.json").write_text(json.dumps(content, indent=1))
    seconds = round(time.monotonic() - started, 1)
    metrics, counts = {"training_seconds": seconds}, {"training_fields": fields}
    return Outcome({"network": "."}, metrics, counts, values={"trained_by": command and list(command)})


def depends_on(params: Params, store: Path) -> list[Path | str]:
    """Give the pretrained model, or the command that trains; the one that segments trains nothing."""
    if (pretrained := pretrained_model(params)) is not None:
        return [pretrained]
    return list(tool_named(params.tool).train or ())


def pretrained_model(params: Params) -> Path | None:
    """Give the folder with a model of the tool that was trained elsewhere, if it isn't trained here."""
    if params.begins_from != PRETRAINED:
        return None
    folder = weights_folder()
    if folder is None or not (folder / params.tool).is_dir():
        raise InputError(
            f'initialisation "{PRETRAINED}" needs the folder {params.tool} with its model in NUCLEUS_WEIGHTS '
            f"({folder or 'which is not set'}); put it there, or give the tool a command that trains."
        )
    return folder / params.tool


def _train(params: Params, model: Path, workspace: Workspace) -> int:
    """Train the tool; gives the number of fields that it learnt from."""
    if (command := tool_named(params.tool).train) is None:
        raise InputError(f'{params.tool} has no command that trains; give it one, or initialisation "{PRETRAINED}".')
    if params.rois is None:
        raise InputError(f'rois: {params.tool} is trained on a ROI file; give one, or initialisation "{PRETRAINED}".')
    earlier = None if params.begins_from == RANDOM else _earlier(params, workspace)
    model.mkdir()
    fields = workspace.checkpoint_dir / "fields"
    shutil.rmtree(fields, ignore_errors=True)
    reader = RoiReader(workspace.input(params.rois), leaves_out_ignored=True)
    fovs = fovs_of_rois(params.rois, workspace.store)
    of_parts = {"train": reader.training_sources(), "validation": reader.validation_sources()}
    written = {part: write_fields(sources, fovs, fields / part) for part, sources in of_parts.items()}
    if not written["train"]:
        raise InputError(
            f"{params.tool} can't leave pixels out, and no field for training has a part of {LEAST_CROP_PX} x "
            f"{LEAST_CROP_PX} px in which all is annotated; annotate such parts, or train another method."
        )
    words = {part: fields / part for part in of_parts} | {
        "model": model,
        "initial": "" if earlier is None else earlier / MODEL,
        "random_seed": params.random_seed,
    }
    run_command(command, words, params.tool, writes=[model])
    if not any(model.iterdir()):
        raise InputError(f"{params.tool} was trained and wrote nothing into its folder {{model}}; correct its command.")
    return written["train"]


def _earlier(params: Params, workspace: Workspace) -> Path:
    folder = earlier_network(params.begins_from, METHOD, workspace)
    if (tool := name_of_tool(folder)) != params.tool:
        raise InputError(
            f"initialisation: {params.begins_from} is a model of {tool}; {params.tool} can't resume from it."
        )
    return folder


def write_fields(sources: Sequence[RoiSource], fovs: dict[tuple[str, str], Fov], folder: Path) -> int:
    """Write `images/` and `labels/`, files that are numbered: fields of several plates share names.

    There is one per field or region, or of those that are annotated in part one per rectangle in which all is. Gives of
    how many fields and regions there is any; the others are named in the log.
    """
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    names, without = (f"{number:06}.tif" for number in count(1)), []
    for source in sources:
        fov = fovs[source.plate, source.fov]
        assert fov.labels_path is not None
        parts = parts_of(source, fov)
        without += [] if parts else [f"{source.fov} of {source.plate}"]
        image, label_image = read_image(fov.image_path), read_label_image(fov.labels_path)
        for part, name in zip(parts, names, strict=False):
            tifffile.imwrite(folder / "images" / name, image[part])
            write_label_image(folder / "labels" / name, label_image[part])
    if without:
        log.warning(
            "no part of %d px is annotated whole, so the tool doesn't learn from: %s", LEAST_CROP_PX, first_of(without)
        )
    return len(sources) - len(without)


def parts_of(source: RoiSource, fov: Fov) -> list[Rectangle]:
    """Give the parts of a field that a tool may learn from: of one that is annotated whole, its region."""
    y0, x0, y1, x1 = source.region
    if fov.ignored_path is None:
        return [(slice(y0, y1), slice(x0, x1))]
    least_px = min(LEAST_CROP_PX, y1 - y0, x1 - x0)
    rectangles = annotated_rectangles(read_ignored(fov.ignored_path)[y0:y1, x0:x1], least_px)
    return [
        (slice(y0 + rows.start, y0 + rows.stop), slice(x0 + columns.start, x0 + columns.stop))
        for rows, columns in rectangles
    ]


def log_training(params: Params, result: Result, store: Path) -> None:
    shown = params.model_dump(exclude={"tool"}) | result.values
    tracking.Run().log_params(shown, f"{METHOD.task}.{params.tool}")


TASK = Task(
    name=METHOD.task,
    version=2,
    params_type=Params,
    run=run,
    log=log_training,
    depends_on=depends_on,
    resources=GPU_TRAINING,
)

if __name__ == "__main__":
    sys.exit(TASK.main())
