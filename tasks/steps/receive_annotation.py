"""Take in labels that an annotator returns: what was corrected, and a plate with the labels, to be imported.

The answer to a request of `send_to_annotation` is a folder, an archive or a file that the tool exported. Images that
came back with an earlier answer to the same request and not with this one count as they were then. The plate holds the
fields that came back and those that the newest imported version of it has besides. Written are plate/, as people put a
plate into the inbox, comparison.csv with a row per field, corrections.html with pictures, and the answer itself.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pydantic
from numpy.typing import NDArray

from tasks.annotation.answer import (
    AnsweredField,
    PlateField,
    choices_of,
    effort_of,
    is_unchanged,
    most_edited,
    origins_of,
    remarks_on,
    table_of,
    with_what_was_annotated,
)
from tasks.annotation.comparison import compare
from tasks.annotation.gathering import gather
from tasks.annotation.joining import FieldLabels
from tasks.annotation.package import open_package, where_files_begin
from tasks.annotation.patches import divide
from tasks.annotation.picture import comparison_figure
from tasks.annotation.request import Request, image_name, read_request
from tasks.annotation.sheet import Sheet, place_of
from tasks.annotation.tool import Tool
from tasks.annotation.tools import tool_named
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, TaskParams, Workspace, read_result
from tasks.files import link_or_copy, sha256_of_all
from tasks.nuclei.copies import Fingerprint
from tasks.nuclei.errors import InputError, first_of
from tasks.nuclei.plates.chosen_patches import read_chosen_patches, write_chosen_patches
from tasks.nuclei.plates.files import Plate, open_plate
from tasks.nuclei.plates.image_files import (
    ANNOTATED,
    read_ignored,
    read_image,
    read_kinds,
    read_numbered,
    write_label_image,
)
from tasks.nuclei.plates.info import PlateInfo
from tasks.nuclei.plates.label_sets import LABEL_SETS
from tasks.nuclei.plates.origins import ORIGINS, read_origins, write_origins
from tasks.nuclei.tables import write_csv
from tasks.steps import pages
from tasks.store.imported_plates import newest_version, report_of
from tasks.store.provenance import plate_at

NAME = "receive_annotation"
ANSWER = "answer"
MOST_PICTURES = 12

log = logging.getLogger("nucleus")


class Params(TaskParams):
    folder: Annotated[str, pydantic.Field(pattern=r"^/")]
    """Absolute path of what the annotation tool exported: a folder, an archive or a file."""
    request: str = pydantic.Field(pattern=r"^[0-9a-f]{16}$")
    """Key of the result of `send_to_annotation` that it is an answer to."""


def depends_on(params: Params, store: Path) -> list[Path | str]:
    """The answer, those before it, and the version of the plate that it is added to."""
    answer = Path(params.folder)
    known = _known_version(params, store)
    earlier = [result.key for result in _earlier_answers(params, store)]
    return [*([answer] if answer.exists() else []), *earlier, known.name if known else ""]


def run(params: Params, workspace: Workspace) -> Outcome:
    folder = _folder_of_request(params, workspace.store)
    request = read_request(folder)
    source = plate_at(request.plate, workspace.store)
    tool = tool_named(request.tool)
    opened = open_package(Path(params.folder), workspace.output_dir / ANSWER)
    tool.refuse_incomplete(opened)
    earlier = _earlier_answers(params, workspace.store)
    returned = _with_earlier(tool.read(opened), earlier, request, workspace)
    by_field = request.by_field(returned)
    answered = list(_answered(by_field, request, folder))
    passed_over = {sheet.name for sheet in returned} - {name for field in answered for name in field.patches}
    if not answered:
        raise InputError(f"{params.folder}: {_why_nothing_counts(bool(passed_over), tool)}")
    version = _known_version(params, workspace.store)
    known = open_plate(version) if version else None
    _write_plate(answered, request, params.request, source, known, workspace.output_dir / "plate")
    table = table_of(answered)
    write_csv(table, workspace.output_dir / "comparison.csv")
    remarks = remarks_on(answered, request, passed_over)
    (workspace.output_dir / "corrections.html").write_text(_page(answered, remarks, request, source))
    for remark in remarks:
        log.info("%s", remark)
    counts = {"fovs": len(answered)} | {name: int(table[name].sum()) for name in table.columns.drop(["fov", "minutes"])}
    spent = effort_of(answered, request)
    values = {
        "remarks": remarks,
        "effort": asdict(spent) if spent else None,
        "earlier": [result.key for result in earlier],
        "sha256": sha256_of_all(Path(params.folder)),
    }
    outputs = {"plate": "plate", "comparison": "comparison.csv", "page": "corrections.html", ANSWER: ANSWER}
    return Outcome(outputs, {}, counts, values=values)


def _why_nothing_counts(came: bool, tool: Tool) -> str:
    if not came:
        return "has no image; return what was corrected."
    return (
        f"none of its images was changed or has the tag {tool.done_tag!r}, so that it isn't known whether anybody "
        f"looked at them. Give those that are right the tag in {tool.title}, and return the export again."
    )


def _folder_of_request(params: Params, store: Path) -> Path:
    folder = store / "send_to_annotation" / params.request
    if not folder.exists():
        raise InputError(
            f"{params.folder}: is an answer to the request {params.request}, which was not sent from this store; "
            "put it into the inbox of the installation that sent it."
        )
    return folder


def _known_version(params: Params, store: Path) -> Path | None:
    """Give the newest imported version of the plate that the answer becomes a part of."""
    return newest_version(read_request(_folder_of_request(params, store)).target, store / "ingest")


def _earlier_answers(params: Params, store: Path) -> list[Result]:
    """Give the results for other answers to the same request, the first one first."""
    answer = Path(params.folder)
    own = sha256_of_all(answer) if answer.exists() else ""
    found = [read_result(path.parent) for path in store.glob(f"{NAME}/[!.]*/result.json")]
    others = [
        result for result in found if result.params["request"] == params.request and result.values["sha256"] != own
    ]
    return sorted(others, key=lambda result: len(result.values["earlier"]))


def _with_earlier(
    sheets: list[Sheet], earlier: Sequence[Result], request: Request, workspace: Workspace
) -> list[Sheet]:
    """Add the images that came back earlier and don't now."""
    by_name: dict[str, Sheet] = {}
    for result in earlier:
        opened = where_files_begin(workspace.input(result.outputs[ANSWER]))
        by_name |= {sheet.name: sheet for sheet in tool_named(request.tool).read(opened)}
    return list((by_name | {sheet.name: sheet for sheet in sheets}).values())


