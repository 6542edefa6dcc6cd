"""Annotate: what people correct in which tool, what came back, the queue of patches, and whether to go on."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Request
from fastapi.responses import Response

from nucleus_dags.manifest import manifest
from nucleus_dags.page.access import Person, refuse_unless_may_start, why_not
from nucleus_dags.page.airflow_runs import is_paused
from nucleus_dags.page.annotations import (
    KINDS,
    Sent,
    advice,
    all_sent,
    find_sent,
    patches_of,
    picture_of,
)
from nucleus_dags.page.file_answers import FOR_EVER, HARMLESS, file_answer
from nucleus_dags.page.places import inbox, store
from nucleus_dags.page.rendering import page
from nucleus_dags.page.store_results import find_result
from nucleus_dags.plates.uploads import hand_over_labels

router = APIRouter(prefix="/annotate")
IMPORTS = "ingest_plates"
"""The DAG that takes in what lies in the inbox; who may start it may return corrections."""
MOST_CHOICES = 2000
"""Names of plates that a field suggests."""


@router.get("")
def show_all(request: Request, person: Person, plate: str = "") -> Response:
    """List what was sent, by plate, with what came back of it."""
    sent = all_sent(store(), inbox())
    curves = advice(store())
    return page(
        request,
        "annotate",
        sent={name: of_plate for name, of_plate in sent.items() if plate in ("", name)},
        plates=list(sent),
        plate=plate,
        curves=curves,
        choices=_names_of_plates(),
        **_starting(person),
    )


@router.post("/returned")
def take_back(person: Person, upload: Annotated[str, Body(embed=True, max_length=100)]) -> dict[str, str]:
    """Hand what a tool exported, and a person has sent, over to the inbox; gives its name there and the request."""
    refuse_unless_may_start(IMPORTS, person)
    entry, request = hand_over_labels(inbox(), upload, store())
    return {"name": entry.name, "request": request}


@router.get("/pictures/{queue}/{rank}.jpg")
def send_picture(person: Person, queue: str, rank: str) -> Response:
    """Send the picture of a patch."""
    return file_answer(picture_of(store(), queue, rank), headers=FOR_EVER)


@router.get("/curves/{key}.png")
def send_curves(person: Person, key: str) -> Response:
    """Send the picture of learning curves."""
    result = find_result(store(), "learning_curves", key)
    return file_answer(result.output("figure") if result else None, headers=FOR_EVER)


@router.get("/corrections/{key}")
def send_corrections(person: Person, key: str) -> Response:
    """Send the page on what was corrected, with pictures."""
    result = find_result(store(), "receive_annotation", key)
    return file_answer(result.output("page") if result else None, headers=FOR_EVER | HARMLESS)


@router.get("/{key}")
def show_sent(request: Request, person: Person, key: str) -> Response:
    """Show what was sent once: its package, how to correct it, what came back, and the queue of patches."""
    sent = _sent(key)
    return page(
        request,
        "annotation",
        sent=sent,
        patches=patches_of(sent),
        **_starting(person),
    )


@router.get("/{key}/package")
def send_package(person: Person, key: str) -> Response:
    """Send the ZIP that the tool opens. It doesn't say which model made the proposals."""
    archive = _sent(key).result.output("archive")
    return file_answer(archive, filename=archive.name if archive else None)


def _sent(key: str) -> Sent:
    sent = find_sent(store(), inbox(), key)
    if sent is None:
        raise HTTPException(404, "Nothing was sent under this address; the page Annotate lists what was.")
    return sent


def _starting(person: Any) -> dict[str, Any]:
    dags = ("send_to_annotation", IMPORTS, "compare_models")
    return {
        "kinds": KINDS,
        "tools": manifest()["annotation_tools"],
        "why_not": {dag_id: why_not(dag_id, person) for dag_id in dags},
        "paused": {dag_id: is_paused(dag_id) for dag_id in dags},
    }


def _names_of_plates() -> list[str]:
    """Give the names of plates that may be sent: those of the store, without the results of single versions."""
    names = {path.name.rpartition("@")[0] for path in store().glob("ingest/[!.]*@*")}
    return sorted(names)[:MOST_CHOICES]
