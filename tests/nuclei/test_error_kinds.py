"""Which kind of error a pixel belongs to, on fields of one line."""

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from tasks.nuclei.figures.error_kinds import KIND_COLOURS, KIND_TITLES, ErrorKind, error_kinds, matched_numbers
from tasks.nuclei.figures.error_panels import DARKENED, kind_overlay
from tasks.nuclei.figures.pictures import label_overlay


def row(*labels: int) -> NDArray[np.int32]:
    return np.array([labels], np.int32)


def kinds(true: NDArray[np.int32], predicted: NDArray[np.int32], ignored: NDArray[np.bool_] | None = None) -> str:
    """Give a letter for each pixel: missed, false positive, merged (G), split, outline."""
    return "".join(" MFGSO"[kind] for kind in error_kinds(true, predicted, ignored)[0])


@pytest.mark.parametrize(
    ("true", "predicted", "expected"),
    [
        (row(0, 5, 5, 5, 0), row(0, 9, 9, 9, 0), "     "),
        (row(0, 5, 5, 5, 0), row(0, 0, 0, 0, 0), " MMM "),
        (row(0, 0, 0, 0, 0), row(0, 9, 9, 9, 0), " FFF "),
        (row(0, 5, 5, 5, 5), row(0, 0, 9, 9, 9), " O   "),
        (row(0, 5, 5, 0, 6, 6), row(0, 9, 9, 9, 9, 9), " GGGGG"),
        (row(5, 5, 5, 5, 5, 5, 0), row(8, 8, 8, 9, 9, 9, 9), "SSSSSSS"),
        (row(0, 5, 5, 5, 5, 0), row(0, 0, 0, 0, 8, 8), " MMMMO"),
        (row(5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 6), row(8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 0), "          M"),
    ],
    ids=["right", "missed", "false positive", "outline", "merged", "split", "far off", "one found and one missed"],
)
def test_every_wrong_pixel_has_the_kind_that_scores_count(
    true: NDArray[np.int32], predicted: NDArray[np.int32], expected: str
) -> None:
    assert kinds(true, predicted) == expected


def test_what_is_ignored_is_of_no_kind() -> None:
    ignored = row(0, 0, 0, 0, 1, 1, 1, 1, 1) > 0
    missed, cut = row(4, 4, 0, 5, 5, 5, 0, 0, 0), row(0, 0, 0, 0, 0, 0, 0, 7, 7)
    assert kinds(missed, cut, ignored) == "MM       "


def test_a_nucleus_has_the_same_colour_in_truth_and_in_prediction() -> None:
    grey, true = np.full((1, 9), 100, np.uint8), row(1, 1, 1, 2, 2, 2, 0, 3, 3)
    predicted = row(7, 7, 7, 4, 4, 4, 9, 0, 0)
    numbers = matched_numbers(true, predicted)
    assert numbers.tolist() == [[1, 1, 1, 2, 2, 2, 6, 0, 0]]
    of_truth, of_prediction = label_overlay(grey, true), label_overlay(grey, predicted, numbers)
    assert np.array_equal(of_truth[:, :6], of_prediction[:, :6])


def test_every_kind_has_a_colour_of_its_own_on_a_darkened_picture() -> None:
    picture = kind_overlay(np.full((1, 6), 200, np.uint8), np.arange(6, dtype=np.uint8)[np.newaxis])
    assert picture[0, 0].tolist() == [int(200 * DARKENED)] * 3
    assert len({tuple(colour) for colour in picture[0].tolist()}) == 6
    assert set(KIND_TITLES) == set(ErrorKind)


# Machado, Oliveira and Fernandes (IEEE Transactions on Visualization and Computer Graphics 15, 2009), severity 1.
SIGHTS = {
    "usual": np.eye(3),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritanopia": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}


@pytest.mark.parametrize("sight", SIGHTS)
def test_kinds_are_told_apart_by_people_who_do_not_see_a_colour(sight: str) -> None:
    rgb = KIND_COLOURS[1:] / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ SIGHTS[sight].T
    linear = np.clip(linear, 0, 1)
    seen = rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))
    differences = {pair: float(deltaE_ciede2000(seen[pair[0]], seen[pair[1]])) for pair in combinations(range(5), 2)}
    assert min(differences.values()) > 12, differences
