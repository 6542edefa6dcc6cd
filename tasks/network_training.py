"""What the tasks that train networks have in common: the devices, progress in MLflow, the result."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tasks import tracking
from tasks.contract import Outcome, Result, Workspace
from tasks.nuclei.files import written_whole

if TYPE_CHECKING:
    from tasks.nuclei.models.devices import Precision
    from tasks.nuclei.models.training import Cycle, Rois, Trainable, TrainingSettings

    class NetworkTraining(Trainable, Protocol):
        """What is trained, with the network that is kept."""

        network: Any


log = logging.getLogger("nucleus")


def train(
    build: Callable[[], NetworkTraining], rois: Rois, settings: TrainingSettings, name: str, workspace: Workspace
) -> Outcome:
    """Train what `build` makes, on all GPUs, and write its best weights; metrics in MLflow begin with `name`."""
    from tasks.nuclei.models import devices, training

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
    from tasks.nuclei.models import devices

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
