"""Ask the store how far each experiment of a matrix is, and what the rest will cost.

An experiment is a chain: ROIs, the training of each network, calibration, segmentations, scores. Its keys follow from
the params, so that one task can say of all experiments what is there; it has a key of its own, which changes with
whatever would change its scores. Writes found.json: of every experiment which of
its variants runs (the first whose pretrained weights are there), its steps and which of them are stored; the ROI sets;
and the rates of stored results, from which the plan counts hours, money and disk.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pydantic

from tasks import tracking
from tasks.contract import Outcome, Result, Task, TaskParams, Workspace, parse_params, read_result
from tasks.file_hashes import lost_file
from tasks.methods.registry import found_methods, method_named
from tasks.methods.shared.initial_weights import file_of
from tasks.methods.shared.training_params import NetworkTrainingParams
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.roi_file import ROI_FILE

MOST_MEASURED = 200
"""Stored results of a task whose seconds are looked at: the newest ones."""

MOST_WEIGHED = 20
"""Folders of a task whose size is looked at: each may hold a file for every field of a plate."""
OF_LENGTH = ("warmup_cycles",)
"""Params that methods have of their own and that say how long a training takes, not what it trains."""

AFTER_TRAINING = ("calibrate", "segment", "score")

log = logging.getLogger("nucleus")


class Variant(TaskParams):
    words: dict[str, str]
    augment: dict[str, Any]
    """Params of `augment`, but for the plates."""
    trainings: list[dict[str, Any]] = pydantic.Field(min_length=1)
    """Of each network: `task`, and its params but for the ROIs."""
    model: dict[str, Any]
    """Params of `calibrate`, but for the networks."""


class Experiment(TaskParams):
    name: str = pydantic.Field(min_length=1)
    variants: list[Variant] = pydantic.Field(min_length=1)
    """What is run, with the pretrained weights that are wanted, or else without them."""
    plates: list[str] = pydantic.Field(min_length=1)
    """Training plates."""
    score_training: bool = False
    """Whether the training plates are segmented and scored too."""
    is_chosen: bool = True
    """Whether it is to be run. Another one, whose scores are shown, is left out where it can't be run."""


class Params(TaskParams):
    dag_run_id: str = pydantic.Field(min_length=1)
    """DAG run that asks."""
    experiments: list[Experiment] = pydantic.Field(min_length=1)
    test_plates: list[str] = pydantic.Field(min_length=1)
    matrix: str = pydantic.Field(min_length=1)
    """What the MLflow runs of the matrix are tagged with."""


class Pace(NamedTuple):
    """What a stored training took, per ROI and cycle."""

    network: str
    """What was trained, as `_network_of` says it."""
    seconds: float
    """On the clock."""
    cpu_seconds: float
    """Of all cores."""
    on_gpu: bool
    folder: Path


class Stored:
    """Answers of the store, each asked once."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.rois = [result for result in _results(store, "augment") if "rois" in result.outputs]
        self._answers: dict[str, Result | None] = {}
        self._paces: dict[str, list[Pace]] = {}
        self._rates: dict[str, dict[str, Any] | None] = {}

    def key(self, task: Task[Any], params: Mapping[str, Any]) -> str:
        """Give the key of a result; InputError where what it depends on isn't there, such as pretrained weights."""
        return task.output_key(_filled_in(task, params), self.store)

    def result(self, task: Task[Any], key: str) -> Result | None:
        path = f"{task.name}/{key}"
        if path not in self._answers:
            folder = inside(self.store, path)
            is_there = folder.exists() and lost_file(folder) is None
            with suppress(OSError):  # A pod may not write to what other tasks made.
                os.utime(folder)  # Tells a clean-up that looked before that it is in use again.
            self._answers[path] = read_result(folder) if is_there else None
        return self._answers[path]

    def rate(self, task: Task[Any], params: Any, roi_px: int) -> dict[str, Any] | None:
        """Give medians of what trainings of the same network took, or else of another one; None without any."""
        network = _network_of(task, params, roi_px)
        if network not in self._rates:
            if task.name not in self._paces:
                self._paces[task.name] = _paces(self.store, task, self.rois)
            self._rates[network] = _rate(network, self._paces[task.name])
        return self._rates[network]

    def ask(self, task: Task[Any], params: Mapping[str, Any]) -> Result | None:
        return self.result(task, self.key(task, params))


