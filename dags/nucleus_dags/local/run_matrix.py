"""Run a matrix of experiments without Airflow, one task after the other.

    python -m nucleus_dags.local.run_matrix MATRIX FOLDER [--scale 0.1] [--plan]

FOLDER holds the imported plates in `store/`; results and MLflow's database come beside them. It does what the DAG
`run_experiments` does, by the same functions and command lines. Killed and called again, it does the rest.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowException

from nucleus_dags.errors import FormError
from nucleus_dags.launchers.command_line import arguments_of
from nucleus_dags.launchers.kinds import TRAIN
from nucleus_dags.launchers.task_operator import Result, raise_unless_done, read_receipt
from nucleus_dags.local.home import REPOSITORY
from nucleus_dags.planning import experiments_plan, run_experiments
from nucleus_dags.planning.candidates import calibrated_model
from nucleus_dags.planning.types import ExperimentsPlan, FoundExperiment, OpenedExperiment, Params

SECONDS_PER_HOUR = 3600

RunTask = Callable[[str, Params], Result]
"""Runs a task to its end. The params may hold `mlflow_run_id`, and the `task` where that depends on the experiment.
Raises AirflowException for one that fails, as the launchers of the DAGs do."""


LeftOut = Callable[[Sequence[FoundExperiment]], Collection[str]]
"""Gives the names of experiments that aren't run."""


def nothing(found: Sequence[FoundExperiment]) -> Collection[str]:
    """Leave out nothing."""
    return ()


@dataclass
class MatrixRun:
    """What became of a matrix."""

    scored: list[Params] = field(default_factory=list)
    """The experiments that were scored now, as `scored_experiment` gives them."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by the names of experiments, or of what they share."""
    not_begun: list[OpenedExperiment] = field(default_factory=list)
    """Experiments for which no time was left."""
    tabulated: Result | None = None
    """None after a plan, or where nothing has scores."""


def run_matrix(
    form: Mapping[str, Any], store: Path, run: RunTask, left_out: LeftOut = nothing, most_hours: float = math.inf
) -> MatrixRun:
    """Plan a matrix and run what the store and MLflow lack. Raises FormError before anything is spent.

    `form` has `matrix` and `scale`, and `stop_after_plan`. An experiment that fails doesn't stop the others.
    `left_out` says of which experiments nothing is to do here; none is begun after `most_hours`.
    """
    # The answer of find_experiments belongs to who asks.
    asked_by = f"run_matrix {datetime.now(UTC).isoformat()}"
    whole = {"tables": [], "rows": [], "core_hour": None, "gpu_hour": None, "experiment": "experiments", **form}
    planned = run_experiments.plan(whole, store, asked_by)
    found = run_experiments.read_found(store, run("find_experiments", planned["find"])["outputs"]["found"])
    skipped = left_out(found["experiments"])
    found["experiments"] = [one for one in found["experiments"] if one["name"] not in skipped]
    chosen = run_experiments.chosen_of(found)
    print("\n".join([*experiments_plan.plan_lines(chosen, planned["prices"]), *planned["remarks"]]), flush=True)
    done = MatrixRun()
    if planned["stop_after_plan"]:
        return done
    to_do = run_experiments.to_do(chosen)
    experiments_plan.refuse_what_does_not_fit(chosen)
    opened = run("open_run", run_experiments.runs_of_experiments(planned, to_do))
    rois_to_make = {rois["key"]: rois for rois in run_experiments.named_rois(planned, chosen)}
    since = time.monotonic()
    for experiment in run_experiments.opened_experiments(opened, {"experiments": to_do}):
        if time.monotonic() - since > most_hours * SECONDS_PER_HOUR:
            done.not_begun.append(experiment)
            continue
        if rois := rois_to_make.pop(experiment["rois"], None):
            _tried(done, rois["name"], partial(run, "augment", rois["params"]))
        _run_experiment(experiment, run, done)
    _end(done.not_begun, False, run, done)
    _tabulate(planned, found, opened["mlflow_run_id"], run, done)
    return done


def _tried(done: MatrixRun, name: str, work: Callable[[], Any]) -> Any:
    """Do some work and give its result; None if it fails, which is noted under the name."""
    try:
        return work()
    except AirflowException as error:
        done.failed[name] = str(error)
        print(f"failed: {name}: {error}", file=sys.stderr, flush=True)
        return None


