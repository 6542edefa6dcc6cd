"""What an answer means for a plate: which pixels are annotated, how each label came, and what to tell of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.annotation.comparison import Comparison, Effort, effort
from tasks.annotation.gathering import Gathered
from tasks.annotation.joining import FieldLabels, joined
from tasks.annotation.request import Request
from tasks.annotation.sheet import Sheet
from tasks.annotation.tools import tool_named
from tasks.nuclei.errors import first_of
from tasks.nuclei.patch_grid import Patch
from tasks.nuclei.plates import chosen_patches
from tasks.nuclei.plates.image_files import ANNOTATED, NOT_LOOKED_AT, UNSURE
from tasks.nuclei.plates.origins import COLUMNS, Origin, proposer_of_labels
from tasks.nuclei.random_patches import estimate_of, scores_in


@dataclass(frozen=True)
class AnsweredField:
    """A field of which something came back."""

    fov: str
    sent: NDArray[np.integer]
    """The label image (y, x) as it was sent."""
    gathered: Gathered
    comparison: Comparison
    unchanged: int
    """How many of its images count as looked at though they came back exactly as they were sent, and no tag says it."""
    patches: Mapping[str, Patch]
    """What is to be looked at in the images that came back and count, by their names."""

    @property
    def labels(self) -> FieldLabels:
        kinds = np.where(self.gathered.looked_at, ANNOTATED, NOT_LOOKED_AT).astype(np.uint8)
        kinds[self.gathered.unsure] = UNSURE
        return FieldLabels(self.gathered.label_image, kinds)


@dataclass(frozen=True)
class PlateField:
    """A field as it becomes part of a plate."""

    fov: str
    labels: FieldLabels
    origins: pd.DataFrame
    """Its rows of origins.csv."""


def is_unchanged(sent: Sheet, returned: Sheet) -> bool:
    """Whether the same nuclei came back as were sent to be corrected, by their pixels."""

    def content(sheet: Sheet) -> set[tuple[int, int, bytes, str]]:
        own = (nucleus for nucleus in sheet.nuclei if nucleus.kind != "context")
        return {(nucleus.top, nucleus.left, np.packbits(nucleus.mask).tobytes(), nucleus.kind) for nucleus in own}

    return content(sent) == content(returned)


def origins_of(
    answered: AnsweredField, request: Request, known: pd.DataFrame, taken_over: str | None = None
) -> pd.DataFrame:
    """Give the rows of origins.csv for a field.

    `known` are those of the labels that were sent, where the plate's own were: these keep what they have. `taken_over`
    is the name of these labels where what came back is another label set, to which they were proposals.
    """
    before = {row.label: row for row in known[known["fov"] == answered.fov].itertuples(index=False)}
    rows: list[tuple[Any, ...]] = []
    for label, sent_label, origin in _settled(answered.comparison):
        if sent_label is None:
            rows.append((origin, "", "", label))
        elif request.proposals != "labels":
            rows.append((origin, request.model, request.proposed_by, label))
        elif taken_over is not None:
            rows.append((origin, *_proposer_of(before.get(sent_label), taken_over), label))
        elif (row := before.get(sent_label)) is not None:
            rows.append((row.origin if origin == "accepted" else origin, row.model, row.proposed_by, label))
        elif origin != "accepted":
            rows.append((origin, "", "", label))
        # Of the others nobody knows where they came from, and somebody has looked at them since.
    return pd.DataFrame(rows, columns=["origin", "model", "proposed_by", "label"]).assign(fov=answered.fov)[[*COLUMNS]]


def _proposer_of(row: Any, labels_name: str) -> tuple[str, str]:
    """Give model and proposed_by of a label that was taken over: the model that proposed it, if one did."""
    if row is not None and row.proposed_by:
        return row.model, row.proposed_by
    return f"labels {labels_name}", proposer_of_labels(labels_name)


def with_what_was_annotated(now: PlateField, before: FieldLabels, origins: pd.DataFrame) -> PlateField:
    """Add what the plate has of a field already; `origins` are its rows of origins.csv."""
    result = joined(before, now.labels)
    rows = now.origins[now.origins["label"].isin(result.numbers)]
    rows = rows.assign(label=rows["label"].map(result.numbers))
    return PlateField(now.fov, result.labels, pd.concat([origins[origins["label"].isin(result.kept)], rows]))


def choices_of(answered: AnsweredField, request: Request, key: str) -> pd.DataFrame:
    """Give the rows of chosen_patches.csv for what came back of a field; `key` is that of the request."""
    rows = [
        (answered.fov, *patch, request.choices[name], key)
        for name, patch in answered.patches.items()
        if name in request.choices
    ]
    return pd.DataFrame(rows, columns=list(chosen_patches.COLUMNS))


def _settled(comparison: Comparison) -> Iterator[tuple[int, int | None, Origin]]:
    """Give each label that came back with the one that it was made of, if any, and how."""
    for sent in (*comparison.kept, *comparison.reclassified):
        yield comparison.partner[sent], sent, "accepted"
    for sent in comparison.changed:
        yield comparison.partner[sent], sent, "corrected"
    for sent, parts in comparison.split.items():
        yield from ((part, sent, "corrected") for part in parts)
    for returned, parts in comparison.merged.items():
        yield returned, parts[0], "corrected"
    for returned in comparison.added:
        yield returned, None, "drawn"


def most_edited(fields: Sequence[AnsweredField], number: int) -> list[AnsweredField]:
    """Give so many of the fields in which most was corrected, the first one first."""
    return sorted(fields, key=lambda field: (-field.comparison.edits, field.fov))[:number]


def table_of(fields: Sequence[AnsweredField]) -> pd.DataFrame:
    """Give one row per field: how many nuclei of each kind there are, and the minutes."""
    return pd.DataFrame(
        {"fov": field.fov, **field.comparison.counts(), "minutes": field.gathered.minutes} for field in fields
    )


def remarks_on(
    fields: Sequence[AnsweredField], request: Request, passed_over: AbstractSet[str] = frozenset()
) -> list[str]:
    """Say what was corrected and what it saved, then what a person should know.

    `passed_over` are the names of images that came back and don't count, because nothing says that they were looked at.
    """
    return [
        *_in_short(fields, request),
        *_at_random(fields, request),
        *_passed_over(fields, request, passed_over),
        *_to_look_at(fields, passed_over),
    ]


def _in_short(fields: Sequence[AnsweredField], request: Request) -> Iterator[str]:
    counts = {kind: sum(field.comparison.counts()[kind] for field in fields) for kind in Comparison().counts()}
    nuclei = _nuclei_in(fields)
    shown = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
    yield f"{nuclei} nuclei annotated in {_number(len(fields), 'field')}: {shown or 'there are none'}"
    spent = effort_of(fields, request)
    if spent is None:
        return
    how = "" if spent.is_measured else " if each correction takes as long as drawing a nucleus"
    yield (
        f"the corrections took {_duration(spent.hours)}{how}; by the paper's pace, drawing all by hand takes "
        f"{_duration(spent.hours_by_hand)}: {100 * spent.saved_share:.0f} % saved"
    )


def _nuclei_in(fields: Sequence[AnsweredField]) -> int:
    return sum(field.comparison.nuclei for field in fields)


def effort_of(fields: Sequence[AnsweredField], request: Request) -> Effort | None:
    """Give the time that was spent and saved; None where nothing was proposed, or nothing tells it.

    Where nothing was corrected and no tool recorded the time, somebody looked at all nuclei, for nobody knows how long.
    """
    if request.proposals == "none" or not _nuclei_in(fields):
        return None
    minutes = [field.gathered.minutes for field in fields if field.gathered.minutes is not None]
    if not minutes and not any(field.comparison.edits for field in fields):
        return None
    return effort([field.comparison for field in fields], sum(minutes) if minutes else None)


def _at_random(fields: Sequence[AnsweredField], request: Request) -> Iterator[str]:
    """Say how good the proposals are where patches were drawn at random; of which model isn't said to an annotator."""
    scored = []
    for field in fields:
        patches = [patch for name, patch in field.patches.items() if request.choices.get(name) == "random"]
        if patches:
            labels = field.labels
            scores = scores_in(patches, labels.label_image, field.sent, labels.kinds != ANNOTATED)
            scored.append((len(patches), scores))
    if scored:
        yield (
            f"of what was proposed, {estimate_of('', scored)}, unbiased by the choice of patches; better than against "
            "labels that are no corrections of it"
        )
    elif request.choices:
        yield "no patch that was drawn at random has come back, so how good the proposals are on the whole isn't known"