def _answered(by_field: dict[str, list[Sheet]], request: Request, folder: Path) -> Iterator[AnsweredField]:
    """Give the fields of which images were looked at.

    Tools with a tag for that export all images: without it, an image counts only if it was changed.
    """
    has_tag = tool_named(request.tool).done_tag is not None
    for number, (fov, names) in enumerate(request.sheets.items(), start=1):
        if fov not in by_field:
            continue
        sent_labels = read_numbered(folder / "sent" / f"{fov}.tif").as_in_file
        unsure = request.unsure.get(fov, [])
        every = divide(image_name(number, fov, folder.name), sent_labels, unsure, request.nuclei_per_patch)
        sent = {sheet.name: sheet for sheet in every if sheet.name in names}
        # Of these, nothing says that somebody looked at them.
        doubtful = [sheet for sheet in by_field[fov] if not sheet.is_done and is_unchanged(sent[sheet.name], sheet)]
        came = [sheet for sheet in by_field[fov] if not has_tag or sheet not in doubtful]
        if not came:
            continue
        gathered = gather(sent_labels, list(sent.values()), came)
        comparison = compare(sent_labels, gathered.label_image, gathered.looked_at, unsure, gathered.unsure_labels)
        patches = {sheet.name: place_of(sent[sheet.name]) for sheet in came}
        log.info("%s: %d nuclei", fov, comparison.nuclei)
        unchanged = 0 if has_tag else len(doubtful)
        yield AnsweredField(fov, sent_labels, gathered, comparison, unchanged, patches)


