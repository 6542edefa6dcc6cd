"""From the sheets of a field that came back to one label image.

Rules, each counted:

- Only sheets that came back count as looked at. Nuclei of the others stay as they were sent and aren't looked at.
- A number that was sent stays with the nucleus that lies where it was (IoU of 0.1 at least). If two have it, as after a
  split, the one that covers more of it keeps it. A nucleus without a number that has an IoU of 0.5 with one that was
  sent is that one.
- A nucleus that two sheets hold (IoU 0.5), as at the edge of a patch, is one: the one with a number that was sent
  counts, of two new ones the larger.
- Where nuclei overlap, the last drawn has the pixels. One that has none left is named.
- A nucleus in several pieces stays one and is named. Pieces under a twentieth of it are strays and left out, unless
  they were sent so.
- What is drawn anew among nuclei that are only shown is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tasks.annotation.sheet import Nucleus, Sheet, cropped
from tasks.nuclei.errors import InputError, first_of
from tasks.nuclei.runs import row_runs
from tasks.nuclei.scoring import SPLIT_MERGE_IOU

SAME_IOU = 0.5
STRAY_SHARE = 0.05
SEEN_AROUND_PX = 4
"""Who draws an outline sees that much around it; without it, nuclei at the edge of a patch would count as cut."""


@dataclass(frozen=True)
class Gathered:
    """What an annotator says of a field; arrays are (y, x)."""

    label_image: NDArray[np.int32]
    """Labels that were sent keep their numbers, new ones have those after the highest."""
    unsure: NDArray[np.bool_]
    """Pixels of nuclei of which nobody can say."""
    unsure_labels: frozenset[int]
    looked_at: NDArray[np.bool_]
    """What came back: patches, and each nucleus that was to be corrected there with what is around it."""
    authors: Mapping[int, str]
    """By label, where the tool says who drew or corrected it."""
    minutes: float | None
    """Of all nuclei together; None if the tool records no times."""
    missing: tuple[str, ...]
    """Sheets that were sent and didn't come back."""
    overlapping_px: int
    covered: int
    """Nuclei that others cover whole, so that they are gone."""
    joined: int
    """Nuclei that two sheets hold."""
    recognised: int
    """Nuclei that came back without their number, and are known by their place."""
    number_twice: int
    """Nuclei whose number another one kept, or that lie elsewhere than what was sent with it."""
    strays_px: int
    in_pieces: tuple[int, ...]
    """Labels that were drawn in several pieces."""
    new_context: int


@dataclass(frozen=True, eq=False)
class _Drawn:
    nucleus: Nucleus
    sheet: int


def gather(sent_labels: NDArray[np.integer], sent: Sequence[Sheet], returned: Sequence[Sheet]) -> Gathered:
    """Make one label image of the sheets of a field that came back.

    `sent_labels` is the (y, x) label image that was sent, `sent` the sheets that were made of it (`divide` makes the
    same again). Raises InputError for a sheet that wasn't sent or is of another size, and if none came.
    """
    came = _in_order(sent_labels.shape, sent, returned)
    counts: Counter[str] = Counter()
    drawn = list(_drawn(came, sent, counts))
    drawn = _with_one_number_each(drawn, sent_labels, counts)
    drawn = _joined(drawn, counts)
    drawn = _recognised(drawn, sent_labels, counts)
    drawn = [_without_strays(each, sent_labels, counts) for each in drawn]
    drawn = _numbered(drawn, int(sent_labels.max(initial=0)) + 1)
    label_image = _kept(sent_labels, came, sent, drawn)
    is_kept = label_image > 0
    _paint(drawn, label_image, counts)
    names = {sheet.name for sheet in came}
    by_number = {each.nucleus.sent_id: each.nucleus for each in drawn if each.nucleus.sent_id is not None}
    there = {number: nucleus for number, nucleus in by_number.items() if _is_there(number, nucleus, label_image)}
    unsure = frozenset(number for number, nucleus in there.items() if nucleus.kind == "unsure")
    minutes = [each.nucleus.minutes for each in drawn if each.nucleus.minutes is not None]
    return Gathered(
        label_image=label_image,
        unsure=np.isin(label_image, list(unsure)),
        unsure_labels=unsure,
        looked_at=_looked_at(came, label_image, is_kept, there),
        authors={number: nucleus.author for number, nucleus in there.items() if nucleus.author},
        minutes=sum(minutes) if minutes else None,
        missing=tuple(sheet.name for sheet in sent if sheet.name not in names),
        covered=len(by_number) - len(there),
        in_pieces=tuple(_in_pieces(there, label_image, sent_labels)),
        **{name: counts[name] for name in _COUNTED},
    )