def _passed_over(fields: Sequence[AnsweredField], request: Request, names: AbstractSet[str]) -> Iterator[str]:
    if names:
        tool, came = tool_named(request.tool), len(names) + sum(len(field.patches) for field in fields)
        yield (
            f"{len(names)} of {_number(came, 'image')} came back exactly as they were sent and without the tag "
            f"{tool.done_tag!r}, so that it isn't known whether anybody looked at them, and are left out of training "
            f"and scores; if they are right, give all images that are done this tag in {tool.title}, and return the "
            "export again"
        )


def _to_look_at(fields: Sequence[AnsweredField], passed_over: AbstractSet[str]) -> Iterator[str]:
    """Say by which rules the answer was understood, where it could be understood otherwise."""
    unchanged, sheets = sum(field.unchanged for field in fields), sum(len(field.patches) for field in fields)
    if unchanged:
        yield (
            f"{unchanged} of {_number(sheets, 'image')} came back exactly as they were sent, and count as accepted; if "
            "nobody looked at them, return the others alone"
        )
    missing = [name for field in fields for name in field.gathered.missing if name not in passed_over]
    if missing:
        yield f"{_number(len(missing), 'image')} didn't come back and are left out of training and scores: " + first_of(
            missing
        )
    unsure = sum(int(field.gathered.unsure.any()) for field in fields)
    if unsure:
        yield f"nuclei that nobody could tell in {_number(unsure, 'field')} are left out of training and scores"
    for name, words in _COUNTED.items():
        number = sum(getattr(field.gathered, name) for field in fields)
        if number:
            yield words.format(number)
    pieces = [f"{label} of {field.fov}" for field in fields for label in field.gathered.in_pieces]
    if pieces:
        yield f"in several pieces, look at them: labels {first_of(pieces)}"


_COUNTED: Mapping[str, str] = {
    "overlapping_px": "{} px of nuclei overlapped; the last drawn has them",
    "covered": "{} nuclei were covered whole by others drawn later, and are gone; look whether they are missing",
    "joined": "{} nuclei were drawn in two images that meet there, and count once",
    "number_twice": "{} nuclei had a number that another one kept; they count as new",
    "strays_px": "{} px that lay apart from their nucleus, as strokes that slipped, were left out",
    "new_context": "{} nuclei were drawn as shown only, and were left out; draw them as nuclei",
}


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def _number(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
