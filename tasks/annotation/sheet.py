"""What an annotator gets and gives back: the nuclei of an image, or of a part of it, whatever the tool."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tasks.nuclei.errors import InputError, first_of
from tasks.nuclei.patch_grid import Patch
from tasks.nuclei.runs import row_runs

Kind = Literal["nucleus", "unsure", "context"]
"""`unsure`: nobody could say. `context`: shown, but to be corrected elsewhere."""

MOST_LABELS = np.iinfo(np.int32).max
_PATCH = re.compile(r"(?P<field>.+)_y(\d+)-(\d+)_x(\d+)-(\d+)", re.DOTALL)


@dataclass(frozen=True, eq=False)
class Nucleus:
    """A nucleus as it was sent or came back."""

    mask: NDArray[np.bool_]
    """(h, w) in its bounding box; each of the four sides has a pixel of it."""
    top: int
    left: int
    """Place of the box in the field, px."""
    kind: Kind = "nucleus"
    sent_id: int | None = None
    """The label that it had when it was sent; None if it was drawn in the tool, or the tool keeps no numbers."""
    author: str | None = None
    minutes: float | None = None
    """Time since the author's correction before, where the tool records times."""

    @property
    def box(self) -> tuple[slice, slice]:
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def area_px(self) -> int:
        return int(np.count_nonzero(self.mask))


@dataclass(frozen=True, eq=False)
class Sheet:
    """An image in a tool with its nuclei, the last drawn at the end. All coordinates are those of the whole field."""

    name: str
    """Of the image's file, without extension."""
    height: int | None
    width: int | None
    """Of the whole field in px; None if the tool's file doesn't say."""
    patch: Patch | None
    """The part that is to be looked at; None for all."""
    nuclei: tuple[Nucleus, ...]
    is_done: bool = False
    """Whether it came back with the tag of images that were looked at, which some tools have."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, which a sheet that is sent has."""
        if self.height is None or self.width is None:
            raise ValueError(f"The sheet {self.name} has no size, which it needs to be sent.")
        return self.height, self.width


def place_of(sheet: Sheet) -> Patch:
    """Give the part of the field that is to be looked at, all of it if there is no patch."""
    return sheet.patch or Patch(0, 0, *sheet.size)


def sheet_name(field: str, patch: Patch | None) -> str:
    """Give the name of the image in a tool. It holds the patch, because a name is what every tool keeps."""
    return field if patch is None else f"{field}_y{patch.y0}-{patch.y1}_x{patch.x0}-{patch.x1}"


def patch_in(name: str) -> Patch | None:
    """Give the patch that the name of a sheet holds; None for a whole field."""
    found = _PATCH.fullmatch(name)
    if found is None:
        return None
    y0, y1, x0, x1 = (int(number) for number in found.groups()[1:])
    return Patch(y0, x0, y1, x1)


def sheet_of(
    name: str,
    label_image: NDArray[np.integer],
    unsure: Sequence[int] = (),
    patch: Patch | None = None,
) -> Sheet:
    """Make a sheet of a (y, x) label image; labels among `unsure` get that kind."""
    nuclei = tuple(
        replace(nucleus, kind="unsure") if nucleus.sent_id in unsure else nucleus for nucleus in nuclei_in(label_image)
    )
    return Sheet(name, label_image.shape[0], label_image.shape[1], patch, nuclei)


def nuclei_in(label_image: NDArray[np.integer], kind: Kind = "nucleus") -> Iterator[Nucleus]:
    """Give the nuclei of a (y, x) label image, ascending by label, which is their `sent_id`."""
    runs = row_runs(label_image)
    of_runs = runs.labels(label_image)
    numbers, positions = np.unique(of_runs, return_inverse=True)
    boxes = runs.boxes(positions, np.arange(len(numbers)))
    for number, (rows, columns) in zip(numbers.tolist(), boxes, strict=True):
        if number:
            mask = label_image[rows, columns] == number
            yield Nucleus(mask, rows.start, columns.start, kind, number)


def label_image_of(nuclei: Iterable[Nucleus], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Paint nuclei one after the other into a (y, x) label image: sent labels are kept, the others numbered after."""
    painted = list(nuclei)
    label_image = np.zeros(shape, np.int32)
    following = 1 + max((nucleus.sent_id or 0 for nucleus in painted), default=0)
    for nucleus in painted:
        number = nucleus.sent_id
        if number is None:
            number, following = following, following + 1
        if number > MOST_LABELS:
            raise InputError(f"A nucleus has the number {number}; allowed are 1 to {MOST_LABELS}.")
        label_image[nucleus.box][nucleus.mask] = number
    return label_image


def cropped(mask: NDArray[Any], top: int, left: int, sheet: tuple[int, int] | None = None) -> Nucleus | None:
    """Make a nucleus of a mask at a place: without what is outside of the image, in its smallest box; None if empty.

    `sheet` is the height and width of the image, if they are known. Raises InputError if all of it is outside.
    """
    mask = mask.astype(np.bool_, copy=False)
    inside = mask[max(-top, 0) :, max(-left, 0) :]
    top, left = max(top, 0), max(left, 0)
    if sheet is not None:
        inside = inside[: max(sheet[0] - top, 0), : max(sheet[1] - left, 0)]
    if not inside.any():
        if mask.any():
            size = f"{sheet[0]} x {sheet[1]} px" if sheet else "it"
            raise InputError(
                f"has a nucleus at row {top} and column {left}, outside of the image of {size}; "
                "look whether it is of another image."
            )
        return None
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    box = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Nucleus(box, top + int(rows[0]), left + int(columns[0]))


def refuse_twice(sheets: Sequence[Sheet], folder: Path) -> None:
    """Raise InputError if two sheets of a folder have one name."""
    names = [sheet.name for sheet in sheets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{folder}: these images are in two files: {first_of(twice)}; leave what was corrected alone.")
