"""What a matrix of experiments will take, as a table: counted from what is stored and from what stored results took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nucleus_dags.errors import FormError
from nucleus_dags.planning.run_experiments import rois_to_make, to_do
from nucleus_dags.planning.types import FoundExperiment

BYTES_PER_ROI = 330_000
"""Of 256 x 256 px, before any ROI file was measured: image, labels and maps without compression."""
SPARE = 1.1
"""Disk beside ROIs, networks and label images, for checkpoints and tables."""
SECONDS_PER_HOUR = 3600


class Work(NamedTuple):
    """What is left of an experiment, or of all."""

    cpu_hours: float
    """On the clock, of what runs on CPUs."""
    gpu_hours: float
    """On the clock, of what runs on GPUs."""
    core_hours: float
    """Of all CPU cores, which have their price also while a GPU works."""
    unknown: frozenset[str]
    """Tasks of which no result was measured yet."""
    of_another: frozenset[str]
    """Trainings of which only other networks, or other settings of it, were measured."""


class Training(NamedTuple):
    """A training that isn't stored."""

    rois: str
    """Key of its ROI set."""
    cycles: int
    rate: Mapping[str, Any] | None


def plan_lines(found: Mapping[str, Any], prices: Mapping[str, Any]) -> list[str]:
    """Give the lines of the plan in Markdown, for the note and the log."""
    experiments: Sequence[FoundExperiment] = found["experiments"]
    left = to_do(found)
    trainings = {key for one in experiments for key in one["training_keys"]}
    to_train = _left_to_train(left)
    sets = found["rois"]
    work = work_of(left, found)
    there = sum(rois["is_stored"] for rois in sets.values())
    lines = [
        f"{len(left)} of {len(experiments)} experiments to run, {_hours(work)}{_money(work, prices)}",
        "",
        "| | in all | in the store | to do |",
        "|---|---:|---:|---:|",
        f"| experiments | {len(experiments)} | {sum(bool(one['scores']) for one in experiments)} | {len(left)} |",
        f"| ROI sets | {len(sets)} | {there} | {len(rois_to_make(found))} |",
        f"| trainings | {len(trainings)} | {len(trainings) - len(to_train)} | {len(to_train)} |",
        f"| disk | | {_size(found['free_bytes'])} free | {_size(bytes_of(found))} |",
    ]
    crowded = [f"- **It doesn't fit the disk.** {sentence}" for sentence in [what_does_not_fit(found)] if sentence]
    return [*lines, "", *crowded, *_on_weights(experiments), *_on_twins(experiments, trainings)]


def experiment_lines(found: Mapping[str, Any]) -> list[str]:
    """Give a table of all experiments: what is there of each, and what the rest takes."""
    lines = ["| experiment | ROIs | trained | segmented | scored | hours on the clock |", "|---|---|---|---|---|---:|"]
    for one in found["experiments"]:
        rois = found["rois"][one["rois"]]
        plates = sum(len(plates) for plates in one["plates"].values())
        of_networks = f"{sum(one['trained'])} of {len(one['trained'])}"
        is_there = "there" if rois["is_stored"] else f"{rois['amount']:,}"
        work = work_of([] if one["scores"] else [one], found)
        hours = "?" if work.unknown else f"{work.cpu_hours + work.gpu_hours:.2f}"
        scored = "yes" if one["scores"] else "no"
        lines.append(
            f"| {one['name']} | {is_there} | {of_networks} | {one['segmented']} of {plates} | {scored} | {hours} |"
        )
    return lines


def what_does_not_fit(found: Mapping[str, Any]) -> str:
    """Say that what is to be made doesn't fit the disk; empty if it does."""
    needed = bytes_of(found) * SPARE
    if needed <= found["free_bytes"]:
        return ""
    return (
        f"ROIs, networks and label images need {_size(needed)}, and the store has {_size(found['free_bytes'])} free; "
        "choose fewer tables or rows, a smaller scale, or free disk."
    )


def refuse_what_does_not_fit(found: Mapping[str, Any]) -> None:
    """Raise FormError if what is to be made doesn't fit the disk."""
    if sentence := what_does_not_fit(found):
        raise FormError(sentence)


def bytes_of(found: Mapping[str, Any]) -> float:
    """Give the size of the ROI files, networks and label images that are still to be made, as far as it is known."""
    rates, left = found["rates"], to_do(found)
    per_roi = rates.get("augment", {}).get("bytes_per_roi", BYTES_PER_ROI)
    of_rois = sum(found["rois"][key]["amount"] * per_roi for key in rois_to_make(found))
    of_networks = sum(training.rate["bytes"] for training in _left_to_train(left).values() if training.rate)
    of_steps = sum(count * rates.get(name, {}).get("bytes", 0) for name, count in _steps_left(left).items())
    return float(of_rois + of_networks + of_steps)


