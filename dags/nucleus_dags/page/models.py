"""Models: versions with their scores, which is champion and why, two compared, and promotion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from nucleus_dags.launchers.task_operator import mlflow_run_url
from nucleus_dags.page.access import Person, why_not
from nucleus_dags.page.airflow_runs import dags_of_runs, is_paused
from nucleus_dags.page.comparison import compare
from nucleus_dags.page.file_answers import FOR_EVER, file_answer
from nucleus_dags.page.model_rows import Row, generations, rows
from nucleus_dags.page.model_scores import ALL, OVERALL, Group, measured, shown_thresholds
from nucleus_dags.page.places import store
from nucleus_dags.page.registered import Registry, registry
from nucleus_dags.page.rendering import page
from nucleus_dags.page.segmented_plates import segmented_plates
from nucleus_dags.page.store_results import find_result

router = APIRouter(prefix="/models")
NEWEST = "-version"
FIGURES = ("gained", "lost")
KINDS = {"cell_line": "Cell line", "plate": "Test plate"}


@router.get("")
def show_models(
    request: Request,
    person: Person,
    of: str = ALL,
    trained_on: str = "",
    method: str = "",
    sort: str = NEWEST,
) -> Response:
    """List all versions, sorted and filtered; `of` is what F1 is shown of, such as `plate:NAME`."""
    known, scores = registry(), measured(store())
    found = rows(known, store(), scores)
    groups = _groups(found)
    group = next((group for group in groups if _address(group) == of), OVERALL)
    shown = [row for row in found if trained_on in ("", *row.plate_names) and method in ("", row.method)]
    return page(
        request,
        "models",
        registry=known,
        rows=_sorted(shown, group, sort),
        all_rows=found,
        champion=next((row for row in found if row.is_champion), None),
        dags=_dags(found),
        groups={_address(one): _in_words(one) for one in groups},
        group=group,
        cell_lines=sorted({line for row in found if row.scores for line in row.scores.cell_lines}),
        line=lambda name: Group("cell_line", name),
        thresholds=shown_thresholds(),
        is_flattered=any(row.own_proposals(one) for row in shown for one in (group, OVERALL)),
        chosen={"of": of, "trained_on": trained_on, "method": method, "sort": sort},
        plates=sorted({name for row in found for name in row.plate_names}),
        methods=sorted({row.method for row in found}),
        **_starting("compare_models", person),
    )


@router.get("/compare")
def show_comparison(
    request: Request, person: Person, a: Annotated[int, Query(ge=1)], b: Annotated[int, Query(ge=1)]
) -> Response:
    """Compare two versions: what b has gained and lost against a."""
    known, scores = registry(), measured(store())
    found = rows(known, store(), scores)
    before, after = (_row(found, number, known) for number in (a, b))
    compared = compare(before, after, scores, generations(after.key, store()))
    return page(
        request,
        "comparison",
        registry=known,
        before=before,
        after=after,
        rows=[row for row in found if row.version],
        compared=compared,
        thresholds=shown_thresholds(),
        figures=FIGURES,
        is_flattered=any(row.own_proposals(group) for group in compared.differences for row in (before, after)),
        **_starting("compare_models", person),
    )


@router.get("/judged/{key}/{figure}.png")
def send_figure(person: Person, key: str, figure: str) -> Response:
    """Send the picture of gained or lost nuclei of a judgement."""
    judged = find_result(store(), "judge", key)
    path = judged.output(figure) if judged and figure in FIGURES else None
    return file_answer(path, headers=FOR_EVER)


@router.get("/{version}")
def show_model(request: Request, person: Person, version: int) -> Response:
    """Show a version: why it is what it is, its scores, what it was trained on; and promote it."""
    known, scores = registry(), measured(store())
    found = rows(known, store(), scores)
    row = _row(found, version, known)
    judged = scores.judged(row.key) if row.key else None
    return page(
        request,
        "model",
        registry=known,
        row=row,
        rows=[other for other in found if other.version and other.version != version],
        champion=next((other for other in found if other.is_champion), None),
        judged=judged,
        against=next((other.version for other in found if judged and other.key in judged.champion), None),
        generations=generations(row.key, store()),
        versions=_versions_by_networks(found),
        dags=_dags([row]),
        mlflow=mlflow_run_url(row.mlflow_run_id) if row.mlflow_run_id else "",
        errors=_by_group(row),
        segmented={one.plate: one.address for one in segmented_plates(store()) if one.version == version},
        thresholds=shown_thresholds(),
        kinds=KINDS,
        **_starting("promote_model", person),
    )


def _row(found: Sequence[Row], version: int, known: Registry) -> Row:
    row = next((row for row in found if row.version == version), None)
    if row is None:
        raise HTTPException(404, known.problem or f"There is no version {version}; the page Models lists all.")
    return row


def _starting(dag_id: str, person: Any) -> dict[str, Any]:
    return {"why_not": why_not(dag_id, person), "paused": is_paused(dag_id)}


def _groups(found: Sequence[Row]) -> list[Group]:
    """Give all that something was scored on: all plates, cell lines, plates."""
    scores = [row.scores for row in found if row.scores]
    lines = sorted({line for one in scores for line in one.cell_lines})
    plates = sorted({plate for one in scores for plate in one.plate_names})
    return [OVERALL, *(Group("cell_line", name) for name in lines), *(Group("plate", name) for name in plates)]


def _address(group: Group) -> str:
    return ALL if group == OVERALL else f"{group.kind}:{group.name}"


def _in_words(group: Group) -> str:
    return "All test plates" if group == OVERALL else f"{KINDS[group.kind]} {group.name}"


def _sorted(found: Sequence[Row], group: Group, sort: str) -> list[Row]:
    """Sort by a column, from large to small with a hyphen before it; rows without a value come last."""
    column = sort.removeprefix("-")

    def value(row: Row) -> Any:
        at = {f"f1_at_{t}": t for t in shown_thresholds()}.get(column)
        if at is not None:
            return row.f1(group, at)
        return row.made_at if column == "made" else row.version

    known = [row for row in found if value(row) is not None]
    known.sort(key=value, reverse=sort.startswith("-"))
    return known + [row for row in found if value(row) is None]


def _dags(found: Sequence[Row]) -> dict[str, str]:
    runs = {row.dag_run_id for row in found} | {event.dag_run_id for row in found for event in row.events}
    return dags_of_runs(run for run in runs if run)


def _versions_by_networks(found: Sequence[Row]) -> dict[tuple[str, ...], int]:
    """Give the first version of each model, which may have been registered again with other settings."""
    models = [(row.version, find_result(store(), "register_model", row.key or "")) for row in found]
    return {tuple(model.params["networks"]): version for version, model in models if version and model}


def _by_group(row: Row) -> list[Mapping[str, Any]]:
    """Give one row per cell line and plate, then one for all: nuclei, rates of errors, F1 with its intervals, and how
    many of the true labels the model proposed itself.
    """
    if row.scores is None:
        return []
    intervals = row.scores.intervals
    return [
        {
            **errors,
            "f1": {t: intervals.get((group, t)) for t in shown_thresholds()},
            "own_proposals": row.own_proposals(group),
        }
        for errors in row.scores.errors
        for group in [Group(errors["group"], errors["name"])]
    ]
