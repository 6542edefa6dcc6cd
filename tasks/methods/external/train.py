"""Train a program of others on the fields that the ROIs are cut from, or take what it learnt elsewhere.

The program gets folders with `images/` and `labels/`, grey images and label images of the same names (TIFF), for
training and for validation. What it writes into its folder `model` is kept.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pydantic
import tifffile

from tasks import tracking
from tasks.contract import Outcome, Result, Task, TaskParams, Workspace
from tasks.methods.shared.training_task import fovs_of
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates import Fov, read_image, read_label_image, write_label_image
from tasks.nuclei.roi_file import RoiReader, RoiSource

NAME = "external"

log = logging.getLogger("nucleus")


class Params(TaskParams):
    rois: str
    """ROI file: output of `augment`. It says which fields are for training, and which for validation."""
    program: str = pydantic.Field(pattern=r"^[A-Za-z0-9_.-]{1,50}$")
    """Its name."""
    segment: tuple[str, ...] = pydantic.Field(min_length=1)
    """Command that segments: arguments with {images}, {output} and {model} for folders."""
    train: tuple[str, ...] | None = pydantic.Field(None, min_length=1)
    """Command that trains: arguments with {train}, {validation}, {model}, {initial} (folder of the model to go on from;
    empty for none) and {random_seed}."""
    initialisation: str | None = None
    """"random" (train from scratch), "published" (the folder with the program's name in NUCLEUS_WEIGHTS, without
    training), or an earlier output of this task, to go on from. If not given: "random" where there is a command that
    trains, else "published"."""
    random_seed: int = pydantic.Field(0, ge=0, lt=2**31)


def run(params: Params, workspace: Workspace) -> Outcome:
    from tasks.methods.external.segmenter import MODEL, Program

    started = time.monotonic()
    model = workspace.output_dir / MODEL
    if (published := published_model(params)) is not None:
        shutil.copytree(published, model)
        fields = 0
    else:
        fields = _train(params, model, workspace)
    Program(params.program, params.segment).save(workspace.output_dir)
    seconds = round(time.monotonic() - started, 1)
    return Outcome({"network": "."}, {"training_seconds": seconds}, {"training_fields": fields})


def published_model(params: Params) -> Path | None:
    """Give the folder with what the program learnt elsewhere, if it isn't trained here."""
    if (params.initialisation or ("random" if params.train else "published")) != "published":
        return None
    folder = os.environ.get("NUCLEUS_WEIGHTS")
    if not folder or not (Path(folder) / params.program).is_dir():
        raise InputError(
            f'initialisation "published" needs the folder {params.program} with its model in NUCLEUS_WEIGHTS '
            f"({folder or 'which is not set'}); put it there, or give a command that trains."
        )
    return Path(folder) / params.program


def _train(params: Params, model: Path, workspace: Workspace) -> int:
    """Train the program; gives the number of fields that it learnt from."""
    from tasks.methods.external.segmenter import MODEL, run_command

    if params.train is None:
        raise InputError(f'{params.program} has no command that trains; give it one, or initialisation "published".')
    earlier = None if params.initialisation in (None, "random") else _earlier(params, workspace)
    model.mkdir()
    fields = workspace.checkpoint_dir / "fields"
    shutil.rmtree(fields, ignore_errors=True)
    reader = RoiReader(workspace.input(params.rois))
    fovs = fovs_of(params.rois, workspace)
    of_parts = {"train": reader.training_sources(), "validation": reader.validation_sources()}
    for part, sources in of_parts.items():
        write_fields(sources, fovs, fields / part)
    words = {part: fields / part for part in of_parts} | {
        "model": model,
        "initial": "" if earlier is None else earlier / MODEL,
        "random_seed": params.random_seed,
    }
    run_command(params.train, words, params.program)
    if not any(model.iterdir()):
        raise InputError(f"{params.program} was trained and wrote nothing into its folder {{model}}; mend its command.")
    return len(of_parts["train"])


def _earlier(params: Params, workspace: Workspace) -> Path:
    chosen = str(params.initialisation)
    folder = workspace.store / chosen
    if not chosen.startswith("train_external/") or not folder.is_dir():
        raise InputError(
            f"initialisation: {chosen!r} is no model of the store; "
            'give "random", "published" or an output of train_external.'
        )
    program = json.loads((folder / "network.json").read_text())["program"]
    if program != params.program:
        raise InputError(f"initialisation: {chosen} is a model of {program}; {params.program} can't go on from it.")
    return folder


def write_fields(sources: Sequence[RoiSource], fovs: dict[tuple[str, str], Fov], folder: Path) -> None:
    """Write `images/` and `labels/`, a file a field or region, numbered: fields of several plates share names."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number, source in enumerate(sources, start=1):
        y0, x0, y1, x1 = source.region
        fov = fovs[source.plate, source.fov]
        assert fov.labels_path is not None
        tifffile.imwrite(folder / "images" / f"{number:06}.tif", read_image(fov.image_path)[y0:y1, x0:x1])
        write_label_image(folder / "labels" / f"{number:06}.tif", read_label_image(fov.labels_path)[y0:y1, x0:x1])


def publish(params: Params, result: Result, store: Path) -> None:
    tracking.Run().log_params(params.model_dump(exclude={"program"}), f"train_external.{params.program}")


TASK = Task(name="train_external", version=1, params_type=Params, run=run, publish=publish, outside=published_model)

if __name__ == "__main__":
    sys.exit(TASK.main())