def run(params: Params, workspace: Workspace) -> Outcome:
    stored = Stored(workspace.store)
    logged = tracking.finished_children(params.matrix)
    found = [one for experiment in params.experiments if (one := _found_or_left_out(experiment, params, stored))]
    for one in found:
        one["is_logged"] = one["name"] in logged
    rois = {one["rois"]["key"]: one["rois"] for one in found}
    content = {
        "experiments": [{**one, "rois": one["rois"]["key"]} for one in found],
        "rois": rois,
        "rates": rates(workspace.store, stored.rois),
        "free_bytes": shutil.disk_usage(workspace.store).free,
    }
    (workspace.output_dir / "found.json").write_text(json.dumps(content))
    chosen = [one for one in found if one["is_chosen"]]
    done = sum(one["scores"] is not None for one in chosen)
    log.info("%d of %d experiments are in the store", done, len(chosen))
    return Outcome({"found": "found.json"}, {}, {"stored": done, "to_do": len(chosen) - done})


def _found_or_left_out(experiment: Experiment, params: Params, stored: Stored) -> dict[str, Any] | None:
    try:
        return _found(experiment, params, stored)
    except InputError as error:
        if experiment.is_chosen:
            raise
        log.warning("%s isn't looked for: %s", experiment.name, error)
        return None


def _found(experiment: Experiment, params: Params, stored: Stored) -> dict[str, Any]:
    """Give how far an experiment is: its steps that are stored, and its scores if all are."""
    variant, missing = _runnable(experiment, stored)
    augment = {**variant.augment, "plates": experiment.plates}
    step = _step_named("augment")
    key = stored.key(step, augment)
    rois = f"augment/{key}/{ROI_FILE}"
    trainings = [{**training, "rois": rois} for training in variant.trainings]
    keys = [stored.key(_training(training["task"]), _without_task(training)) for training in trainings]
    filled = [_filled_in(_training(training["task"]), _without_task(training)) for training in trainings]
    roi_px = _filled_in(step, augment).roi_px
    trained = [stored.result(_training(t["task"]), of_one) for t, of_one in zip(trainings, keys, strict=True)]
    networks = [result.outputs["network"] for result in trained if result]
    plates = {"test": params.test_plates, "training": experiment.plates if experiment.score_training else []}
    training_keys = [f"{training['task']}/{of_one}" for training, of_one in zip(trainings, keys, strict=True)]
    found = {
        "name": experiment.name,
        "is_chosen": experiment.is_chosen,
        "key": _key_of_all(training_keys, variant.model, plates),
        "variant": experiment.variants.index(variant),
        "missing": missing,
        "rois": {
            "key": key,
            "params": augment,
            "path": rois,
            "amount": _filled_in(step, augment).rois,
            "is_stored": stored.result(step, key) is not None,
        },
        "trainings": trainings,
        "training_keys": training_keys,
        "cycles": [getattr(of_one, "cycles", 0) for of_one in filled],
        "rates": [stored.rate(_training(t["task"]), p, roi_px) for t, p in zip(trainings, filled, strict=True)],
        "trained": [result is not None for result in trained],
        "model": variant.model,
        "plates": plates,
        "is_calibrated": False,
        "segmented": 0,
        "scores": None,
        "training_scores": None,
    }
    return found if len(networks) < len(trainings) else {**found, **_from_networks(found, networks, stored)}


