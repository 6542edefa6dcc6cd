"""What a DAG run trains and compares: candidates, from their trainings to their scores.

The functions with two arguments are hooks of `launch`: what is given for a part (or the result of a task) and what is
known besides go in; params, or what the next tasks get, come out. Results are told apart by their MLflow run: each
candidate has its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.manifest import method_entry
from nucleus_dags.planning.baseline import metrics_of_baseline, scores_of_baseline
from nucleus_dags.planning.methods import FOR_CELL_LINES
from nucleus_dags.planning.types import Candidate, Model, OpenedCandidate, Params, StoredPlatePath, Training
from nucleus_dags.planning.usability import shortcoming


def opened_candidates(opened: Result, known: Mapping[str, Any]) -> list[OpenedCandidate]:
    """Hand on, of `open_run`, each candidate with its MLflow run; a single one has that of the DAG run itself."""
    candidates: Sequence[Candidate] = known["candidates"]
    run_ids: Sequence[str] = opened["values"]["children"] or [opened["mlflow_run_id"]]
    return [{**candidate, "mlflow_run_id": run_id} for candidate, run_id in zip(candidates, run_ids, strict=True)]


def trainings_on(augmented: Result, known: Mapping[str, Any]) -> list[Training]:
    """Hand on, of `augment`, what is trained on its ROIs: every network of every candidate.

    One that is kept as it is says that it has no ROIs.
    """
    candidates: Sequence[OpenedCandidate] = known["candidates"]
    return [
        {
            "rois": augmented["outputs"]["rois"],
            **training,  # type: ignore[typeddict-item]
            "task": method_entry(candidate["method"])["task"],
            "mlflow_run_id": candidate["mlflow_run_id"],
        }
        for candidate in candidates
        for training in candidate["trainings"]
    ]


def calibration_of(candidate: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `calibrate` for a candidate, from the results of all trainings."""
    trained = _of_run(known["trained"], candidate["mlflow_run_id"])
    chosen = known["settings"].get(candidate["method"], {})
    params = {
        "method": candidate["method"],
        "networks": [result["outputs"]["network"] for result in trained],
        "settings": _with_chosen(candidate.get("settings", {}), chosen),
        "mlflow_run_id": candidate["mlflow_run_id"],
    }
    # Nothing is chosen where the settings are known.
    return {**params, "search": []} if "settings" in candidate else params


def _with_chosen(settings: Params, chosen: Params) -> Params:
    """Give settings in which what a person chose holds for all cell lines."""
    of_lines = {
        name: {setting: value for setting, value in own.items() if setting not in chosen}
        for name, own in settings.get(FOR_CELL_LINES, {}).items()
    }
    return {**settings, **chosen, **({FOR_CELL_LINES: of_lines} if of_lines else {})}


def calibrated_model(calibrated: Result, known: Mapping[str, Any]) -> Model:
    """Hand on, of `calibrate`, what its networks segment with."""
    return {
        "method": calibrated["params"]["method"],
        "networks": calibrated["params"]["networks"],
        "settings": calibrated["values"]["settings"],
        "mlflow_run_id": calibrated["mlflow_run_id"],
    }


def stored_plate(ingested: Mapping[str, Any]) -> StoredPlatePath:
    """Give the plate that `ingest` stored."""
    return {"plate": ingested["outputs"]["plate"]}


def scores_by_name(candidates: Iterable[OpenedCandidate], scored: Iterable[Result]) -> dict[str, str]:
    """Give the scores of those candidates that have some, by name."""
    names = {candidate["mlflow_run_id"]: candidate["name"] for candidate in candidates}
    return {names[r["mlflow_run_id"]]: r["outputs"]["scores"] for r in scored if r["mlflow_run_id"] in names}


def report_on(given: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `report` on all candidates, and on the baseline."""
    return {"scores": scores_by_name(known["candidates"], known["scored"]) | scores_of_baseline(known["scored"])}


def metrics_by_name(candidates: Iterable[OpenedCandidate], scored: Iterable[Result]) -> dict[str, dict[str, float]]:
    """Give the metrics of the scores, of those candidates that got so far, and of the baseline."""
    names = {candidate["mlflow_run_id"]: candidate["name"] for candidate in candidates}
    scored = list(scored)
    of_candidates = {names[r["mlflow_run_id"]]: r["metrics"] for r in scored if r["mlflow_run_id"] in names}
    return of_candidates | metrics_of_baseline(scored)


def remarks_on_own_proposals(candidates: Iterable[OpenedCandidate], scored: Iterable[Result]) -> list[str]:
    """Give a line of Markdown for each candidate that proposed some of the labels that it was scored against."""
    names = {candidate["mlflow_run_id"]: candidate["name"] for candidate in candidates}
    own = {
        names[r["mlflow_run_id"]]: r["counts"].get("own_proposals", 0) for r in scored if r["mlflow_run_id"] in names
    }
    return [
        f"- F1 of **{name}** is too good: {number} of the true labels were proposed by it or a model that it began from"
        for name, number in own.items()
        if number
    ]


def first_champion_of(given: Mapping[str, Any], known: Mapping[str, Any]) -> Params | None:
    """Give the params of `promote_model` for the best candidate as the first champion; None if none can be used."""
    scored = [r for r in known["scored"] if r["mlflow_run_id"] and not shortcoming(r["metrics"])]
    if not scored:
        return None
    best = max(scored, key=lambda result: result["metrics"]["f1_area/all"])
    return {**given, "mlflow_run": best["mlflow_run_id"]}


def _of_run(results: Iterable[Result], mlflow_run_id: str | None) -> list[Result]:
    return [result for result in results if result["mlflow_run_id"] == mlflow_run_id]
