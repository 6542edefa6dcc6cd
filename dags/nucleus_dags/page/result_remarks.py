"""What a person should know of a segmented plate before its masks are used: of model, label images and plate."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from nucleus_dags.page.damaged import DAMAGED, left_out_if_damaged
from nucleus_dags.page.known_plates import known_plate
from nucleus_dags.page.registered import Registry
from nucleus_dags.page.segmented_plates import Run, SegmentedPlate, part_at, plate_of
from nucleus_dags.page.store_results import RESULT, json_at
from nucleus_dags.planning.remarks import remarks_on, remarks_on_segmentations
from nucleus_dags.planning.usability import MARK, shortcoming

_ITEM, _DETAIL = re.compile(r"- (?:\*\*[^*]+\*\*:? )?(.*)"), re.compile(r" +- (.*)")
"""Lines of a note. Its plate is known where they are shown."""

log = logging.getLogger(__name__)


class Remark(NamedTuple):
    """What a person should know of a result, with single fields or files below."""

    text: str
    details: tuple[str, ...] = ()


def remarks_of(result: SegmentedPlate, run: Run | None, registry: Registry) -> list[Remark]:
    """Say all that a person should know of a result: of its model, its label images, and its plate."""
    remarks = [*_on_model(result, registry), *(_in_note(run) if run else ())]
    try:
        parts: Any = [part_at(part / RESULT) for part in result.parts]
        lines = [*remarks_on_segmentations(parts), *remarks_on([plate_of(result)])]
        remarks += [*_as_remarks(lines), *_on_version(result)]
    except DAMAGED as error:
        log.warning("A part of %s, or its plate, is lost or damaged: %r", result.folder, error)
        remarks.append(Remark("The store has lost a part of this result, or it is damaged."))
    return list(dict.fromkeys(remarks))


def _on_model(result: SegmentedPlate, registry: Registry) -> Iterator[Remark]:
    """Say it if the model is known now to be of no use."""
    version = registry.version(result.version) if result.version else None
    if version and version.key == result.model_key and (wrong := _shortcoming_in(version.tags)):
        yield Remark(f"The model {wrong} of its test plates.")


def _shortcoming_in(tags: Mapping[str, str]) -> str:
    with suppress(ValueError):  # People may change tags in MLflow.
        return shortcoming({"fn_rate/all": float(tags.get("fn_rate/all", 0))}).removeprefix(MARK).strip()
    return ""


def _on_version(result: SegmentedPlate) -> Iterator[Remark]:
    """Say it if the plate was imported anew since."""
    own, known = plate_of(result), known_plate(result.folder.parents[1], result.plate)
    newest = known.newest if known else own
    if newest.path != own.path:
        yield Remark(
            f"It is of an earlier version of the plate, imported on {own.frozen_at[:10]}; the one imported on "
            f"{newest.frozen_at[:10]} counts. Segment the plate again."
        )


def _in_note(run: Run) -> list[Remark]:
    """Say what the note of a run says of the model, and of the plate as an outlier."""
    remarks: list[Remark] = []
    for path in run.receipts.glob("find_model/*.json"):
        with left_out_if_damaged(path):
            warning = json_at(path).get("values", {}).get("warning")
            remarks += [Remark(warning.removeprefix(MARK).strip())] if warning else []
    for path in run.receipts.glob("compare/*.json"):
        with left_out_if_damaged(path):
            warnings = run.receipts.parents[2] / "drift" / json_at(path)["key"] / "warnings.txt"
            found = warnings.read_text().splitlines() if warnings.exists() else []
            remarks += [Remark("It is an outlier among the plates of its cell line:", tuple(found))] if found else []
    return remarks


def _as_remarks(lines: Iterable[str]) -> list[Remark]:
    """Read lines of Markdown: an item for each remark, and below it one for each detail."""
    remarks: list[Remark] = []
    for line in (line.replace("`", "") for line in lines):
        if item := _ITEM.fullmatch(line):
            remarks.append(Remark(item[1]))
        elif detail := _DETAIL.fullmatch(line):
            remarks[-1] = Remark(remarks[-1].text, (*remarks[-1].details, detail[1]))
    return remarks