_COUNTED = ("overlapping_px", "joined", "recognised", "number_twice", "strays_px", "new_context")


def _in_order(shape: tuple[int, ...], sent: Sequence[Sheet], returned: Sequence[Sheet]) -> list[Sheet]:
    """Give the sheets that came back in the order in which they were sent."""
    places = {sheet.name: place for place, sheet in enumerate(sent)}
    foreign = [sheet.name for sheet in returned if sheet.name not in places]
    if foreign:
        raise InputError(
            f"These images were not sent: {first_of(foreign)}; sent were {first_of(list(places))}. Leave them out, or "
            "return them to the plate that they are of. Names of images must stay as they were."
        )
    if len({sheet.name for sheet in returned}) < len(returned):
        raise ValueError("A sheet is there twice; `Tool.read` refuses that.")
    if not returned:
        raise InputError(f"No image came back; sent were {first_of(list(places))}.")
    for sheet in returned:
        size = (sheet.height or shape[0], sheet.width or shape[1])
        boxes = [nucleus.box for nucleus in sheet.nuclei]
        is_outside = any(rows.stop > shape[0] or columns.stop > shape[1] for rows, columns in boxes)
        if size != shape or is_outside:
            raise InputError(
                f"{sheet.name}: came back with {'nuclei outside of its' if size == shape else f'{size[0]} x {size[1]}'}"
                f" px, and the field has {shape[0]} x {shape[1]}; look whether it is the same image, at full size."
            )
    # Where a field's own name looks like that of a patch, the sheet that was sent knows better.
    patches = {sheet.name: sheet.patch for sheet in sent}
    in_order = sorted(returned, key=lambda sheet: places[sheet.name])
    return [replace(sheet, patch=patches[sheet.name]) for sheet in in_order]


def _own_ids(sheet: Sheet) -> set[int]:
    """Give the numbers of the nuclei that were to be corrected in a sheet that was sent."""
    return {each.sent_id for each in sheet.nuclei if each.kind != "context" and each.sent_id is not None}


def _drawn(came: Sequence[Sheet], sent: Sequence[Sheet], counts: Counter[str]) -> Iterator[_Drawn]:
    """Give the nuclei that count. One of the sheet's own that was marked as shown only counts all the same."""
    own = {sheet.name: _own_ids(sheet) for sheet in sent}
    for number, sheet in enumerate(came):
        for nucleus in sheet.nuclei:
            if nucleus.kind != "context":
                yield _Drawn(nucleus, number)
            elif nucleus.sent_id in own[sheet.name]:
                yield _Drawn(replace(nucleus, kind="nucleus"), number)
            elif nucleus.sent_id is None:
                counts["new_context"] += 1


def _without_strays(drawn: _Drawn, sent_labels: NDArray[np.integer], counts: Counter[str]) -> _Drawn:
    nucleus = drawn.nucleus
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(nucleus.mask.astype(np.uint8), connectivity=8)
    if count <= 2 or _is_as_sent(nucleus, sent_labels):
        return drawn
    is_stray = stats[:, cv2.CC_STAT_AREA] < STRAY_SHARE * nucleus.area_px
    is_stray[0] = False
    rest = cropped(nucleus.mask & ~is_stray[pieces], nucleus.top, nucleus.left)
    assert rest is not None
    counts["strays_px"] += int(stats[is_stray, cv2.CC_STAT_AREA].sum())
    return replace(drawn, nucleus=replace(nucleus, mask=rest.mask, top=rest.top, left=rest.left))


