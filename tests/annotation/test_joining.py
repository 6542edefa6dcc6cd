"""Several answers about one field."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.annotation.joining import FieldLabels, joined
from tasks.nuclei.plates.image_files import ANNOTATED, NOT_LOOKED_AT, UNSURE

LEFT, RIGHT = np.s_[:, :20], np.s_[:, 20:]


def labels(**places: tuple[int, int]) -> NDArray[np.int32]:
    """Label image of 10 x 40 px; `n1=(4, 8)` is a nucleus 1 from column 4 to column 8."""
    label_image = np.zeros((10, 40), np.int32)
    for name, (first, end) in places.items():
        label_image[2:6, first:end] = int(name[1:])
    return label_image


def seen(*parts: tuple[slice, slice]) -> NDArray[np.uint8]:
    kinds = np.full((10, 40), NOT_LOOKED_AT, np.uint8)
    for part in parts:
        kinds[part] = ANNOTATED
    return kinds


def test_what_was_annotated_before_stays_where_only_another_part_came_back() -> None:
    before = FieldLabels(labels(n1=(4, 8), n2=(30, 34)), seen(LEFT))
    now = FieldLabels(labels(n1=(30, 35)), seen(RIGHT))
    result = joined(before, now)
    np.testing.assert_array_equal(result.labels.label_image, labels(n1=(4, 8), n2=(30, 35)))
    assert (result.labels.kinds == ANNOTATED).all()
    assert result.kept == {1}
    assert result.numbers == {1: 2}


def test_what_came_back_now_counts_where_both_were_looked_at() -> None:
    before = FieldLabels(labels(n1=(4, 8), n2=(30, 34)), seen(LEFT, RIGHT))
    now = FieldLabels(labels(n7=(5, 9)), seen(LEFT))
    result = joined(before, now)
    np.testing.assert_array_equal(result.labels.label_image, labels(n7=(5, 9), n2=(30, 34)))
    assert result.kept == {2}


def test_a_proposal_that_nobody_looked_at_replaces_nothing_that_was_annotated() -> None:
    before = FieldLabels(labels(n1=(4, 8)), seen(LEFT))
    now = FieldLabels(labels(n1=(3, 10), n2=(24, 28), n3=(36, 39)), seen(np.s_[:, 22:30]))
    result = joined(before, now)
    np.testing.assert_array_equal(result.labels.label_image, labels(n1=(4, 8), n2=(24, 28), n3=(36, 39)))
    assert result.numbers == {2: 2}
    assert (result.labels.kinds[2:6, 36:39] == NOT_LOOKED_AT).all()


def test_the_rest_of_a_nucleus_that_counts_no_longer_is_not_background() -> None:
    before = FieldLabels(labels(n1=(14, 22)), seen(LEFT, RIGHT))
    result = joined(before, FieldLabels(labels(), seen(LEFT)))
    assert not result.labels.label_image.any()
    assert (result.labels.kinds[2:6, 20:22] == NOT_LOOKED_AT).all()
    assert (result.labels.kinds == NOT_LOOKED_AT).sum() == 4 * 2


@pytest.mark.parametrize("place", [(21, 25), (18, 25)])
def test_a_nucleus_of_which_nobody_could_say_stays_so(place: tuple[int, int]) -> None:
    label_image, kinds = labels(n1=place), seen(RIGHT)
    kinds[label_image == 1] = UNSURE
    result = joined(FieldLabels(label_image, kinds), FieldLabels(labels(), seen(LEFT)))
    assert result.kept == {1}
    assert (result.labels.kinds[label_image == 1] == UNSURE).all()