def work_of(experiments: Iterable[FoundExperiment], found: Mapping[str, Any]) -> Work:
    """Give what is left of experiments, each training and ROI set counted once."""
    experiments, rates = list(experiments), found["rates"]
    clock: dict[bool, float] = {True: 0.0, False: 0.0}
    of_cores, unknown, others = 0.0, set(), set()
    for key in {one["rois"] for one in experiments if not (all(one["trained"]) and one["is_calibrated"])}:
        rois = found["rois"][key]
        if not rois["is_stored"] and "augment" in rates:
            clock[False] += rois["amount"] * rates["augment"]["seconds_per_roi"]
            of_cores += rois["amount"] * rates["augment"]["cpu_seconds_per_roi"]
        elif not rois["is_stored"]:
            unknown.add("augment")
    for key, training in _left_to_train(experiments).items():
        task, rate = key.partition("/")[0], training.rate
        if rate is None:
            unknown |= {task} if training.cycles else set()
            continue
        others |= {task} if rate["is_of_another"] and training.cycles else set()
        amount = found["rois"][training.rois]["amount"] * training.cycles
        clock[rate["on_gpu"]] += amount * rate["seconds"]
        of_cores += amount * rate["cpu_seconds"]
    for name, count in _steps_left(experiments).items():
        if count and name not in rates:
            unknown.add(name)
        clock[False] += count * rates.get(name, {}).get("seconds", 0)
        of_cores += count * rates.get(name, {}).get("cpu_seconds", 0)
    on_cpus, on_gpus, core_hours = (seconds / SECONDS_PER_HOUR for seconds in (clock[False], clock[True], of_cores))
    return Work(on_cpus, on_gpus, core_hours, frozenset(unknown), frozenset(others))


def _left_to_train(experiments: Iterable[FoundExperiment]) -> dict[str, Training]:
    """Give the trainings that aren't stored, by key. Experiments may share some."""
    return {
        key: Training(one["rois"], cycles, rate)
        for one in experiments
        for key, cycles, rate, is_stored in zip(
            one["training_keys"], one["cycles"], one["rates"], one["trained"], strict=True
        )
        if not is_stored
    }


def _steps_left(experiments: Iterable[FoundExperiment]) -> dict[str, int]:
    counts = {"calibrate": 0, "segment": 0, "score": 0}
    for one in experiments:
        plates = [plate for of_role in one["plates"].values() for plate in of_role]
        counts["calibrate"] += not one["is_calibrated"]
        counts["segment"] += len(plates) - one["segmented"]
        counts["score"] += 0 if one["scores"] else sum(bool(of_role) for of_role in one["plates"].values())
    return counts


def _hours(work: Work) -> str:
    parts = [f"{work.cpu_hours:.1f} h on CPUs"] + ([f"{work.gpu_hours:.1f} h on GPUs"] if work.gpu_hours else [])
    measured = f"{' and '.join(parts)} on the clock, one after the other ({work.core_hours:.1f} CPU core hours)"
    others = ", ".join(sorted(work.of_another))
    remark = f"; {others}: measured on another network or other settings of it" if others else ""
    if not work.unknown:
        return f"about {measured}{remark}"
    return f"at least {measured}{remark}; nothing is measured yet of {', '.join(sorted(work.unknown))}"


def _money(work: Work, prices: Mapping[str, Any]) -> str:
    of_cores, of_gpus = (prices.get(name) for name in ("core_hour", "gpu_hour"))
    if of_cores is None and of_gpus is None:
        return ""
    money = work.core_hours * (of_cores or 0) + work.gpu_hours * (of_gpus or 0)
    return f"; {'at least' if work.unknown else 'about'} {money:.2f} {prices.get('currency', '')}".rstrip()


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _on_weights(experiments: Iterable[FoundExperiment]) -> list[str]:
    reasons: dict[str, int] = {}
    for one in experiments:
        if one["missing"]:
            reasons[one["missing"]] = reasons.get(one["missing"], 0) + 1
    return [
        f"- **{count} run without their pretrained weights**, marked in every table: {why}"
        for why, count in reasons.items()
    ]


def _on_twins(experiments: Sequence[FoundExperiment], trainings: Iterable[str]) -> list[str]:
    """Say that experiments are the same at this scale, or with the weights that there are."""
    distinct = {(*one["training_keys"], str(one["model"])) for one in experiments}
    count = len(experiments) - len(distinct)
    return [f"- {count} experiments are the same as others, and are trained once."] if count else []
