"""The rules by which sheets that came back become one label image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.annotation.gathering import gather
from tasks.annotation.patches import divide
from tasks.annotation.sheet import Nucleus, Sheet, patch_in, sheet_of
from tasks.nuclei.errors import InputError


def box(y0: int, x0: int, y1: int, x1: int, number: int | None = None, **rest: object) -> Nucleus:
    return Nucleus(np.ones((y1 - y0, x1 - x0), np.bool_), y0, x0, sent_id=number, **rest)  # type: ignore[arg-type]


def field(*nuclei: Nucleus) -> NDArray[np.int32]:
    label_image = np.zeros((60, 80), np.int32)
    for nucleus in nuclei:
        label_image[nucleus.box][nucleus.mask] = nucleus.sent_id or 0
    return label_image


A, B = box(5, 5, 15, 15, 3), box(5, 30, 15, 40, 8)
SENT_LABELS = field(A, B)
SENT = [sheet_of("B07_1", SENT_LABELS)]


def returned(nuclei: Iterable[Nucleus], name: str = "B07_1") -> Sheet:
    return replace(SENT[0], name=name, nuclei=tuple(nuclei))


def test_what_came_back_as_it_was_is_what_was_sent() -> None:
    gathered = gather(SENT_LABELS, SENT, SENT)
    assert np.array_equal(gathered.label_image, SENT_LABELS)
    assert gathered.label_image.dtype == np.int32
    assert gathered.looked_at.all()
    assert not gathered.unsure.any()
    assert gathered.minutes is None


def test_numbers_that_were_sent_are_kept_and_new_nuclei_are_numbered_after() -> None:
    gathered = gather(SENT_LABELS, SENT, [returned([box(40, 40, 50, 50), box(5, 5, 15, 13, 3), box(40, 5, 50, 12)])])
    # 8 was deleted, and its number isn't given again.
    assert np.array_equal(
        gathered.label_image, field(box(5, 5, 15, 13, 3), box(40, 40, 50, 50, 9), box(40, 5, 50, 12, 10))
    )


def test_the_last_drawn_has_the_pixels_where_nuclei_overlap_and_they_are_counted() -> None:
    over = box(10, 10, 20, 20)
    gathered = gather(SENT_LABELS, SENT, [returned([A, B, over])])
    assert (gathered.label_image[10:15, 10:15] == 9).all()
    assert (gathered.overlapping_px, gathered.covered) == (25, 0)


def test_a_nucleus_that_others_cover_whole_is_counted() -> None:
    gathered = gather(SENT_LABELS, SENT, [returned([A, B, box(0, 0, 20, 20)])])
    assert sorted(np.unique(gathered.label_image)) == [0, 8, 9]
    assert gathered.covered == 1


def test_of_two_with_one_number_the_one_that_covers_more_of_the_nucleus_keeps_it() -> None:
    gathered = gather(SENT_LABELS, SENT, [returned([box(5, 5, 15, 8, 3), box(5, 9, 15, 15, 3), B])])
    assert np.array_equal(gathered.label_image, field(box(5, 5, 15, 8, 9), box(5, 9, 15, 15, 3), B))
    assert gathered.number_twice == 1


def test_a_number_that_lies_elsewhere_than_what_was_sent_is_a_new_nucleus() -> None:
    gathered = gather(SENT_LABELS, SENT, [returned([A, box(40, 40, 50, 50, 8)])])
    assert np.array_equal(gathered.label_image, field(A, box(40, 40, 50, 50, 9)))
    assert gathered.number_twice == 1


@pytest.mark.parametrize(("width", "number"), [(1, 8), (2, 9)])
def test_a_number_stays_down_to_an_iou_of_a_tenth(width: int, number: int) -> None:
    # 10 of 10 x width + 100 - 10 pixels are the same; the comparison has the same bound.
    moved = box(5, 39, 15, 39 + width, 8)
    gathered = gather(SENT_LABELS, SENT, [returned([A, moved])])
    iou = 10 / (100 + 10 * width - 10)
    assert (iou >= 0.1) == (number == 8)
    assert sorted(np.unique(gathered.label_image)) == [0, 3, number]


def test_a_nucleus_without_its_number_is_known_by_its_place() -> None:
    gathered = gather(SENT_LABELS, SENT, [returned([box(5, 5, 15, 13), box(5, 30, 15, 34)])])
    # The second has an IoU of 0.4 with what was sent.
    assert np.array_equal(gathered.label_image, field(box(5, 5, 15, 13, 3), box(5, 30, 15, 34, 9)))
    assert gathered.recognised == 1


def test_numbers_that_a_tool_gave_to_new_nuclei_are_none_that_were_sent() -> None:
    gathered = gather(SENT_LABELS, SENT, [returned([A, B, box(40, 5, 50, 12, 4000)])])
    assert gathered.label_image.max() == 9
    assert gathered.number_twice == 0


def test_a_nucleus_in_two_pieces_stays_one_and_is_named_and_strays_are_left_out() -> None:
    mask = np.zeros((10, 30), np.bool_)
    mask[:, :10] = mask[:, 15:20] = True
    mask[0, 29] = True
    gathered = gather(SENT_LABELS, SENT, [returned([Nucleus(mask, 30, 5), A, B])])
    assert gathered.in_pieces == (9,)
    assert np.count_nonzero(gathered.label_image == 9) == 150
    assert gathered.strays_px == 1


def test_pieces_and_strays_that_were_sent_so_stay_and_are_not_named() -> None:
    sent_labels = SENT_LABELS.copy()
    sent_labels[40, 5] = 3
    sheets = [sheet_of("B07_1", sent_labels)]
    gathered = gather(sent_labels, sheets, sheets)
    assert np.array_equal(gathered.label_image, sent_labels)
    assert (gathered.in_pieces, gathered.strays_px) == ((), 0)


def test_unsure_nuclei_are_marked_and_numbered() -> None:
    gathered = gather(SENT_LABELS, SENT, [returned([replace(A, kind="unsure"), B])])
    assert np.array_equal(gathered.unsure, SENT_LABELS == 3)
    assert np.array_equal(gathered.label_image, SENT_LABELS)


def test_authors_and_minutes_are_those_of_the_nuclei() -> None:
    gathered = gather(SENT_LABELS, SENT, [returned([replace(A, author="anna", minutes=0.5), replace(B, minutes=0.25)])])
    assert gathered.authors == {3: "anna"}
    assert gathered.minutes == 0.75


def four_patches() -> tuple[NDArray[np.int32], list[Sheet]]:
    """The upper left patch has 1 and 2, of which 2 reaches into the upper right; that has 3."""
    label_image = field(box(5, 5, 15, 15, 1), box(5, 35, 15, 45, 2), box(5, 55, 15, 65, 3), box(40, 5, 50, 15, 4))
    sheets = divide("B07_1", label_image, nuclei_per_patch=1)
    assert [sheet.patch for sheet in sheets] == [(0, 0, 30, 40), (0, 40, 30, 80), (30, 0, 60, 40), (30, 40, 60, 80)]
    return label_image, sheets


def test_only_patches_that_came_back_are_looked_at_with_the_whole_of_their_nuclei_and_what_is_around_them() -> None:
    label_image, sheets = four_patches()
    gathered = gather(label_image, sheets, sheets[:1])
    expected = np.zeros((60, 80), np.bool_)
    expected[:30, :40] = True
    assert gathered.looked_at[expected].all()
    beyond = gathered.looked_at & ~expected
    rows, columns = np.nonzero(beyond)
    # The nucleus reaches to column 45 and from row 5 to 15.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 18, 40, 48)
    assert beyond[5:15, 40:49].all()
    assert np.array_equal(gathered.label_image, label_image)
    assert gathered.missing == tuple(sheet.name for sheet in sheets[1:])


def test_a_field_whose_name_looks_like_that_of_a_patch_is_looked_at_as_it_was_sent() -> None:
    name = "B07_y0-5_x0-5"
    sent = [replace(SENT[0], name=name)]
    assert gather(SENT_LABELS, sent, [replace(SENT[0], name=name, patch=patch_in(name))]).looked_at.all()


def test_a_nucleus_that_was_to_be_corrected_elsewhere_is_not_looked_at() -> None:
    label_image, sheets = four_patches()
    gathered = gather(label_image, sheets, [replace(sheets[1], nuclei=())])
    assert np.array_equal(gathered.label_image, np.where(label_image == 3, 0, label_image))
    expected = np.zeros((60, 80), np.bool_)
    expected[:30, 40:] = True
    expected[5:15, 40:45] = False
    assert np.array_equal(gathered.looked_at, expected)


def test_what_is_shown_only_is_not_changed_by_it() -> None:
    label_image, sheets = four_patches()
    moved = [replace(nucleus, top=12) if nucleus.kind == "context" else nucleus for nucleus in sheets[1].nuclei]
    gathered = gather(label_image, sheets, [sheets[0], replace(sheets[1], nuclei=tuple(moved))])
    assert np.array_equal(gathered.label_image, label_image)


def test_an_own_nucleus_that_somebody_marked_as_shown_only_is_not_lost() -> None:
    label_image, sheets = four_patches()
    marked = replace(sheets[0], nuclei=tuple(replace(nucleus, kind="context") for nucleus in sheets[0].nuclei))
    gathered = gather(label_image, sheets, [marked])
    assert np.array_equal(gathered.label_image, label_image)


@pytest.mark.parametrize("first", [0, 1])
def test_a_new_nucleus_that_two_annotators_draw_at_the_edge_of_a_patch_is_one(first: int) -> None:
    label_image, sheets = four_patches()
    both = [box(20, 34, 28, 46), box(20, 33, 28, 46)]
    came = [replace(sheet, nuclei=(*sheet.nuclei, new)) for sheet, new in zip(sheets, both, strict=False)]
    gathered = gather(label_image, sheets, [came[first], came[1 - first]])
    assert gathered.joined == 1
    # The larger of the two.
    assert np.array_equal(gathered.label_image == 5, field(box(20, 33, 28, 46, 5)) == 5)
    assert gathered.label_image.max() == 5


def test_new_nuclei_of_two_sheets_that_overlap_little_stay_two() -> None:
    label_image, sheets = four_patches()
    both = [box(20, 34, 28, 42), box(20, 40, 28, 46)]
    came = [replace(sheet, nuclei=(*sheet.nuclei, new)) for sheet, new in zip(sheets, both, strict=False)]
    gathered = gather(label_image, sheets, came)
    assert (gathered.joined, gathered.overlapping_px) == (0, 16)
    assert gathered.label_image.max() == 6


def test_a_nucleus_of_another_patch_that_is_drawn_again_counts_as_it_was_corrected_there() -> None:
    label_image, sheets = four_patches()
    again = replace(sheets[1], nuclei=(*sheets[1].nuclei, box(5, 36, 15, 46)))
    gathered = gather(label_image, sheets, [sheets[0], again])
    assert np.array_equal(gathered.label_image, label_image)
    assert gathered.joined == 1


@pytest.mark.parametrize(
    ("came", "says"),
    [
        ([returned([A], "C01_1")], "These images were not sent: C01_1; sent were B07_1"),
        ([], "No image came back; sent were B07_1"),
        ([replace(returned([A]), height=30)], "B07_1: came back with 30 x 80 px, and the field has 60 x 80"),
        ([replace(returned([box(5, 75, 9, 90)]), height=None, width=None)], "came back with nuclei outside of its px"),
    ],
)
def test_images_that_are_not_of_the_plate_are_refused(came: list[Sheet], says: str) -> None:
    with pytest.raises(InputError, match=says):
        gather(SENT_LABELS, SENT, came)