def _is_as_sent(nucleus: Nucleus, sent_labels: NDArray[np.integer]) -> bool:
    """Whether nothing in a nucleus's box differs from what was sent."""
    return nucleus.sent_id is not None and np.array_equal(sent_labels[nucleus.box] == nucleus.sent_id, nucleus.mask)


def _with_one_number_each(
    drawn: Sequence[_Drawn], sent_labels: NDArray[np.integer], counts: Counter[str]
) -> list[_Drawn]:
    areas = _areas(sent_labels)
    overlaps = [_overlap(each.nucleus, sent_labels, areas) for each in drawn]
    best: dict[int, int] = {}
    for position in sorted(range(len(drawn)), key=lambda place: -overlaps[place].shared_px):
        number = drawn[position].nucleus.sent_id
        if number is not None and overlaps[position].iou >= SPLIT_MERGE_IOU:
            best.setdefault(number, position)
    settled = []
    for position, each in enumerate(drawn):
        number = each.nucleus.sent_id
        if number is not None and best.get(number) != position:
            # A number that wasn't sent is one that the tool gave to a new nucleus.
            counts["number_twice"] += areas(number) > 0
            each = replace(each, nucleus=replace(each.nucleus, sent_id=None))
        settled.append(each)
    return settled


class _Overlap(NamedTuple):
    """What a nucleus has in common with the one that was sent with its number."""

    shared_px: int
    iou: float


def _overlap(nucleus: Nucleus, sent_labels: NDArray[np.integer], areas: Callable[[int], int]) -> _Overlap:
    if nucleus.sent_id is None:
        return _Overlap(0, 0.0)
    shared = int(np.count_nonzero(sent_labels[nucleus.box][nucleus.mask] == nucleus.sent_id))
    return _Overlap(shared, shared / (areas(nucleus.sent_id) + nucleus.area_px - shared))


def _areas(label_image: NDArray[np.integer]) -> Callable[[int], int]:
    """Give what tells the area of a label, 0 for one that isn't there."""
    runs = row_runs(label_image)
    numbers, positions = np.unique(runs.labels(label_image), return_inverse=True)
    areas = np.bincount(positions, weights=runs.length_px).astype(np.int64)
    known = dict(zip(numbers.tolist(), areas.tolist(), strict=True))
    return lambda number: known.get(number, 0)


def _joined(drawn: Sequence[_Drawn], counts: Counter[str]) -> list[_Drawn]:
    """Leave out of two nuclei that are one, in different sheets, the one without a number, or else the smaller."""
    boxes = np.array([_sides(each.nucleus) for each in drawn]).reshape(-1, 4)
    dropped: set[int] = set()
    for position, each in enumerate(drawn):
        if each.nucleus.sent_id is not None:
            continue
        y0, x0, y1, x1 = boxes[position]
        near = (boxes[:, 0] < y1) & (boxes[:, 2] > y0) & (boxes[:, 1] < x1) & (boxes[:, 3] > x0)
        for other in np.flatnonzero(near).tolist():
            of_other = drawn[other]
            if of_other.sheet == each.sheet or other in dropped or iou(each.nucleus, of_other.nucleus) < SAME_IOU:
                continue
            is_first = of_other.nucleus.sent_id is not None or of_other.nucleus.area_px >= each.nucleus.area_px
            dropped.add(position if is_first else other)
            counts["joined"] += 1
            if is_first:
                break
    return [each for position, each in enumerate(drawn) if position not in dropped]


def _sides(nucleus: Nucleus) -> tuple[int, int, int, int]:
    rows, columns = nucleus.box
    return rows.start, columns.start, rows.stop, columns.stop


def iou(one: Nucleus, other: Nucleus) -> float:
    """Give the IoU of two nuclei of a field."""
    (y0, x0, y1, x1), (top, left, bottom, right) = _sides(one), _sides(other)
    rows, columns = slice(max(y0, top), min(y1, bottom)), slice(max(x0, left), min(x1, right))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return 0.0
    parts = [
        nucleus.mask[
            rows.start - nucleus.top : rows.stop - nucleus.top,
            columns.start - nucleus.left : columns.stop - nucleus.left,
        ]
        for nucleus in (one, other)
    ]
    shared = int(np.count_nonzero(parts[0] & parts[1]))
    return shared / (one.area_px + other.area_px - shared)