def _run_experiment(experiment: OpenedExperiment, run: RunTask, done: MatrixRun) -> None:
    """Run an experiment and end its MLflow run at once, so that a next start knows that nothing of it is to do."""
    scored = _tried(done, experiment["name"], partial(scored_experiment, experiment, run))
    done.scored += [scored] if scored else []
    _end([experiment], scored is not None, run, done)


def _end(experiments: Sequence[OpenedExperiment], succeeded: bool, run: RunTask, done: MatrixRun) -> None:
    """End the MLflow runs of experiments, all by one task."""
    if experiments:
        ended = {"mlflow_run_ids": [one["mlflow_run_id"] for one in experiments], "succeeded": succeeded}
        names = ", ".join(one["name"] for one in experiments)
        _tried(done, f"{names}, end of MLflow runs", partial(run, "close_run", ended))


def scored_experiment(experiment: Mapping[str, Any], run: RunTask) -> Params:
    """Go the way of one experiment, from its trainings to its scores."""
    trainings = run_experiments.trainings_of_experiment(experiment, {})
    networks = run_experiments.networks_of([run(TRAIN, training) for training in trainings], {})
    calibration = run_experiments.calibration_of_experiment(experiment, {"networks": networks})
    model = calibrated_model(run("calibrate", calibration), {})
    plates = run_experiments.segmentations_of(experiment, {"model": model})
    segmented = run_experiments.segmented_plates([run("segment", plate) for plate in plates], {})
    known = {"segmented": segmented, "experiment": experiment}
    scorings = run_experiments.scorings_of(experiment, known)
    return run_experiments.scored_experiment([run("score", scoring) for scoring in scorings], known)


def _tabulate(
    planned: ExperimentsPlan, found: Mapping[str, Any], mlflow_run_id: str, run: RunTask, done: MatrixRun
) -> None:
    """Make tables and figures of all that has scores, and end the MLflow run of the matrix."""
    params = run_experiments.tables_of(planned["tabulate"], found, done.scored)
    if params["experiments"]:
        params["mlflow_run_id"] = mlflow_run_id
        done.tabulated = _tried(done, "tables and figures", partial(run, "tabulate", params))
    run("close_run", {"mlflow_run_ids": [mlflow_run_id], "succeeded": not done.failed})


def processes_in(folder: Path) -> RunTask:
    """Give what runs tasks as processes, with the store and MLflow's database in a folder."""
    weights = os.environ.get("NUCLEUS_WEIGHTS")
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        **({"NUCLEUS_WEIGHTS": str(Path(weights).resolve())} if weights else {}),
    }

    def run(task: str, params: Params) -> Result:
        sent = {name: value for name, value in params.items() if name not in ("task", "mlflow_run_id")}
        task, receipt = params.get("task", task), folder / "receipt.json"
        receipt.unlink(missing_ok=True)
        of_run = {"MLFLOW_RUN_ID": params["mlflow_run_id"]} if params.get("mlflow_run_id") else {}
        command = [sys.executable, *arguments_of(task, sent, folder / "store", receipt)]
        # MLflow keeps its files in the working directory.
        ended = subprocess.run(command, cwd=folder, env=environment | of_run)
        raise_unless_done(task, ended.returncode, "see above")
        return read_receipt(receipt, task, sent)

    return run


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nucleus_dags.local.run_matrix", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("matrix", help="name of the matrix, such as paper")
    parser.add_argument("folder", type=Path, help="folder whose store/ holds the imported plates")
    parser.add_argument("--scale", type=float, default=1.0, help="of ROIs and epochs; default: %(default)s")
    parser.add_argument("--plan", action="store_true", help="only say what there is to do and what it takes")
    args = parser.parse_args(argv)
    form = {"matrix": args.matrix, "scale": args.scale, "stop_after_plan": args.plan}
    folder = args.folder.resolve()
    try:
        done = run_matrix(form, folder / "store", processes_in(folder))
    except (FormError, AirflowException) as error:
        print(error, file=sys.stderr)
        return 1
    if done.tabulated:
        print(folder / "store" / done.tabulated["outputs"]["page"])
    return 1 if done.failed else 0


if __name__ == "__main__":
    sys.exit(main())
