"""What the tasks that train networks have in common: the devices, progress in MLflow, the result."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from tasks import tracking
from tasks.contract import Outcome, Result, Workspace, read_result
from tasks.files import written_whole
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates import Fov, open_plate
from tasks.nuclei.roi_file import RoiReader

if TYPE_CHECKING:
    from tasks.methods.shared.devices import Precision
    from tasks.methods.shared.training import Batch, Cycle, Rois, Trainable, TrainingSettings

    class NetworkTraining(Trainable, Protocol):
        """What is trained, with the network that is kept."""

        network: Any


COCO_FILE = "mask_rcnn_coco.h5", "the project Mask_RCNN by Matterport"

log = logging.getLogger("nucleus")


class RoiBatches:
    """ROIs of a file for the training loop; `read` gives a batch of rows."""

    def __init__(self, path: Path, read: Callable[[RoiReader, list[int]], Batch]) -> None:
        self._reader, self._read = RoiReader(path), read
        self.zoom = self._reader.zoom
        self.training_rows: NDArray[np.integer] = self._reader.training_rows
        self.validation_rows: NDArray[np.integer] = self._reader.validation_rows

    def batch(self, rows: list[int]) -> Batch:
        return self._read(self._reader, rows)


def fovs_of(rois: str, workspace: Workspace) -> dict[tuple[str, str], Fov]:
    """Give the fields that a ROI file was cut from, by the names of plate and field."""
    plates = [open_plate(workspace.input(path)) for path in read_result(workspace.input(rois).parent).params["plates"]]
    return {(plate.info.name, fov.name): fov for plate in plates for fov in plate.fovs}


def filled_from_preset(values: Any, presets: dict[str, dict[str, Any]], of_random: dict[str, Any] | None = None) -> Any:
    """Fill in what isn't given with the preset's; then, where the first weights are random, with what these need.

    What isn't even a known preset is left to the validation.
    """
    if not isinstance(values, dict) or values.get("preset", "paper") not in presets:
        return values
    filled = {**presets[values.get("preset", "paper")], **values}
    return {**(of_random or {}), **filled} if filled.get("initialisation") == "random" else filled


def refuse_what_cannot_learn(initialisation: str, cycles: int, batch_norm_learns: bool) -> None:
    """Raise ValueError for settings that give a network that finds no nuclei."""
    if cycles == 0 and initialisation != "published":
        raise ValueError(
            f'cycles=0 keeps the first weights as they are, which is for "published" alone, not for "{initialisation}"'
        )
    if initialisation == "random" and not batch_norm_learns:
        raise ValueError('batch_norm_learns=false is for weights that have learnt elsewhere; with "random" it is true')


def kept_untrained(network: Any, workspace: Workspace) -> Outcome:
    """Write a network with its first weights."""
    network.save(workspace.output_dir)
    (workspace.output_dir / "history.json").write_text("[]")
    return Outcome({"network": "."}, {}, {"weights": network.model.count_params()})


def published_file(initialisation: str, files: Mapping[str, tuple[str, str]]) -> Path | None:
    """Give the path, in NUCLEUS_WEIGHTS, of the first weights that were trained elsewhere; None if these are others.

    `files` has name and origin of a file by the word that asks for it. Raises InputError if it isn't there.
    """
    if initialisation not in files:
        return None
    name, origin = files[initialisation]
    if not (folder := os.environ.get("NUCLEUS_WEIGHTS")):
        raise InputError(
            f'initialisation "{initialisation}" needs the file {name} of {origin}; put it into '
            'a folder, name that in NUCLEUS_WEIGHTS, or choose initialisation "random".'
        )
    path = Path(folder) / name
    if not path.exists():
        raise InputError(f"{path} does not exist; put the file {name} of {origin} there.")
    return path


def earlier_weights(initialisation: str, words: str, task: str, workspace: Workspace) -> Path:
    """Give the weights of an earlier network of the store; `words` are what else there is."""
    weights = workspace.store / initialisation / "weights.h5"
    if not initialisation.startswith(f"{task}/") or not weights.exists():
        raise InputError(
            f"initialisation: {initialisation!r} is no network of the store; give {words} or an output of {task}."
        )
    return weights


def train(
    build: Callable[[], NetworkTraining], rois: Rois, settings: TrainingSettings, name: str, workspace: Workspace
) -> Outcome:
    """Train what `build` makes, on all GPUs, and write its best weights; metrics in MLflow begin with `name`."""
    from tasks.methods.shared import devices, training

    strategy = devices.training_strategy()
    with strategy.scope():
        trained = build()
        loop = training.Training(trained, rois, settings, workspace.checkpoint_dir)
    network = trained.network
    machine = {
        "gpus": ", ".join(devices.gpu_names()) or "none",
        "replicas": str(strategy.num_replicas_in_sync),
        "precision": network.architecture.precision,
    }
    log.info("GPUs: %s; precision: %s", machine["gpus"], machine["precision"])
    tracked = tracking.Run()
    with tracked.system_metrics(name):
        history = loop.run(partial(_log_cycle, name, tracked))
    network.load_weights(loop.best_weights)
    network.save(workspace.output_dir)
    (workspace.output_dir / "history.json").write_text(json.dumps([asdict(cycle) for cycle in history], indent=1))
    best = min(history, key=lambda cycle: cycle.validation_loss)
    metrics = {
        "validation_loss": best.validation_loss,
        "training_seconds": sum(cycle.seconds for cycle in history),
        "training_cpu_seconds": sum(cycle.cpu_seconds for cycle in history),
    }
    counts = {"best_cycle": best.cycle, "weights": network.model.count_params()}
    return Outcome({"network": "."}, metrics, counts, machine)


def chosen_precision(asked_for: Literal["auto", "float32", "bfloat16"], checkpoint_dir: Path) -> Precision:
    """Give the precision asked for; of "auto", that of the first attempt, whose machine may have had another GPU."""
    from tasks.methods.shared import devices

    if asked_for != "auto":
        return asked_for
    chosen = checkpoint_dir / "precision.json"
    if not chosen.exists():
        with written_whole(chosen) as beside:
            beside.write_text(json.dumps(devices.fastest_precision()))
    precision: Precision = json.loads(chosen.read_text())
    return precision


def publish_training(params: dict[str, Any], task: str, name: str, result: Result, store: Path) -> None:
    """Show the params and all cycles of a stored training in MLflow."""
    run = tracking.Run()
    run.log_params(params | result.machine, f"{task}.{name}")
    history = json.loads((store / result.outputs["network"] / "history.json").read_text())
    run.log_points([point for cycle in history for point in _points(name, cycle)])


def _log_cycle(name: str, run: tracking.Run, cycle: Cycle) -> None:
    """Show a cycle in MLflow while the training runs. A server that is away doesn't stop it: see `publish_training`."""
    try:
        run.log_points(_points(name, asdict(cycle)))
    except tracking.TrackingError as error:
        log.warning("cycle %d is logged at the end of the training: %s", cycle.cycle, error)


def _points(name: str, cycle: dict[str, Any]) -> list[tracking.Point]:
    return [tracking.Point(f"{name}/{key}", value, cycle["cycle"]) for key, value in cycle.items() if key != "cycle"]
