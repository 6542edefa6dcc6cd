"""Add a plate: its files are sent or named, looked at, described in a form, and handed over to the inbox."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, HTTPException, Query, Request
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from fastapi.responses import Response

from nucleus_dags.page.access import Person, refuse_unless_may_start
from nucleus_dags.page.airflow_runs import is_paused
from nucleus_dags.page.file_answers import file_answer
from nucleus_dags.page.inspections import Inspection, inspection, latest_inspection
from nucleus_dags.page.known_plates import known_plates
from nucleus_dags.page.places import inbox, store
from nucleus_dags.page.rendering import page
from nucleus_dags.plates import uploads

IMPORTS, INSPECTS = "ingest_plates", "inspect_plate"
"""The DAGs; who may start both may add plates."""
BLOCK = 2**20
TEXTS = {"channel": "Channel", "z": "Plane", "time": "Time point", "acquisition": "Acquisition", "image": "Image"}
"""What files may have several of, by keys of plate.json."""


def _refuse_others(person: Person) -> None:
    for dag_id in (IMPORTS, INSPECTS):
        refuse_unless_may_start(dag_id, person)


router = APIRouter(prefix="/plates/-", dependencies=[Depends(_refuse_others)])

Text = Annotated[str, Body(embed=True, max_length=1000)]


@router.get("/add")
def show_upload(request: Request) -> Response:
    """Show where files are dropped."""
    return page(
        request, "add_plate", uploads=uploads.all_uploads(inbox()), roots=[str(root) for root in uploads.roots(inbox())]
    )


@router.post("/uploads")
def begin(plate: Text, files: Annotated[list[str], Body(embed=True, max_length=uploads.MOST_FILES)]) -> dict[str, Any]:
    """Begin an upload; gives its id, its folder, and for each file its path in the plate, or null if it isn't taken."""
    paths = uploads.paths_in_plate(files)
    new = uploads.new_upload(inbox(), plate)
    return {"id": new.id, "folder": new.path, "paths": paths}


@router.put("/uploads/{upload}/files")
async def receive(
    request: Request,
    upload: str,
    name: Annotated[str, Query(max_length=1000)],
    content_length: Annotated[int | None, Header()] = None,
) -> None:
    """Receive one file, whatever its size."""
    folder = await run_in_threadpool(uploads.find, inbox(), upload)
    async with contextmanager_in_threadpool(uploads.receiving(folder, name, content_length)) as file:
        block = bytearray()
        async for chunk in request.stream():
            block += chunk
            if len(block) >= BLOCK:
                await run_in_threadpool(file.write, bytes(block))
                block.clear()
        await run_in_threadpool(file.write, bytes(block))


@router.post("/uploads/{upload}/unpack")
def unpack(upload: str, name: Text) -> None:
    """Unpack a ZIP that was received."""
    uploads.unpack(uploads.find(inbox(), upload), name)


@router.post("/uploads/{upload}/take")
def take(upload: str, folder: Text) -> None:
    """Take the files of a folder that the server can see."""
    uploads.take_folder(inbox(), uploads.find(inbox(), upload), folder)


@router.delete("/uploads/{upload}")
def remove(upload: str) -> None:
    uploads.remove(inbox(), upload)


@router.get("/uploads/{upload}")
def show_form(request: Request, person: Person, upload: str, run: str = "") -> Response:
    """Show what was found in the files, and the form."""
    folder = uploads.find(inbox(), upload)
    shown = inspection(folder, store(), run) if run else latest_inspection(folder, store())
    plates = known_plates(store()).values()
    return page(
        request,
        "upload",
        upload=upload,
        folder=f"{upload}/{folder.name}",
        name=folder.name,
        inspection=shown,
        run=run,
        axes=_axes(shown) if shown else {},
        cell_lines=sorted({plate.newest.cell_line for plate in plates}),
        paused=is_paused(IMPORTS),
        inspects_paused=is_paused(INSPECTS),
    )


@router.get("/uploads/{upload}/outcome")
def say_outcome(upload: str, run: str) -> dict[str, bool]:
    """Say whether the plate that a run looked at may be imported, and whether a person should look at something."""
    found = _inspection(upload, run)
    return {"refused": found.is_refused, "needs_a_look": found.needs_a_look}


@router.get("/uploads/{upload}/previews/{file}")
def show_preview(upload: str, file: str, run: str) -> Response:
    return file_answer(_inspection(upload, run).preview(file), media_type="image/png")


@router.post("/uploads/{upload}/import")
def hand_over(upload: str, run: Text) -> dict[str, str]:
    """Hand a plate over to the inbox, as a run has looked at it; gives the name of its folder there."""
    found = _inspection(upload, run)
    if found.is_refused:
        raise HTTPException(422, "The plate would be refused; correct what is wrong with it first.")
    uploads.write_plate_json(uploads.find(inbox(), upload), found.found["values"])
    return {"folder": uploads.hand_over(inbox(), upload, store()).name}


def _inspection(upload: str, run: str) -> Inspection:
    found = inspection(uploads.find(inbox(), upload), store(), run)
    if found is None:
        raise HTTPException(404, "The plate wasn't looked at in this run, or the run failed; check the plate again.")
    return found


def _axes(found: Inspection) -> dict[str, tuple[str, list[dict[str, Any]]]]:
    """Give the title and the values of what the files have several of, by keys of plate.json."""
    axes = found.found["recognised"].get("axes", {})
    return {key: (title, axes[key]) for key, title in TEXTS.items() if len(axes.get(key, [])) > 1}
