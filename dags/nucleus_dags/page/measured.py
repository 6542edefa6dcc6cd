"""How long runs take on this installation: measured in earlier ones, for what is to be started and for what goes on.

A step of an earlier run counts with the time of its computation, which the receipts have also of results that were
there already, or with the time that it took in Airflow, whichever is longer. Steps whose time goes with the work, such
as fields or ROIs times epochs, are scaled by it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from airflow.models.pool import Pool
from sqlalchemy import select
from sqlalchemy.orm import Session

from nucleus_dags.forms import typed
from nucleus_dags.launchers.kinds import pool_of
from nucleus_dags.manifest import manifest, method_entry, training_params
from nucleus_dags.page.airflow_runs import Run, Step, latest_successes, steps_of
from nucleus_dags.page.known_plates import known_plates
from nucleus_dags.page.receipts import receipts_of

EARLIER_RUNS = 5
"""Older ones may be of another machine."""
BY_PEOPLE = ("approve",)
"""Steps that wait for a person, for as long as that takes."""
Work = Mapping[str, float]
"""How much there is to do, by the step whose time goes with it, in whatever unit."""


@dataclass(frozen=True)
class Measured:
    """An earlier run."""

    seconds: Mapping[str, float]
    """By step."""
    work: Work

    def scaled(self, work: Work) -> dict[str, float]:
        """Give the seconds of each step for another amount of work."""
        return {
            step: seconds * (work[step] / self.work[step] if work.get(step) and self.work.get(step) else 1)
            for step, seconds in self.seconds.items()
        }


@dataclass(frozen=True)
class Estimate:
    """How long a run is expected to take."""

    seconds: float
    least: float
    most: float
    runs: int


def measured_runs(session: Session, store: Path, dag_id: str, form: typed.Form) -> list[Measured]:
    """Give the newest runs of a DAG that ended well."""
    runs = latest_successes(session, dag_id, EARLIER_RUNS)
    slots = {row.pool: row.slots for row in session.execute(select(Pool.pool, Pool.slots))}
    steps = steps_of(session, runs)
    return [_measured(store, form, run, steps.get((run.dag_id, run.run_id), []), slots) for run in runs]


def expected_seconds(runs: Iterable[Measured], work: Work) -> dict[str, float]:
    """Give the seconds of each step that are expected for an amount of work; nothing without an earlier run."""
    of_runs = [run.scaled(work) for run in runs]
    steps = {step for seconds in of_runs for step in seconds}
    return {step: statistics.median(seconds.get(step, 0.0) for seconds in of_runs) for step in steps}


def estimate(runs: Sequence[Measured], work: Work) -> Estimate | None:
    """Say how long a run will take; None without an earlier one."""
    totals = [sum(run.scaled(work).values()) for run in runs]
    return Estimate(statistics.median(totals), min(totals), max(totals), len(runs)) if totals else None


def work_of(store: Path, dag_id: str, form: typed.Form, given: Mapping[str, Any]) -> Work:
    """Say how much there is to do, by a filled form; nothing where that isn't known."""
    counted = _WORK.get(dag_id)
    values = {name: param.value for name, param in form.items()} | dict(given)
    try:
        return counted(store, values) if counted else {}
    except (KeyError, TypeError, ValueError):
        # Of a form that isn't filled in yet, or of an earlier version of it.
        return {}


def progress(steps: Sequence[Step], expected: Mapping[str, float], within: Mapping[str, float]) -> float:
    """Give the share of a run that is done, 0 to 1; each step counts by the seconds that are expected of it.

    Args:
        steps: Of the run.
        expected: Seconds by step; empty where nothing was measured.
        within: By step, how many parts' worth is done of those that go on.
    """
    weights = {step.task_id: expected.get(step.task_id, 0.0) if expected else float(step.parts) for step in steps}
    total = sum(weights.values())
    done = sum(
        weights[step.task_id] * min(1.0, (step.done + within.get(step.task_id, 0.0)) / step.parts) for step in steps
    )
    return done / total if total else 0.0


def seconds_left(
    steps: Sequence[Step], expected: Mapping[str, float], known: Mapping[str, float], now: datetime
) -> float | None:
    """Estimate the rest of a run; `known` is what steps say themselves to have left. None if neither is known."""
    if not expected and not known:
        return None
    return sum(
        known.get(step.task_id, max(0.0, expected.get(step.task_id, 0.0) - (step.seconds(now) or 0.0)))
        for step in steps
        if not step.is_done
    )


def _measured(store: Path, form: typed.Form, run: Run, steps: Iterable[Step], slots: Mapping[str, int]) -> Measured:
    computed = _computed(store, run.dag_id, run.run_id, run.ended)
    now = datetime.now(UTC)
    seconds = {
        step.task_id: max(step.seconds(now) or 0.0, computed.get(step.task_id, NOTHING).side_by_side(slots))
        for step in steps
        if step.task_id not in BY_PEOPLE
    }
    return Measured(seconds, work_of(store, run.dag_id, form, run.conf))


class Computed(NamedTuple):
    """What the computations of a step took, one after the other."""

    task: str
    parts: int
    seconds: float

    def side_by_side(self, slots: Mapping[str, int]) -> float:
        """Give the seconds that they take with as many side by side as the pool allows."""
        # A method that was removed since has no pool any more.
        beside = slots.get(pool_of(self.task), 1) if self.task in manifest()["tasks"] else 1
        return self.seconds / max(1, min(self.parts, beside))


NOTHING = Computed("", 0, 0.0)


@lru_cache(maxsize=500)
def _computed(store: Path, dag_id: str, run_id: str, ended: datetime | None) -> Mapping[str, Computed]:
    """Sum up the receipts of a run, by step. One that has ended, which may have thousands, stays as it is."""
    return {
        step: Computed(found[0]["task"], len(found), sum(receipt["seconds"] for receipt in found))
        for step, found in receipts_of(store, dag_id, run_id).items()
    }


def _fields(store: Path, values: Mapping[str, Any]) -> Work:
    plate = known_plates(store).get(str(values["plate"]).partition("@")[0])
    fields = float(plate.newest.fovs) if plate else 0.0
    return {"segment": fields, "assemble_plate": fields}


def _epochs(store: Path, values: Mapping[str, Any]) -> Work:
    preset = manifest()["presets_of_augment"][values["preset"]]
    augment = manifest()["tasks"]["augment"]["params"]["properties"]
    rois = float(values["rois"] or preset.get("rois") or augment["rois"]["default"])
    return {"augment": rois, "train": rois * sum(_cycles(method, values) for method in values["methods"])}


def _cycles(method: str, values: Mapping[str, Any]) -> float:
    """Give the epochs of all networks of a method together; 0 of one that isn't trained in epochs."""
    entry, params = method_entry(method), training_params(method)
    if "cycles" not in params:
        return 0.0
    preset = entry["presets"][values["preset"]]
    networks = entry["networks"].get(values["networks"] or "", entry["networks"][preset["networks"]])
    cycles = values["cycles"] or preset["params"].get("cycles") or params["cycles"]["default"]
    return float(cycles) * len(networks["trainings"])


_WORK: dict[str, Callable[[Path, Mapping[str, Any]], Work]] = {
    "segment_plate": _fields,
    "train_models": _epochs,
    "retrain_champion": lambda _, values: {
        "train": float(len(values["initial_weights"]) * values["replicates"] * (values["cycles"] or 0)) or 0.0
    },
}