def _key_of_all(training_keys: Sequence[str], model: Mapping[str, Any], plates: Mapping[str, Sequence[str]]) -> str:
    versions = {name: _step_named(name).version for name in AFTER_TRAINING}
    known = [training_keys, model, plates, versions]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]


def _from_networks(found: Mapping[str, Any], networks: list[str], stored: Stored) -> dict[str, Any]:
    calibrated = stored.ask(_step_named("calibrate"), {**found["model"], "networks": networks})
    if calibrated is None:
        return {}
    model = {"method": found["model"]["method"], "networks": networks, "settings": calibrated.values["settings"]}
    answers = {
        role: [stored.ask(_step_named("segment"), {**model, "plate": plate}) for plate in plates]
        for role, plates in found["plates"].items()
    }
    scores = {role: _scores(segmented, stored) for role, segmented in answers.items()}
    is_done = scores["test"] is not None and (scores["training"] is not None or not found["plates"]["training"])
    return {
        "is_calibrated": True,
        "segmented": sum(result is not None for of_role in answers.values() for result in of_role),
        "scores": scores["test"] if is_done else None,
        "training_scores": scores["training"] if is_done else None,
    }


def _scores(segmented: Sequence[Result | None], stored: Stored) -> str | None:
    there = [result.outputs["segmentation"] for result in segmented if result]
    if not there or len(there) < len(segmented):
        return None
    result = stored.ask(_step_named("score"), {"segmentations": there})
    return result.outputs["scores"] if result else None


def _runnable(experiment: Experiment, stored: Stored) -> tuple[Variant, str]:
    """Give the first variant whose pretrained weights are there, and why another one isn't run."""
    reasons: list[str] = []
    for variant in experiment.variants:
        if (reason := _missing_weights(variant)) is None:
            _refuse_wrong_params(experiment, variant, stored)
            return variant, "; ".join(reasons)
        reasons.append(reason)
    raise InputError(f"{experiment.name}: {reasons[-1]}")


def _missing_weights(variant: Variant) -> str | None:
    """Say which file of pretrained weights isn't there; None if all are."""
    for training in variant.trainings:
        task = _training(training["task"])
        method = next(method for method in found_methods().values() if method.task == task.name)
        params = _filled_in(task, {**_without_task(training), "rois": f"augment/0/{ROI_FILE}"})
        try:
            file_of(method.weights_named(getattr(params, "initialisation", "")), params)
        except InputError as error:
            return str(error)
    return None


def _refuse_wrong_params(experiment: Experiment, variant: Variant, stored: Stored) -> None:
    """Raise InputError for params that the tasks refuse, before anything is spent."""
    try:
        stored.key(_step_named("calibrate"), {**variant.model, "networks": ["none/yet"]})
        stored.key(_step_named("augment"), {**variant.augment, "plates": experiment.plates})
    except InputError as error:
        raise InputError(f"{experiment.name}: {error}") from None


def _filled_in(task: Task[Any], params: Mapping[str, Any]) -> Any:
    return parse_params(task.params_type, json.dumps(params))


def _without_task(training: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in training.items() if name != "task"}


def _step_named(name: str) -> Task[Any]:
    # By its name: steps don't know one another.
    step: Task[Any] = importlib.import_module(f"{__package__}.{name}").TASK
    return step


@cache
def _training(name: str) -> Task[Any]:
    methods = {method.task: method for method in found_methods().values()}
    if name not in methods:
        raise InputError(f"There is no training {name!r}; there are {', '.join(methods)}.")
    task: Task[Any] = importlib.import_module(method_named(methods[name].name).training).TASK
    return task


def _network_of(task: Task[Any], params: Any, roi_px: Any) -> str:
    """Give what a training's pace depends on besides ROIs and cycles: the method's own params, and the ROIs' size."""
    shared = {*NetworkTrainingParams.model_fields, *OF_LENGTH}
    own = {name: value for name, value in params.model_dump(mode="json").items() if name not in shared}
    return json.dumps([task.name, own, roi_px], sort_keys=True)


