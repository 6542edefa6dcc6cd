"""Train the model that comes with the pipeline, judge it, and write its folder with its card: `make base-model`.

    python -m tasks.recipes.base_model OUT_FOLDER [--data FOLDER] [--into FOLDER] [--tiny]

Every step is a task of the pipeline, so what is done isn't done again: stopped anywhere and started again, it resumes.
All that decides what becomes of it is in RECIPE. Of the real images, only those for training are trained on, and of the
groups that are held out none. OUT_FOLDER/store holds all results, OUT_FOLDER/base the model.

Exit status: 0 done, 1 failed, 2 bad input: a line says what to do.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.contract import BAD_INPUT, DONE, FAILED, Result, Task, execute, parse_params
from tasks.files import sha256_of
from tasks.methods.method import RANDOM, Method
from tasks.methods.registry import default_method
from tasks.methods.shared.weights_file import copy_in_16_bits
from tasks.nuclei.errors import InputError
from tasks.recipes import base_model_card as card
from tasks.recipes import real_plates
from tasks.recipes.real_plates import DATA, DSB2018, MNFINDER
from tasks.steps import augment, calibrate, ingest, score, segment, synthesize

Params = Mapping[str, Any]
MOST_BYTES = 12_000_000
"""The file is part of the repository, and of all copies of it."""

log = logging.getLogger("nucleus")


@dataclass(frozen=True)
class Recipe:
    """All that decides what the model becomes. What isn't given has the default of its task."""

    real: tuple[str, ...]
    """Data sets with real images."""
    held_out: tuple[str, ...]
    """Groups of them that are only judged on."""
    synthetic: tuple[Params, ...]
    """Params of `synthesize`; the role says whether a plate is trained or judged on."""
    augment: Params
    """What differs from the preset "laptop"."""
    trainings: tuple[Params, ...]
    """What differs from the preset "laptop", one training after the other, each from the weights of the one before."""
    calibrate: Params = field(default_factory=dict)


CELL_LINES = ("MCF10A", "U2OS", "HCT116", "Eosinophils")
SIDES_PX = {"height_px": 768, "width_px": 768}
RECIPE = Recipe(
    real=(DSB2018, MNFINDER),
    # Of one microscope, that no other group is of.
    held_out=("HeLa_SPE", "MCC13_SPE"),
    synthetic=(
        *(
            {"name": f"{name}-{size}-train", "cell_line": name, "role": "train", "fovs": 12, "random_seed": 1}
            | {"conditions": "varied", "magnification": magnification}
            | SIDES_PX
            for name in CELL_LINES
            for size, magnification in (("small", 0.5), ("usual", 1.0), ("large", 1.6))
        ),
        *(
            {"name": f"{name}-test", "cell_line": name, "role": "test", "fovs": 3, "random_seed": 1001} | SIDES_PX
            for name in CELL_LINES
        ),
    ),
    augment={"rois": 30_000, "validation_share": 0.1, "random_seed": 0},
    trainings=({"cycles": 4, "batch_size": 8, "random_seed": 0},),
)
TINY_SIDES_PX = {"height_px": 256, "width_px": 256}
TINY = Recipe(
    real=(),
    held_out=(),
    synthetic=(
        {"name": "tiny-train", "cell_line": "MCF10A", "role": "train", "fovs": 2, "random_seed": 1} | TINY_SIDES_PX,
        {"name": "tiny-test", "cell_line": "MCF10A", "role": "test", "fovs": 1, "random_seed": 2} | TINY_SIDES_PX,
    ),
    augment={"rois": 10, "augmentation": "None", "validation_share": 0.2, "random_seed": 0},
    trainings=({"cycles": 1, "random_seed": 0, "batch_size": 4}, {"cycles": 1, "random_seed": 1, "batch_size": 4}),
)
"""The whole way in less than a minute, to a model that finds nothing."""


@dataclass(frozen=True)
class Plates:
    """Imported plates, as paths in the store."""

    train: list[str] = field(default_factory=list)
    judged: dict[str, list[str]] = field(default_factory=dict)
    """Those to judge on, by what they are."""


