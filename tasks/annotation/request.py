"""What was sent to annotation: request.json beside it, by which an answer is understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import pydantic

from tasks.annotation.sheet import Sheet
from tasks.nuclei.errors import InputError, first_of
from tasks.nuclei.plates.chosen_patches import Choice

REQUEST_JSON = "request.json"
MOST_BYTES = 100
"""Of a field's name within that of an image: a file name has 255."""


class Request(pydantic.BaseModel):
    """Fields of a plate that were sent to be annotated."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    plate: str
    """Path of the imported plate in the store."""
    tool: str
    target: str
    """Name of the plate that the answer becomes a part of."""
    role: Literal["train", "test"]
    replicate: Literal["biological", "technical"]
    label_set: str | None
    proposals: Literal["segmentations", "labels", "none"]
    model: str
    """What proposed the labels, for people; empty if nothing did. An annotator doesn't get to see it."""
    proposed_by: str
    """The same, as in origins.csv."""
    nuclei_per_patch: int
    sheets: dict[str, list[str]]
    """Names of the images in the tool, by the name of the field."""
    choices: Mapping[str, Choice] = {}
    """How each of these images was chosen; empty where none was, and in requests that were sent long ago."""
    unsure: Mapping[str, list[int]] = {}
    """Labels of nuclei that were sent as ones that nobody could tell, by the name of the field."""

    def by_field(self, sheets: Iterable[Sheet]) -> dict[str, list[Sheet]]:
        """Sort sheets by the field that they are of; InputError for one that wasn't sent."""
        fields = {name: fov for fov, names in self.sheets.items() for name in names}
        found: dict[str, list[Sheet]] = {}
        foreign = []
        for sheet in sheets:
            if sheet.name in fields:
                found.setdefault(fields[sheet.name], []).append(sheet)
            else:
                foreign.append(sheet.name)
        if foreign:
            raise InputError(
                f"These images were not sent with this request: {first_of(foreign)}. Leave them out, or return each to "
                f"its own request; sent were {first_of(list(fields))}. The names of images must stay as they were."
            )
        return found


def image_name(number: int, fov: str, key: str) -> str:
    """Give the name of a field in a tool; `key` is that of the request, by which an answer is known."""
    name = fov.encode()[:MOST_BYTES].decode(errors="ignore")
    return f"{number:03}_{name}_annotation-{key}"


def write_request(request: Request, folder: Path) -> None:
    (folder / REQUEST_JSON).write_text(request.model_dump_json(indent=1))


def read_request(folder: Path) -> Request:
    return Request.model_validate_json((folder / REQUEST_JSON).read_text())