def _page(answered: Sequence[AnsweredField], remarks: Sequence[str], request: Request, source: Plate) -> str:
    """Show what was corrected, with pictures of the fields in which it was most."""
    images = {fov.name: fov.image_path for fov in source.fovs}
    pictures = []
    for field in most_edited(answered, MOST_PICTURES):
        title = f"{field.fov}: {field.comparison.edits} of {field.comparison.nuclei} nuclei corrected"
        figure = comparison_figure(
            read_image(images[field.fov]), field.sent, field.gathered.label_image, field.comparison, title
        )
        png = io.BytesIO()
        figure.savefig(png, format="png")
        pictures.append({"source": pages.embedded(png.getvalue()), "caption": title})
    return pages.render(
        "annotation.html.jinja",
        plate=request.target,
        remarks=remarks,
        rows=table_of(answered).drop(columns="minutes").to_dict("records"),
        pictures=pictures,
    )


def _write_plate(
    answered: Sequence[AnsweredField],
    request: Request,
    key: str,
    source: Plate,
    known: Plate | None,
    folder: Path,
) -> None:
    """Write a plate as people put it into the inbox: what came back, and what the known version has besides."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    if known is None:
        info = _info_of_new(source.info, request)
    else:
        _refuse_other(known, source, {field.fov for field in answered}, request)
        info = known.info
    if known is not None and request.label_set not in (None, known.info.name_of_labels):
        _copy_fields(known, set(), folder)
        _write_label_set(answered, request, source, known, folder)
        table, chosen = read_origins(known.folder), read_chosen_patches(known.folder)
    else:
        fields = list(_fields(answered, request, source, known))
        table = pd.concat([field.origins for field in fields])
        chosen = pd.concat([choices_of(field, request, key) for field in answered])
        if known is not None:
            names = {field.fov for field in fields}
            _copy_fields(known, names, folder)
            before = read_origins(known.folder)
            table = pd.concat([before[~before["fov"].isin(names)], table])
            chosen = pd.concat([read_chosen_patches(known.folder), chosen])
        _write_fields(fields, source, folder)
    if len(table):
        write_origins(table, folder)
    if len(chosen):
        write_chosen_patches(chosen, folder)
    annotation = "manual" if (table["origin"] == "drawn").all() else "semi-automatic"
    # What was computed with its images stays so, but where somebody has changed it.
    changed = {"labels_confirmed": False, "annotation": annotation}
    (folder / "plate.json").write_text(info.model_copy(update=changed).model_dump_json(indent=1, exclude_none=True))


def _fields(
    answered: Sequence[AnsweredField], request: Request, source: Plate, known: Plate | None
) -> Iterator[PlateField]:
    """Give the fields that came back, each with what the known version of the plate has of it."""
    of_source = read_origins(source.folder)
    of_known = {fov.name: fov for fov in known.fovs} if known else {}
    before = read_origins(known.folder) if known else of_source
    for field in answered:
        now = PlateField(field.fov, field.labels, origins_of(field, request, of_source))
        fov = of_known.get(field.fov)
        if fov is not None and fov.labels_path is not None:
            labels = read_numbered(fov.labels_path).as_in_file
            kinds = read_kinds(fov.ignored_path) if fov.ignored_path else np.full(labels.shape, ANNOTATED, np.uint8)
            now = with_what_was_annotated(now, FieldLabels(labels, kinds), before[before["fov"] == field.fov])
        yield now


def _info_of_new(source: PlateInfo, request: Request) -> PlateInfo:
    """Describe a plate that hasn't been imported yet. Of each field it has one image, so there is nothing to choose."""
    same = source.model_dump(
        include={"cell_line", "objective", "binning", "pixel_size_um", "wells", "each_name_is_a_field"}
    )
    own = {"name": request.target, "role": request.role, "label_set": request.label_set, "annotation": "manual"}
    return PlateInfo(**same, **own, replicate=source.replicate or request.replicate)


