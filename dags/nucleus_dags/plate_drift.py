"""How new plates are compared with the training plates of their cell line: settings before, lines of a note after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleus_dags.plan import run_name
from nucleus_dags.plate_store import newest_plates, read_plate, read_result


def comparisons(store: Path, plates: Iterable[str]) -> list[dict[str, Any]]:
    """Give the settings of `drift` for every plate whose cell line has other training plates."""
    train = newest_plates(store, "train")
    found = []
    for path in plates:
        plate = read_plate(store, path)
        references = [p.path for p in train if p.cell_line == plate.cell_line and p.name != plate.name]
        if references:
            found.append({"plate": path, "references": references})
    return found


def open_run(dag_run_id: str) -> dict[str, Any]:
    """Give the settings of `open_run` for all of them together."""
    name = f"arrivals, {run_name(dag_run_id)}"
    return {"experiment": "plates", "dag_run_id": dag_run_id, "run_name": name}


def child_runs(planned: Mapping[str, Any], parent_run_id: str) -> list[dict[str, Any]]:
    """Give the settings of `open_run` for each comparison."""
    shared = planned["open_run"] | {"parent_run_id": parent_run_id}
    keys = [Path(comparison["plate"]).name for comparison in planned["comparisons"]]
    return [shared | {"run_name": f"{key}, drift"} for key in keys]


def in_runs(planned: Mapping[str, Any], children: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give each comparison its MLflow run."""
    return [
        comparison | {"mlflow_run_id": child["mlflow_run_id"]}
        for comparison, child in zip(planned["comparisons"], children, strict=True)
    ]


def note(store: Path, lines: Sequence[str], drifted: Iterable[Mapping[str, Any]], failed: int) -> list[str]:
    """Give the lines of the DAG run's note with one for every measure that is far out; the first says of which plates.

    `drifted` are the results of `drift`; `failed` comparisons left none.
    """
    names: list[str] = []
    warnings: list[str] = []
    for result in drifted:
        name = read_plate(store, read_result(store, f"drift/{result['key']}")["params"]["plate"]).name
        found = (store / result["outputs"]["warnings"]).read_text().splitlines()
        names += [name] if found else []
        warnings += [f"- **{name}** is far out: {warning}" for warning in found]
    if failed:
        warnings.append(f"- Of comparisons with the training plates, {failed} failed; the log of `drift` says why.")
    first = f"{lines[0]}; far out: {', '.join(names)}" if names else lines[0]
    return [first, *lines[1:], *warnings]


def endings(
    parent_run_id: str, children: Iterable[Mapping[str, Any]], drifted: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Give the settings of `close_run`: for the MLflow runs that end well, and for those whose comparison failed."""
    done = {result["mlflow_run_id"] for result in drifted}
    well = {child["mlflow_run_id"]: child["mlflow_run_id"] in done for child in children}
    well[parent_run_id] = bool(well) and all(well.values())
    outcomes = {succeeded: [run for run in well if well[run] == succeeded] for succeeded in (True, False)}
    return [{"mlflow_run_ids": runs, "succeeded": succeeded} for succeeded, runs in outcomes.items() if runs]