def _recognised(drawn: Sequence[_Drawn], sent_labels: NDArray[np.integer], counts: Counter[str]) -> list[_Drawn]:
    taken = {each.nucleus.sent_id for each in drawn}
    areas = _areas(sent_labels)
    found = []
    for each in drawn:
        number = None if each.nucleus.sent_id is not None else _place_of(each.nucleus, sent_labels, areas)
        if number is not None and number not in taken:
            taken.add(number)
            counts["recognised"] += 1
            each = replace(each, nucleus=replace(each.nucleus, sent_id=number))
        found.append(each)
    return found


def _place_of(nucleus: Nucleus, sent_labels: NDArray[np.integer], area_of: Callable[[int], int]) -> int | None:
    """Give the number that was sent for what lies in the same place, by IoU."""
    numbers, shared = np.unique(sent_labels[nucleus.box][nucleus.mask], return_counts=True)
    for number, pixels in zip(numbers.tolist(), shared.tolist(), strict=True):
        if number and pixels / (area_of(number) + nucleus.area_px - pixels) >= SAME_IOU:
            return int(number)
    return None


def _numbered(drawn: Sequence[_Drawn], following: int) -> list[_Drawn]:
    numbered = []
    for each in drawn:
        if each.nucleus.sent_id is None:
            each = replace(each, nucleus=replace(each.nucleus, sent_id=following))
            following += 1
        numbered.append(each)
    return numbered


def _kept(
    sent_labels: NDArray[np.integer], came: Sequence[Sheet], sent: Sequence[Sheet], drawn: Sequence[_Drawn]
) -> NDArray[np.int32]:
    """Give the nuclei that weren't to be corrected in what came back, and weren't."""
    names = {sheet.name for sheet in came}
    corrected = {number for sheet in sent if sheet.name in names for number in _own_ids(sheet)}
    corrected |= {each.nucleus.sent_id for each in drawn if each.nucleus.sent_id is not None}
    return np.where(np.isin(sent_labels, list(corrected)), 0, sent_labels).astype(np.int32)


def _paint(drawn: Sequence[_Drawn], label_image: NDArray[np.int32], counts: Counter[str]) -> None:
    for each in drawn:
        box = label_image[each.nucleus.box]
        counts["overlapping_px"] += int(np.count_nonzero(box[each.nucleus.mask]))
        assert each.nucleus.sent_id is not None
        box[each.nucleus.mask] = each.nucleus.sent_id


def _is_there(number: int, nucleus: Nucleus, label_image: NDArray[np.int32]) -> bool:
    return bool((label_image[nucleus.box] == number).any())


def _looked_at(
    came: Sequence[Sheet],
    label_image: NDArray[np.int32],
    is_kept: NDArray[np.bool_],
    there: Mapping[int, Nucleus],
) -> NDArray[np.bool_]:
    looked_at = np.zeros(label_image.shape, np.bool_)
    for sheet in came:
        looked_at[sheet.patch.slices if sheet.patch is not None else ...] = True
    looked_at[is_kept] = False
    drawn = np.isin(label_image, list(there)).astype(np.uint8)
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * SEEN_AROUND_PX + 1,) * 2)
    seen: NDArray[np.bool_] = cv2.dilate(drawn, around) > 0
    return looked_at | (seen & ~is_kept)


def _in_pieces(
    there: Mapping[int, Nucleus], label_image: NDArray[np.int32], sent_labels: NDArray[np.integer]
) -> Iterator[int]:
    for number, nucleus in sorted(there.items()):
        left = label_image[nucleus.box] == number
        is_as_sent = np.array_equal(sent_labels[nucleus.box] == number, left)
        if not is_as_sent and cv2.connectedComponents(left.astype(np.uint8), connectivity=8)[0] > 2:
            yield number
