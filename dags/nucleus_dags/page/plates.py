"""Plates: what there is and how well it is understood, what is on its way, and what was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, HTTPException, Request
from fastapi import Path as InAddress
from fastapi.responses import Response

from nucleus_dags.launchers.task_operator import mlflow_run_url
from nucleus_dags.page import arrivals
from nucleus_dags.page.access import Person, why_not
from nucleus_dags.page.airflow_runs import is_paused
from nucleus_dags.page.annotations import KINDS, annotated
from nucleus_dags.page.damaged import or_damaged
from nucleus_dags.page.file_answers import FOR_EVER, HARMLESS, file_answer
from nucleus_dags.page.known_plates import (
    KnownPlate,
    details_of,
    known_plate,
    known_plates,
    retired_in_words,
    version_folder,
)
from nucleus_dags.page.model_scores import shown_thresholds
from nucleus_dags.page.pictures import thumbnail
from nucleus_dags.page.places import inbox, store
from nucleus_dags.page.plate_runs import runs_on
from nucleus_dags.page.plate_scores import PlateScore, drifts, scores_of
from nucleus_dags.page.registered import Version, registry
from nucleus_dags.page.rendering import page
from nucleus_dags.page.segmented_plates import SegmentedPlate, segmented_plates
from nucleus_dags.planning.remarks import FOLLOWS_FROM_DOUBTS
from nucleus_dags.planning.retire_plate import BRING_BACK, RETIRE
from nucleus_dags.plates.stored import StoredPlate

router = APIRouter(prefix="/plates")

ROLES = {"train": "Training", "test": "Test", "screen": "Screening"}
FACTS = {
    "objective": "Objective",
    "binning": "Binning",
    "pixel_size_um": "Pixel size, µm",
    "replicate": "Replicate",
    "annotation": "Annotation",
    "label_set": "Labels by",
    "channel": "Channel",
    "z": "Plane",
    "time": "Time point",
    "acquisition": "Acquisition",
    "wells": "Wells of the plate",
}
"""Keys of plate.json and what they are called."""
MOST_FIELDS = 500
"""Rows of the table of fields."""

Name = Annotated[str, InAddress(max_length=200)]


@router.get("")
def show_plates(request: Request, person: Person, role: str = "") -> Response:
    """List all plates, each in its newest version."""
    known = known_plates(store())
    shown = [plate for plate in known.values() if role in ("", plate.newest.role)]
    models = registry()
    return page(
        request,
        "plates",
        plates=shown,
        role=role,
        roles=ROLES,
        counts=Counter(plate.newest.role for plate in known.values()),
        registry=models,
        champion=models.champion,
        retired=retired_in_words(store()),
        scores=_scores(models.champion, [plate.newest for plate in shown]),
        drifts=drifts(store()),
        segmented=_segmented(),
        thresholds=shown_thresholds(),
        why_not=why_not("ingest_plates", person),
        paused=is_paused("ingest_plates"),
    )


@router.get("/-/inbox")
def show_inbox(request: Request, person: Person) -> Response:
    """Give a part of the list: to look through large folders takes a while."""
    return page(
        request,
        "plates_inbox",
        waiting=arrivals.waiting(inbox(), store()),
        rejected=arrivals.rejected(inbox(), store()),
    )


@router.get("/{name}")
def show_plate(request: Request, person: Person, name: Name) -> Response:
    """Show a plate in the version that counts."""
    plate = _plate(name)
    return _page_of(request, person, plate, plate.newest)


@router.get("/{name}/{digest}")
def show_version(request: Request, person: Person, name: Name, digest: Name) -> Response:
    """Show a plate in any version."""
    plate = _plate(name)
    return _page_of(request, person, plate, _version(plate, digest))


@router.get("/{name}/{digest}/picture")
def show_picture(person: Person, name: Name, digest: Name) -> Response:
    """Show the middle of the first field."""
    return Response(thumbnail(_folder(name, digest)), media_type="image/png", headers=FOR_EVER)


@router.get("/{name}/{digest}/drift")
def show_drift(person: Person, name: Name, digest: Name) -> Response:
    """Show the page on which a task compares a plate with the training plates of its cell line."""
    drift = drifts(store()).get(f"ingest/{_folder(name, digest).name}")
    if drift is None:
        raise HTTPException(404, f"{name} wasn't compared with other plates.")
    return file_answer(drift.page, media_type="text/html", headers=HARMLESS)


def _segmented() -> dict[str, SegmentedPlate]:
    """Give the last segmentation of each version of a plate, by its path in the store."""
    return {f"ingest/{one.plate_folder.name}": one for one in reversed(segmented_plates(store()))}


def _plate(name: str) -> KnownPlate:
    plate = known_plate(store(), name)
    if plate is None:
        raise HTTPException(404, or_damaged(f"There is no plate {name} in the store; look whether it is in the inbox."))
    return plate


def _folder(name: str, digest: str) -> Path:
    folder = version_folder(store(), name, digest)
    if folder is None:
        raise HTTPException(404, f"There is no version {digest} of a plate {name} in the store.")
    return folder


def _version(plate: KnownPlate, digest: str) -> StoredPlate:
    for version in plate.versions:
        if version.digest == digest:
            return version
    raise HTTPException(404, f"{plate.newest.name} has no version {digest}.")


def _scores(model: Version | None, plates: Iterable[StoredPlate]) -> dict[str, PlateScore]:
    """Give how well a model does on those of these plates that it was scored on, by their paths in the store."""
    known = scores_of(model, store())
    return {plate.path: known[plate.path] for plate in plates if plate.path in known}


def _page_of(request: Request, person: BaseUser, plate: KnownPlate, version: StoredPlate) -> Response:
    info, report = details_of(store(), version)
    keys = [Path(one.path).name for one in plate.versions]
    models = registry()
    return page(
        request,
        "plate",
        plate=plate,
        version=version,
        roles=ROLES,
        facts={title: info[key] for key, title in FACTS.items() if info.get(key) is not None},
        report=report,
        fields=report.get("fovs", [])[:MOST_FIELDS],
        wells=len({row["well"] for row in report.get("fovs", []) if row.get("well")}),
        retired=retired_in_words(store()).get(version.name, ""),
        changes={"retire": RETIRE, "bring_back": BRING_BACK},
        why_not=why_not("retire_plate", person),
        paused=is_paused("retire_plate"),
        follows=FOLLOWS_FROM_DOUBTS.get(version.role, ""),
        registry=models,
        champion=models.champion,
        scores=_scores(models.champion, plate.versions),
        drifts=drifts(store()),
        segmented=_segmented(),
        annotated=annotated(store(), version.name),
        kinds=KINDS,
        trained={key: [model for model in models.versions if key in model.plates] for key in keys},
        runs=runs_on([version.name, *keys]),
        mlflow_run_url=mlflow_run_url,
        thresholds=shown_thresholds(),
    )
