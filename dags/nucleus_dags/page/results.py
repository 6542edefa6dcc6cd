"""Results: segmented plates, with their outlines to look at, tables and downloads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from nucleus_dags.launchers.task_operator import mlflow_run_url
from nucleus_dags.manifest import manifest
from nucleus_dags.page import nuclei_tables, pictures, places
from nucleus_dags.page.access import Person
from nucleus_dags.page.damaged import or_damaged
from nucleus_dags.page.file_answers import FOR_EVER, file_answer
from nucleus_dags.page.model_rows import rows
from nucleus_dags.page.model_scores import Group, measured, shown_thresholds
from nucleus_dags.page.registered import Registry, registry
from nucleus_dags.page.rendering import page
from nucleus_dags.page.result_remarks import Remark, remarks_of
from nucleus_dags.page.segmented_plates import (
    Field,
    Run,
    SegmentedPlate,
    doubts_of,
    fields_of,
    info_of,
    plate_of,
    runs_by_key,
    segmented_plate,
    segmented_plates,
)
from nucleus_dags.page.zips import files_below, zipped

router = APIRouter(prefix="/results")

SHOWN_AT_ONCE = 50
ROWS_SHOWN = 10
SAID_ABOVE = ("plate", "model")
"""Columns that are the same in all rows of a result."""
OUTLINE_COLOUR, DOUBTFUL_COLOUR, TRUE_COLOUR = (255, 190, 0), (255, 60, 255), (86, 180, 233)
"""The first two are those of the overview of a plate; all are told apart by the usual kinds of colour blindness."""
# What is drawn and told of them may be improved.
FOR_AN_HOUR = {"Cache-Control": "private, max-age=3600"}
FILES = {
    "nuclei.csv": "text/csv",
    "nuclei.parquet": "application/vnd.apache.parquet",
    "wells.csv": "text/csv",
    "overview.png": "image/png",
    "heat_map.png": "image/png",
}
"""Of a result; what else it has is given as zip."""
PICTURES = {
    "heat_map.png": "Heat maps: nuclei for each field, and median area of the nuclei, well by well",
    "overview.png": "Overview: the middle of some fields, with the outlines of their nuclei",
}


class Listed(NamedTuple):
    """A plate and a model in the list, by their newest result."""

    newest: SegmentedPlate
    older: int
    """How many results of the same plate and model there are besides."""
    run: Run | None
    remarks: Sequence[Remark]


class OnlyScored(NamedTuple):
    """A test plate that was segmented to score a version, of which there are no tables."""

    plate: str
    version: int
    f1: Sequence[float | None]
    """At the shown IoU thresholds."""
    own_proposals: int
    """True labels that the version proposed itself."""


def _known(plate: str, model: str, key: str) -> SegmentedPlate:
    found = segmented_plate(places.store(), key)
    if found is None or (found.plate, found.model) != (plate, model):
        raise HTTPException(404, or_damaged(f"There is no result {key} of the plate {plate} and the model {model}."))
    return found


def _known_field(result: Result, field: str) -> Field:
    found = fields_of(result).get(field)
    if found is None:
        raise HTTPException(404, f"The plate {result.plate} has no field {field}.")
    return found


Result = Annotated[SegmentedPlate, Depends(_known)]
OneField = Annotated[Field, Depends(_known_field)]
Width = Annotated[int, Query(ge=1, le=9)]
Intensity = Annotated[int | None, Query(ge=0, le=65535)]


@router.get("")
def show_results(
    request: Request, person: Person, plate: str = "", number: Annotated[int, Query(alias="page", ge=1)] = 1
) -> Response:
    """List the newest result of each plate and model, the newest first; only of plates whose name has this in it."""
    wanted = plate.strip().casefold()
    every = segmented_plates(places.store())
    groups = [of_one for of_one in _by_address(every) if wanted in of_one[0].plate.casefold()]
    begin = (number - 1) * SHOWN_AT_ONCE
    runs = runs_by_key(places.store())
    models = registry()
    shown = [_listed(of_one, runs, models) for of_one in groups[begin : begin + SHOWN_AT_ONCE]]
    pages = -(-len(groups) // SHOWN_AT_ONCE)
    only_scored = _only_scored(every, wanted, models) if number == 1 else []
    return page(
        request,
        "results",
        shown=shown,
        found=len(groups),
        some=bool(every),
        plate=plate,
        number=number,
        pages=pages,
        problem=models.problem,
        only_scored=only_scored[:SHOWN_AT_ONCE],
        more_scored=len(only_scored[SHOWN_AT_ONCE:]),
        thresholds=shown_thresholds(),
    )


@router.get("/{plate}/{model}")
def show_newest(request: Request, person: Person, plate: str, model: str) -> Response:
    """Show the newest result of a plate and a model."""
    newest = next((one for one in segmented_plates(places.store()) if (one.plate, one.model) == (plate, model)), None)
    if newest is None:
        raise HTTPException(404, or_damaged(f"There is no result of the plate {plate} and the model {model}."))
    return _page_of(request, newest)


@router.get("/{plate}/{model}/{key}")
def show_result(request: Request, person: Person, result: Result) -> Response:
    """Show one result of a plate and a model, which need not be the newest."""
    return _page_of(request, result)


@router.get("/{plate}/{model}/{key}/thumbnail")
def thumbnail(person: Person, result: Result) -> Response:
    """Give a small picture of the first field with its outlines."""

    first = next(iter(fields_of(result).values()), None)
    if first is None:
        raise HTTPException(404, f"The plate {result.plate} has no field.")
    outlines = pictures.Outlines(result.labels / f"{first.name}.tif", OUTLINE_COLOUR, width_px=2)
    return Response(pictures.small_picture(first.image, outlines), media_type="image/png", headers=FOR_EVER)


@router.get("/{plate}/{model}/{key}/fields")
def list_fields(person: Person, result: Result) -> Response:
    """Give all fields with what makes them worth looking at."""
    nuclei, doubts = nuclei_tables.nuclei_by_field(result.folder / "nuclei.csv"), doubts_of(result)
    fields = [
        {
            "name": field.name,
            "well": field.well,
            "site": field.site,
            "nuclei": (of_field := nuclei.get(field.name, nuclei_tables.NO_NUCLEI)).nuclei,
            "doubtful": of_field.doubtful,
            "confidence": of_field.confidence,
            "doubts": doubts.get(field.name, []),
            "hasTruth": field.true_labels is not None,
        }
        for field in fields_of(result).values()
    ]
    return JSONResponse(fields, headers=FOR_AN_HOUR)


@router.get("/{plate}/{model}/{key}/about")
def describe_field(person: Person, field: OneField) -> Response:
    """Give the size of a field in px and its intensities."""
    about = pictures.describe_field(field.image)
    return JSONResponse(
        {
            "height": about.height_px,
            "width": about.width_px,
            "range": about.range,
            "usual": about.usual,
        },
        headers=FOR_EVER,
    )


@router.get("/{plate}/{model}/{key}/image")
def show_image(person: Person, field: OneField, black: Intensity = None, white: Intensity = None) -> Response:
    """Give a field in grey, between two intensities or with the usual contrast."""
    levels = None if black is None or white is None else pictures.Levels(black, white)
    return Response(pictures.field_picture(field.image, levels), media_type="image/jpeg", headers=FOR_EVER)


@router.get("/{plate}/{model}/{key}/outlines")
def show_outlines(person: Person, result: Result, field: OneField, width: Width = 1) -> Response:
    """Give the outlines of the nuclei that were found."""
    nuclei = nuclei_tables.nuclei_in(result.folder / "nuclei.csv", field.name)
    doubtful = [int(nucleus["label"]) for nucleus in nuclei if nuclei_tables.is_doubtful(nucleus)]
    outlines = pictures.Outlines(result.labels / f"{field.name}.tif", OUTLINE_COLOUR, doubtful, DOUBTFUL_COLOUR, width)
    return Response(pictures.outlines_picture(outlines), media_type="image/png", headers=FOR_AN_HOUR)


@router.get("/{plate}/{model}/{key}/truth")
def show_true_outlines(person: Person, field: OneField, width: Width = 1) -> Response:
    """Give the outlines of the labels that the plate came with."""
    if field.true_labels is None:
        raise HTTPException(404, f"The field {field.name} came without labels.")
    outlines = pictures.Outlines(field.true_labels, TRUE_COLOUR, width_px=width)
    return Response(pictures.outlines_picture(outlines), media_type="image/png", headers=FOR_AN_HOUR)


@router.get("/{plate}/{model}/{key}/nucleus")
def show_nucleus(person: Person, result: Result, field: OneField, y: int, x: int) -> Response:
    """Give the row of the table of the nucleus at a pixel; null where there is none."""
    label = str(pictures.label_at(result.labels / f"{field.name}.tif", y, x))
    nuclei = nuclei_tables.nuclei_in(result.folder / "nuclei.csv", field.name)
    found = next((nucleus for nucleus in nuclei if nucleus["label"] == label), None)
    return JSONResponse(found and {**found, "doubtful": nuclei_tables.is_doubtful(found)}, headers=FOR_AN_HOUR)


@router.get("/{plate}/{model}/{key}/masks.zip")
def download_masks(person: Person, result: Result) -> Response:
    """Give all label images, as TIFF."""
    return _as_zip(result.labels, "masks", result, "masks")


@router.get("/{plate}/{model}/{key}/ome-zarr.zip")
def download_ome_zarr(person: Person, result: Result) -> Response:
    """Give images and label images as an OME-Zarr plate."""
    folder = result.output("ome_zarr")
    if folder is None:
        raise HTTPException(
            404, "This result has no OME-Zarr; start segment_plate again with the field OME-Zarr ticked."
        )
    return _as_zip(folder, f"{result.plate}.ome.zarr", result, "ome-zarr")


@router.get("/{plate}/{model}/{key}/{name}")
def give_file(person: Person, result: Result, name: str) -> Response:
    """Give a table, to be saved, or a picture."""
    if name not in FILES:
        raise HTTPException(404, f"There is no file {name} in this result.")
    saved_as = None if name.endswith(".png") else f"{_file_name(result)}_{name}"
    return file_answer(result.folder / name, media_type=FILES[name], filename=saved_as, headers=FOR_EVER)


def _by_address(results: Iterable[SegmentedPlate]) -> list[list[SegmentedPlate]]:
    """Take results, the newest first, apart by plate and model, in the order of the newest of each."""
    groups: dict[str, list[SegmentedPlate]] = {}
    for result in results:
        groups.setdefault(result.address, []).append(result)
    return list(groups.values())


def _listed(of_one: Sequence[SegmentedPlate], runs: dict[str, Run], models: Registry) -> Listed:
    newest, run = of_one[0], runs.get(of_one[0].key)
    return Listed(newest, len(of_one) - 1, run, remarks_of(newest, run, models))


def _only_scored(every: Iterable[SegmentedPlate], wanted: str, models: Registry) -> list[OnlyScored]:
    """Give what has no result, the newest version first."""
    done = {(one.plate, one.version) for one in every}
    return [
        OnlyScored(plate, row.version, [row.f1(group, at) for at in shown_thresholds()], row.own_proposals(group))
        for row in rows(models, places.store(), measured(places.store()))
        if row.version and row.scores
        for plate in row.scores.plate_names
        for group in [Group("plate", plate)]
        if wanted in plate.casefold() and (plate, row.version) not in done
    ]


def _page_of(request: Request, result: SegmentedPlate) -> Response:
    run = runs_by_key(places.store()).get(result.key)
    versions = [one for one in segmented_plates(places.store()) if one.address == result.address]
    models = registry()
    return page(
        request,
        "result",
        result=result,
        newest=versions[0],
        versions=versions,
        run=run,
        mlflow_url=mlflow_run_url(run.mlflow_run_id) if run else "",
        remarks=remarks_of(result, run, models),
        problem=models.problem if result.version else "",
        stored=plate_of(result),
        info=info_of(result),
        pictures={name: title for name, title in PICTURES.items() if (result.folder / name).exists()},
        has_truth=any(field.true_labels for field in fields_of(result).values()),
        nuclei=nuclei_tables.first_rows(result.folder / "nuclei.csv", ROWS_SHOWN, SAID_ABOVE),
        wells=nuclei_tables.first_rows(result.folder / "wells.csv", ROWS_SHOWN, SAID_ABOVE),
        doubtful_below=manifest()["doubtful_below"],
        colours={"outline": _css(OUTLINE_COLOUR), "doubtful": _css(DOUBTFUL_COLOUR), "true": _css(TRUE_COLOUR)},
    )


def _css(colour: pictures.Colour) -> str:
    return f"#{bytes(colour).hex()}"


def _as_zip(folder: Path, name: str, result: SegmentedPlate, what: str) -> Response:
    """Give a folder under a name; raises OSError if it is gone, before anything is sent."""
    folder.stat()
    files = files_below(folder, name)
    disposition = f'attachment; filename="{_file_name(result)}_{what}.zip"'
    return StreamingResponse(zipped(files), media_type="application/zip", headers={"Content-Disposition": disposition})


def _file_name(result: SegmentedPlate) -> str:
    """Give the beginning of the names of what is saved; plates and models have names of letters, digits, . _ and -."""
    return f"{result.plate}_{result.model}"