def _paces(store: Path, task: Task[Any], rois: Sequence[Result]) -> list[Pace]:
    """Give what the stored results of a training took, as far as their ROI sets are still there."""
    by_path = {result.outputs.get("rois"): result for result in rois}
    paces = []
    for result in _results(store, task.name):
        augmented, cycles = by_path.get(result.params.get("rois")), result.params.get("cycles")
        seconds = result.metrics.get("training_seconds")
        amount = sum(augmented.counts.values()) * (cycles or 0) if augmented else 0
        if augmented is None or not amount or not seconds:
            continue
        with suppress(InputError):  # Of an earlier version, whose params nobody knows any more.
            network = _network_of(task, _filled_in(task, result.params), augmented.params.get("roi_px"))
            cpu_seconds = result.metrics.get("training_cpu_seconds", seconds)
            on_gpu = result.machine.get("gpus", "none") != "none"
            folder = inside(store, f"{result.task}/{result.key}")
            paces.append(Pace(network, seconds / amount, cpu_seconds / amount, on_gpu, folder))
    return paces


def _rate(network: str, measured: Sequence[Pace]) -> dict[str, Any] | None:
    same = [pace for pace in measured if pace.network == network]
    if not measured:
        return None
    on_gpu = any(pace.on_gpu for pace in same or measured)
    of_kind = [pace for pace in same or measured if pace.on_gpu == on_gpu]
    return {
        "seconds": median(pace.seconds for pace in of_kind),
        "cpu_seconds": median(pace.cpu_seconds for pace in of_kind),
        "bytes": _median_bytes(pace.folder for pace in of_kind),
        "on_gpu": on_gpu,
        "is_of_another": not same,
    }


def rates(store: Path, rois: Sequence[Result]) -> dict[str, Any]:
    """Give the medians of what stored results took, but for trainings, which depend on the network.

    `augment`: seconds, CPU seconds of all cores and bytes, per ROI. calibrate, segment and score: those of a result.
    """
    measured: dict[str, Any] = {}
    counted = [(result, sum(result.counts.values())) for result in rois if sum(result.counts.values())]
    files = [(inside(store, result.outputs["rois"]), amount) for result, amount in counted]
    if sizes := [path.stat().st_size / amount for path, amount in files if path.exists()]:
        measured["augment"] = {
            "seconds_per_roi": median(result.seconds / amount for result, amount in counted),
            "cpu_seconds_per_roi": median(_cpu_seconds(result) / amount for result, amount in counted),
            "bytes_per_roi": median(sizes),
        }
    for name in AFTER_TRAINING:
        if results := _results(store, name):
            measured[name] = {
                "seconds": median(result.seconds for result in results),
                "cpu_seconds": median(map(_cpu_seconds, results)),
                "bytes": _median_bytes(inside(store, f"{name}/{result.key}") for result in results),
            }
    return measured


def _cpu_seconds(result: Result) -> float:
    """Give the CPU seconds of all cores; of results of before they were measured, the seconds on the clock."""
    return result.usage.get("cpu_seconds", result.seconds)


def _median_bytes(folders: Iterable[Path]) -> float:
    """Give the median size of some folders, of which the first few are looked at."""
    return median(
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for folder in islice(folders, MOST_WEIGHED)
    )


def _results(store: Path, task: str) -> list[Result]:
    """Give the newest whole results of a task."""
    files = sorted(_dated(store.glob(f"{task}/[!.]*/result.json")), reverse=True)[:MOST_MEASURED]
    found = []
    for _, path in files:
        try:
            found.append(read_result(path.parent))
        except InputError:
            log.warning("%s is damaged and isn't counted", path)
    return found


def _dated(paths: Iterable[Path]) -> list[tuple[float, Path]]:
    return [(path.stat().st_mtime, path) for path in paths]


TASK = Task(name="find_experiments", version=3, params_type=Params, run=run)

if __name__ == "__main__":
    sys.exit(TASK.main())
