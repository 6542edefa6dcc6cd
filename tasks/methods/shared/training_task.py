"""The task that trains a network of a method: all that does not differ between them."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from tasks import tracking
from tasks.contract import TRAINING, Outcome, Resources, Result, Task, Workspace
from tasks.files import of_earlier_try, read_json, written_whole
from tasks.methods.method import Method
from tasks.methods.shared.initial_weights import earlier_network, file_of
from tasks.methods.shared.roi_batches import ReadBatch, RoiBatches
from tasks.methods.shared.training_params import NetworkTrainingParams
from tasks.nuclei.errors import InputError
from tasks.nuclei.view import View

if TYPE_CHECKING:
    from tasks.methods.shared.devices import Precision
    from tasks.methods.shared.kept_network import KeptNetwork
    from tasks.methods.shared.training import Cycle, Rois, Stage, Trainable, TrainingSettings

    class NetworkTraining(Trainable, Protocol):
        """What is trained, with the network that is kept."""

        network: Any


NETWORK_FILES = ARCHITECTURE, WEIGHTS = "network.json", "weights.h5"
"""What a network is on disk; see `kept_network`."""
GPU_TRAINING = Resources(TRAINING, "gpu", cpu=4, memory_gib=16, gpu=1)
P = TypeVar("P", bound=NetworkTrainingParams)

log = logging.getLogger("nucleus")


@dataclass(frozen=True)
class Differences(Generic[P]):
    """What a method's training doesn't share with the others."""

    build: Callable[[P, Precision, View], KeptNetwork]
    """Build the network for a precision and the view of its ROIs. Its weights are random, or from a place that the
    method knows."""
    trainable: Callable[[P, Any], NetworkTraining]
    """Give what the training loop needs of the network."""
    batch: Callable[[P], ReadBatch]
    """Give what reads a batch of ROIs for the loss."""
    stages: Callable[[P], tuple[Stage, ...]]
    part: Callable[[P], str]
    """Beginning of the names of metrics in MLflow: which network of the model it is."""
    clip_norm: float | None = None
    leaves_out_ignored: bool = False
    """Whether batch and loss leave out what isn't annotated. A method that doesn't is refused such ROIs."""


def training_task(method: Method, version: int, params_type: type[P], differences: Differences[P]) -> Task[P]:
    """Give the task that trains a network of a method."""
    return Task(
        name=method.task,
        version=version,
        params_type=params_type,
        run=partial(_run, method, differences),
        log=partial(_log_training, method, differences),
        depends_on=partial(_pretrained_file, method),
        resources=GPU_TRAINING,
    )


def _pretrained_file(method: Method, params: NetworkTrainingParams, store: Path) -> list[Path | str]:
    """The content of pretrained weights is part of the key."""
    kind = method.weights_named(params.initialisation)
    if kind is not None and kind.folder is not None:
        return [kind.folder / name for name in NETWORK_FILES]
    file = file_of(kind, params)
    return [file] if file else []


def _run(method: Method, differences: Differences[P], params: P, workspace: Workspace) -> Outcome:
    if params.rois is None:
        return _kept_as_it_came(method, params, workspace)
    from tasks.methods.shared import devices

    devices.make_repeatable()
    from tasks.methods.shared.training import TrainingSettings

    rois = RoiBatches(workspace.input(params.rois), differences.batch(params), differences.leaves_out_ignored)
    build = partial(_with_initial_weights, method, differences, params, rois, workspace)
    if params.cycles == 0:
        return _kept_untrained(build(), workspace)
    settings = TrainingSettings(
        cycles=params.cycles,
        stages=differences.stages(params),
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        optimiser=params.optimiser,
        schedule=params.schedule,
        random_seed=params.random_seed,
        clip_norm=differences.clip_norm,
        averaging=params.averaging,
    )
    return _train(lambda: differences.trainable(params, build()), rois, settings, differences.part(params), workspace)


def _with_initial_weights(
    method: Method, differences: Differences[P], params: P, rois: RoiBatches, workspace: Workspace
) -> KeptNetwork:
    """Build the network and give it its initial weights.

    It sees fields as its ROIs were made of them, whatever the earlier network that its weights are of saw.
    """
    import tf_keras as keras

    from tasks.methods.shared.pretrained_weights import load_pretrained

    keras.utils.set_random_seed(params.random_seed)
    precision = chosen_precision(params, workspace.checkpoint_dir)
    network = differences.build(params, precision, rois.view)
    kind = method.weights_named(params.initialisation)
    if kind is None:
        network.load_weights(earlier_network(params.initialisation, method, workspace) / "weights.h5")
    elif kind.folder is not None:
        network.load_weights(kind.folder / WEIGHTS)
    elif kind.find is None and (file := file_of(kind, params)) is not None:
        own = () if kind.is_whole else network.output_layers
        load_pretrained(network.parts, file, own=own, part_of_more=kind.is_part_of_more)
    return network


def _kept_as_it_came(method: Method, params: NetworkTrainingParams, workspace: Workspace) -> Outcome:
    """Copy a model that comes with the pipeline; it sees fields as it was trained to."""
    kind = method.weights_named(params.initialisation)
    if kind is None or kind.folder is None or params.cycles:
        as_they_came = " or ".join(f'"{weights.name}"' for weights in method.initial_weights if weights.folder)
        raise InputError(
            f"rois: none are given, which is for initialisation {as_they_came or 'of other methods'} with cycles=0 "
            f'alone, got "{params.initialisation}" with cycles={params.cycles}; give an output of augment.'
        )
    for name in NETWORK_FILES:
        shutil.copyfile(kind.folder / name, workspace.output_dir / name)
    (workspace.output_dir / "history.json").write_text("[]")
    return Outcome({"network": "."}, {}, {})


def _kept_untrained(network: KeptNetwork, workspace: Workspace) -> Outcome:
    """Write a network with its initial weights."""
    network.save(workspace.output_dir)
    (workspace.output_dir / "history.json").write_text("[]")
    return Outcome({"network": "."}, {}, {"weights": network.model.count_params()})


def _train(
    build: Callable[[], NetworkTraining], rois: Rois, settings: TrainingSettings, part: str, workspace: Workspace
) -> Outcome:
    """Train what `build` makes, on all GPUs, and write its best weights; metrics in MLflow begin with `part`."""
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
    with tracked.system_metrics(part):
        history = loop.run(partial(_log_cycle, part, tracked))
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


def chosen_precision(params: NetworkTrainingParams, checkpoint_dir: Path) -> Precision:
    """Give the precision asked for; of "auto", that of the first attempt, whose machine may have had another GPU."""
    from tasks.methods.shared import devices

    if params.precision != "auto":
        return params.precision
    chosen = checkpoint_dir / "precision.json"
    precision: Precision | None = of_earlier_try(chosen, read_json)
    if precision is None:
        precision = devices.fastest_precision()
        with written_whole(chosen) as beside:
            beside.write_text(json.dumps(precision))
    return precision


def _log_training(method: Method, differences: Differences[P], params: P, result: Result, store: Path) -> None:
    """Show the params and all cycles of a stored training in MLflow."""
    run, part = tracking.Run(), differences.part(params)
    run.log_params(params.model_dump() | result.machine, f"{method.task}.{part}")
    history = json.loads((store / result.outputs["network"] / "history.json").read_text())
    run.log_points([point for cycle in history for point in _points(part, cycle)])


def _log_cycle(part: str, run: tracking.Run, cycle: Cycle) -> None:
    """Show a cycle in MLflow while the training runs. A server that is away doesn't stop it: see `_log_training`."""
    try:
        run.log_points(_points(part, asdict(cycle)))
    except tracking.TrackingError as error:
        log.warning("cycle %d is logged at the end of the training: %s", cycle.cycle, error)


def _points(part: str, cycle: dict[str, Any]) -> list[tracking.Point]:
    return [tracking.Point(f"{part}/{key}", value, cycle["cycle"]) for key, value in cycle.items() if key != "cycle"]
