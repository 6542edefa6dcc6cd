"""How new plates are compared with the training plates of their cell line: params before, lines of a note after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from nucleus_dags.in_store import in_store
from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.planning.runs import run_to_open
from nucleus_dags.planning.types import RunsToClose, RunToOpen
from nucleus_dags.plates.stored import newest_plates, read_plate


class Comparison(TypedDict):
    """Params of `drift`."""

    plate: str
    references: list[str]


class OpenedComparison(Comparison):
    """A comparison with its MLflow run."""

    mlflow_run_id: str


def comparisons(store: Path, plates: Iterable[str]) -> list[Comparison]:
    """Give the params of `drift` for every plate whose cell line has other training plates with reliable labels."""
    train = [plate for plate in newest_plates(store, "train") if plate.trains]
    found: list[Comparison] = []
    for path in plates:
        plate = read_plate(store, path)
        references = [p.path for p in train if p.cell_line == plate.cell_line and p.name != plate.name]
        if references:
            found.append({"plate": path, "references": references})
    return found


def run_of_arrivals(planned: Iterable[Comparison], dag_run_id: str) -> RunToOpen:
    """Give the params of `open_run` for all comparisons together, with a run below for each."""
    children = [f"{Path(comparison['plate']).name}, drift" for comparison in planned]
    return run_to_open("plates", dag_run_id, "arrivals, ", children)


def in_runs(opened: Result, known: Mapping[str, Any]) -> list[OpenedComparison]:
    """Hand on, of `open_run`, each comparison with its MLflow run."""
    planned: Sequence[Comparison] = known["comparisons"]
    return [
        {**comparison, "mlflow_run_id": run_id}
        for comparison, run_id in zip(planned, opened["values"]["children"], strict=True)
    ]


def note(store: Path, lines: Sequence[str], drifted: Iterable[Result], failed: int) -> list[str]:
    """Give the lines of the DAG run's note, with one for every outlier; the first names the plates with outliers.

    `drifted` are the results of `drift`; `failed` comparisons left none.
    """
    names: list[str] = []
    warnings: list[str] = []
    for result in drifted:
        name = read_plate(store, result["params"]["plate"]).name
        found = in_store(store, result["outputs"]["warnings"]).read_text().splitlines()
        names += [name] if found else []
        warnings += [f"- **{name}** is an outlier: {warning}" for warning in found]
    if failed:
        warnings.append(f"- Of comparisons with the training plates, {failed} failed; the log of `drift` says why.")
    first = f"{lines[0]}; outliers: {', '.join(names)}" if names else lines[0]
    return [first, *lines[1:], *warnings]


def endings(parent_run_id: str, opened: Iterable[OpenedComparison], drifted: Iterable[Result]) -> list[RunsToClose]:
    """Give the params of `close_run`: for the MLflow runs that end well, and for those whose comparison failed."""
    done = {result["mlflow_run_id"] for result in drifted}
    well = {comparison["mlflow_run_id"]: comparison["mlflow_run_id"] in done for comparison in opened}
    well[parent_run_id] = bool(well) and all(well.values())
    outcomes = {succeeded: [run for run in well if well[run] == succeeded] for succeeded in (True, False)}
    return [{"mlflow_run_ids": runs, "succeeded": succeeded} for succeeded, runs in outcomes.items() if runs]