@dataclass(frozen=True)
class BaseModelRun:
    """Where and of what the model is made."""

    recipe: Recipe
    out_folder: Path
    data: Path
    method: Method = field(default_factory=default_method)

    @property
    def store(self) -> Path:
        return self.out_folder / "store"

    @property
    def base(self) -> Path:
        return self.out_folder / "base"

    def done(self, task: Task[Any], params: Params) -> Result:
        """Give the stored result of a task, or run it."""
        return execute(task, task.params_type.model_validate(params), self.store)


def make_base_model(run: BaseModelRun) -> card.Card:
    """Make the model and write its folder; gives what its card says."""
    plates = all_plates(run)
    log.info("step 2 of 6: cut ROIs of %d plates", len(plates.train))
    rois = run.done(augment.TASK, {"plates": plates.train, **augment.PRESETS["laptop"], **run.recipe.augment})
    log.info("step 3 of 6: train; it resumes after its last epoch when it is stopped")
    trainings = all_trainings(rois, run)
    log.info("step 4 of 6: choose the thresholds")
    models = [{"method": run.method.name, "networks": [trained.outputs["network"]]} for trained in trainings]
    calibrations = [run.done(calibrate.TASK, {**model, **run.recipe.calibrate}) for model in models]
    trained, model, calibrated = trainings[-1], models[-1], calibrations[-1]
    log.info("step 5 of 6: write the model in 16 bits and judge it")
    write_base(trained, calibrated, run)
    in_16_bits = {**model, "networks": [stored_base(run)], **calibrated.values}
    judged = [scored(what, in_16_bits, paths, run) for what, paths in plates.judged.items()]
    first = next(iter(plates.judged))
    in_32_bits = scored(first, {**model, **calibrated.values}, plates.judged[first], run)
    log.info("step 6 of 6: write the card")
    written = card.Card(
        model=card.described_model(run.base, run.method, calibrated.values["settings"]),
        made=card.Making(
            rois,
            [*zip(trainings, calibrations, strict=True)],
            card.described_plates(plates.train, run.store),
            commit(),
        ),
        judged=judged,
        most_by_rounding=card.largest_difference(judged[0], in_32_bits),
        cpu_seconds_a_megapixel=card.cpu_seconds_a_megapixel(run.base, run.method, calibrated.values["settings"]),
        licence_of_mnfinder=real_plates.licence_of(MNFINDER, run.data) if MNFINDER in run.recipe.real else "",
        held_out=run.recipe.held_out,
    )
    (run.base / "README.md").write_text(card.render(written))
    return written


def all_plates(run: BaseModelRun) -> Plates:
    """Make and import all plates; before, refuse what is wrong with the recipe or the data."""
    log.info("step 1 of 6: make and import plates")
    recipe, plates = run.recipe, Plates()
    real = {data_set: real_plates.plates_of(data_set, run.data, recipe.held_out) for data_set in recipe.real}
    synthetic = [parse_params(synthesize.Params, card.as_json(params)) for params in recipe.synthetic]
    for data_set, plate in ((data_set, plate) for data_set, found in real.items() for plate in found):
        path = imported(real_plates.make_plate(plate, run.out_folder / "inbox"), run)
        held_out = plate.cell_line in recipe.held_out
        what = "images of a microscope that it has never seen" if held_out else f"test images of {data_set}"
        _put(path, plate.role == "train", what, plates)
    for params in synthetic:
        folder = run.store / execute(synthesize.TASK, params, run.store).outputs["plate"]
        _put(imported(folder, run), params.role == "train", "synthetic test plates", plates)
    return plates


def _put(path: str, trains: bool, what: str, plates: Plates) -> None:
    """Put a plate among those to train on, or to judge on as what it is."""
    (plates.train if trains else plates.judged.setdefault(what, [])).append(path)


def imported(folder: Path, run: BaseModelRun) -> str:
    return run.done(ingest.TASK, {"folder": str(folder)}).outputs["plate"]