def _refuse_other(known: Plate, source: Plate, answered: set[str], request: Request) -> None:
    """Raise InputError where fields of the source can't be part of the known plate."""
    differing = [
        f"{name} {before!r} and {now!r}"
        for name, before, now in (
            ("role", known.info.role, request.role),
            ("cell_line", known.info.cell_line, source.info.cell_line),
            ("pixel_size_um", known.info.pixel_size_um, source.info.pixel_size_um),
        )
        if before != now
    ]
    pixels, others = (
        {row["fov"]: Fingerprint.of_row(row).values for row in report_of(plate.folder)["fovs"]}
        for plate in (source, known)
    )
    differing += [
        f"it has another image named {fov}"
        for fov in sorted(answered & others.keys())
        if pixels[fov].isdisjoint(others[fov])
    ]
    if differing:
        raise InputError(
            f"The plate {request.target} that this belongs to differs from what was sent: {'; '.join(differing)}. Send "
            "the fields again with another name for the annotated plate."
        )


def _copy_fields(plate: Plate, but: set[str], folder: Path) -> None:
    """Copy the files of the fields of an imported plate, but for some fields."""
    for fov in plate.fovs:
        own = (fov.image_path, fov.labels_path, fov.ignored_path) if fov.name not in but else ()
        # A label set stays whatever becomes of the labels beside it.
        others = [files[fov.name] for files in plate.label_sets.values() if fov.name in files]
        for path in (*own, *others):
            if path is not None:
                _copy_file(path, plate, folder)
    for name in plate.label_sets:
        if (table := plate.folder / LABEL_SETS / name / ORIGINS).exists():
            _copy_file(table, plate, folder)


def _copy_file(path: Path, plate: Plate, folder: Path) -> None:
    copy = folder / path.relative_to(plate.folder)
    copy.parent.mkdir(parents=True, exist_ok=True)
    link_or_copy(path, copy)


def _write_fields(fields: Sequence[PlateField], source: Plate, folder: Path) -> None:
    images = {fov.name: fov.image_path for fov in source.fovs}
    for field in fields:
        link_or_copy(images[field.fov], folder / "images" / images[field.fov].name)
        write_label_image(folder / "labels" / f"{field.fov}.tif", field.labels.label_image)
        if field.labels.kinds.any():
            (folder / "ignored").mkdir(exist_ok=True)
            write_label_image(folder / "ignored" / f"{field.fov}.tif", field.labels.kinds)


def _write_label_set(
    answered: Sequence[AnsweredField], request: Request, source: Plate, known: Plate, folder: Path
) -> None:
    """Write labels with their origins beside those that a plate has, whose copy is in `folder`.

    Raises InputError where these are of more than what came back.
    """
    fovs = {fov.name: fov for fov in known.fovs}
    problems = []
    place = Path(LABEL_SETS, str(request.label_set))
    before, of_source = read_origins(known.folder / place), read_origins(source.folder)
    rows = [before[~before["fov"].isin([field.fov for field in answered])]]
    folder /= place
    folder.mkdir(parents=True, exist_ok=True)
    for field in answered:
        if field.fov not in fovs:
            problems.append(f"{field.fov} has no labels in {known.info.name} to be compared with")
        elif not (field.gathered.looked_at | _ignored(fovs[field.fov].ignored_path, field.gathered.looked_at)).all():
            problems.append(f"{field.fov} came back in part, and {known.info.name} has labels of more of it")
        (folder / f"{field.fov}.tif").unlink(missing_ok=True)  # An earlier answer's.
        write_label_image(folder / f"{field.fov}.tif", field.gathered.label_image)
        rows.append(origins_of(field, request, of_source, source.info.name_of_labels))
    if problems:
        raise InputError(f"Labels of a second name need the same fields whole: {first_of(problems, separator='; ')}.")
    (folder / ORIGINS).unlink(missing_ok=True)
    write_origins(pd.concat(rows), folder)


def _ignored(path: Path | None, like: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return read_ignored(path) if path is not None else np.zeros_like(like)


TASK = Task(
    name=NAME,
    version=4,
    params_type=Params,
    run=run,
    depends_on=depends_on,
    resources=Resources(PROCESSING, cpu=2, memory_gib=4),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
