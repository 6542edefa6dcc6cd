"""What became of every nucleus that was sent."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.annotation.comparison import Comparison, compare, effort
from tasks.annotation.picture import COLOURS, changes_overlay, comparison_figure


def field(*boxes: tuple[int, int, int, int, int]) -> NDArray[np.int32]:
    label_image = np.zeros((40, 90), np.int32)
    for number, y0, x0, y1, x1 in boxes:
        label_image[y0:y1, x0:x1] = number
    return label_image


SENT = field(
    (1, 0, 0, 10, 10),
    (2, 0, 20, 10, 30),
    (3, 0, 40, 10, 60),
    (4, 20, 0, 30, 10),
    (5, 20, 10, 30, 20),
    (6, 20, 40, 30, 50),
)
RETURNED = field(
    (1, 0, 0, 10, 10),
    (2, 0, 20, 10, 28),
    (3, 0, 40, 10, 50),
    (7, 0, 50, 10, 60),
    (4, 20, 0, 30, 20),
    (8, 20, 70, 30, 80),
)


def test_every_nucleus_is_kept_changed_split_merged_deleted_or_added() -> None:
    comparison = compare(SENT, RETURNED)
    assert comparison == Comparison(
        kept=(1,),
        changed={2: 0.8},
        split={3: (3, 7)},
        merged={4: (4, 5)},
        deleted=(6,),
        added=(8,),
        partner={1: 1, 2: 2},
    )
    kinds = ("kept", "changed", "split", "merged", "deleted", "added")
    assert comparison.counts() == dict.fromkeys(kinds, 1) | {"reclassified": 0}
    assert (comparison.nuclei, comparison.edits) == (6, 5)


def test_a_nucleus_of_which_only_the_class_was_changed_is_not_kept() -> None:
    to_unsure, back = compare(SENT, SENT, None, (), {1}), compare(SENT, SENT, None, {1, 2}, {1})
    assert (to_unsure.reclassified, to_unsure.kept) == ((1,), (2, 3, 4, 5, 6))
    assert (back.reclassified, back.kept) == ((2,), (1, 3, 4, 5, 6))
    assert (back.nuclei, back.edits) == (6, 1)


def test_the_numbers_of_what_came_back_do_not_matter() -> None:
    renumbered = np.where(RETURNED > 0, 70_000 - RETURNED, 0)
    assert compare(SENT, renumbered).counts() == compare(SENT, RETURNED).counts()


def test_a_nucleus_that_was_split_and_lost_a_third_of_itself_was_split() -> None:
    sent, returned = field((1, 0, 0, 10, 30)), field((1, 0, 0, 10, 10), (2, 0, 20, 10, 30))
    assert compare(sent, returned).split == {1: (1, 2)}


def test_a_small_correction_at_the_neighbours_is_no_merge() -> None:
    sent = field((1, 0, 0, 10, 20), (2, 0, 20, 10, 40))
    returned = field((1, 0, 0, 10, 23), (2, 0, 23, 10, 40))
    comparison = compare(sent, returned)
    assert set(comparison.changed) == {1, 2}
    assert comparison.changed[1] == pytest.approx(200 / 230)


def test_what_was_not_looked_at_is_not_counted() -> None:
    looked_at = np.zeros(SENT.shape, np.bool_)
    looked_at[:, :35] = True
    assert compare(SENT, RETURNED, looked_at).counts() == {
        "kept": 1, "changed": 1, "split": 0, "merged": 1, "deleted": 0, "added": 0, "reclassified": 0,
    }  # fmt: skip


def test_empty_fields_have_nothing_to_compare() -> None:
    empty = np.zeros((5, 5), np.int32)
    assert compare(empty, empty) == Comparison()
    assert compare(SENT, np.zeros_like(SENT)).deleted == (1, 2, 3, 4, 5, 6)


def test_hours_saved_are_those_of_the_paper_for_its_numbers() -> None:
    nuclei = [Comparison(kept=tuple(range(1349)))]
    of_paper = effort(nuclei, minutes=120)
    assert of_paper.hours_by_hand == pytest.approx(11.71, abs=0.01)
    assert of_paper.saved_share == pytest.approx(0.83, abs=0.005)
    assert of_paper.is_measured


def test_without_times_each_edit_counts_as_drawn_by_hand() -> None:
    guessed = effort([Comparison(kept=tuple(range(80)), added=tuple(range(20)))], minutes=None)
    assert guessed.saved_share == pytest.approx(0.8)
    assert not guessed.is_measured


def test_nothing_annotated_saves_nothing() -> None:
    assert effort([], minutes=None).saved_share == 0


def test_a_picture_shows_each_nucleus_in_the_colour_of_what_became_of_it() -> None:
    grey = np.full(SENT.shape, 100, np.uint8)
    sent, returned = SENT.copy(), RETURNED.copy()
    sent[30:34, 80:84] = returned[30:34, 80:84] = 9
    picture = changes_overlay(grey, sent, returned, compare(sent, returned, None, {9}))
    corners = {
        "kept": (0, 9),
        "changed": (0, 20),
        "split": (0, 40),
        "merged": (20, 0),
        "deleted": (20, 40),
        "added": (20, 70),
        "reclassified": (30, 80),
    }
    assert {kind: tuple(picture[place].tolist()) for kind, place in corners.items()} == COLOURS
    assert picture[35, 35].tolist() == [50, 50, 50]


def test_the_figure_says_how_many_there_are_of_each_kind() -> None:
    figure = comparison_figure(np.full(SENT.shape, 100, np.uint16), SENT, RETURNED, compare(SENT, RETURNED), "B07_1")
    assert [axes.get_title() for axes in figure.axes] == ["Sent", "Returned", "Changes"]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:2] == ["1 kept", "1 changed"]