def all_trainings(rois: Result, run: BaseModelRun) -> list[Result]:
    """Train a network from random weights, then on from what it has become, and tell how long that will still take."""
    task: Task[Any] = importlib.import_module(run.method.training).TASK
    params = {"rois": rois.outputs["rois"], "preset": "laptop", **_network_of_the_preset(run.method)}
    weights, results = RANDOM, []
    teller = TimeLeft()
    # Behind the handler that shows the line of the cycle.
    logging.getLogger().addHandler(teller)
    try:
        for number, differences in enumerate(run.recipe.trainings, start=1):
            log.info("training %d of %d", number, len(run.recipe.trainings))
            results.append(run.done(task, {**params, "initialisation": weights, **differences}))
            weights = results[-1].outputs["network"]
    finally:
        logging.getLogger().removeHandler(teller)
    return results


def _network_of_the_preset(method: Method) -> Params:
    chosen = method.presets["laptop"].networks
    return next(networks.trainings[0] for networks in method.networks if networks.name == chosen)


class TimeLeft(logging.Handler):
    """Tells after every cycle of a training how long the others will take."""

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("cycle %d of %d: loss"):
            values: Any = record.args
            done, cycles, _, _, seconds, _ = values
            log.info("about %d min of the training are left", round(seconds * (cycles - done) / 60))


def write_base(trained: Result, calibrated: Result, run: BaseModelRun) -> None:
    """Write the model's folder anew, but for the card. Raises InputError for a network that is too large."""
    network = run.store / trained.outputs["network"]
    shutil.rmtree(run.base, ignore_errors=True)
    run.base.mkdir(parents=True)
    shutil.copyfile(network / "network.json", run.base / "network.json")
    copy_in_16_bits(network / "weights.h5", run.base / "weights.h5")
    (run.base / "settings.json").write_text(card.as_json(calibrated.values["settings"]))
    if (size := (run.base / "weights.h5").stat().st_size) > MOST_BYTES:
        raise InputError(f"The weights take {size} bytes, more than {MOST_BYTES}; choose a smaller network.")


def stored_base(run: BaseModelRun) -> str:
    """Put the model as it is used, in 16 bits, into the store; gives its path there, which has its hash."""
    path = f"base/{sha256_of(run.base / 'weights.h5')[:16]}"
    shutil.copytree(run.base, run.store / path, dirs_exist_ok=True)
    return path


def scored(what: str, model: Params, plates: Sequence[str], run: BaseModelRun) -> card.Judged:
    segmented = [run.done(segment.TASK, {**model, "plate": plate}) for plate in plates]
    scores = run.done(score.TASK, {"segmentations": [result.outputs["segmentation"] for result in segmented]})
    return card.judged(what, run.store / scores.outputs["scores"])


def commit() -> str:
    """Give the commit of this repository, with "-dirty" if files differ from it, or "unknown" without git."""
    if "NUCLEUS_COMMIT" in os.environ:
        return os.environ["NUCLEUS_COMMIT"]
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        described = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return described.stdout.strip() or "unknown"


def publish(base: Path, into: Path) -> None:
    """Put the model's files in the place of those that are there."""
    into.mkdir(parents=True, exist_ok=True)
    for file in sorted(base.iterdir()):
        shutil.copyfile(file, into / file.name)


def folder_of_the_pipeline(method: Method) -> Path:
    return next(weights.folder for weights in method.initial_weights if weights.folder)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.recipes.base_model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out_folder", type=Path, help="folder of all results")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the real images; default: %(default)s")
    parser.add_argument("--into", type=Path, help="folder that gets the model; default: its place in the pipeline")
    parser.add_argument("--tiny", action="store_true", help="the whole way in a minute, to a model that finds nothing")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    run = BaseModelRun(TINY if args.tiny else RECIPE, args.out_folder, args.data)
    started = time.monotonic()
    try:
        make_base_model(run)
    except InputError as error:
        log.error("base_model: %s", error)
        return BAD_INPUT
    except OSError as error:
        log.error("base_model: %s", error)
        return FAILED
    into = args.into or folder_of_the_pipeline(run.method)
    publish(run.base, into)
    log.info("%s holds the model, after %d min", into, round((time.monotonic() - started) / 60))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
