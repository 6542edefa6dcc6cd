"""What label images look like when they are no labels, or not of their image."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from tasks.nuclei.label_check import Verdict, check_labels, measure_labels
from tasks.nuclei.plates.image_files import read_image, read_label_image
from tests import dsb2018
from tests.fields import round_nuclei

Field = tuple[NDArray[Any], NDArray[Any]]
PLATE = [round_nuclei(seed) for seed in range(4)]
IMAGE, LABELS = PLATE[0]


def verdicts_of(fields: list[Field]) -> list[Verdict]:
    measured = {f"f{number}": measure_labels(image, labels) for number, (image, labels) in enumerate(fields)}
    return list(check_labels(measured).values())


def verdict_of(labels: NDArray[Any], image: NDArray[Any] = IMAGE, others: list[Field] = PLATE[1:]) -> Verdict:
    """Check one field, beside others that are right."""
    return verdicts_of([(image, labels.astype(np.int32)), *others])[0]


def moved(labels: NDArray[Any], down_px: int, right_px: int) -> NDArray[Any]:
    far = np.pad(labels, 40)
    height, width = labels.shape
    return far[40 - down_px : 40 - down_px + height, 40 - right_px : 40 - right_px + width]


def outlines(labels: NDArray[Any]) -> NDArray[Any]:
    return np.where(find_boundaries(labels, mode="inner"), labels, 0)


def points(labels: NDArray[Any]) -> NDArray[Any]:
    made = np.zeros_like(labels)
    for number in range(1, labels.max() + 1):
        y, x = np.argwhere(labels == number).mean(axis=0).astype(int)
        made[y : y + 2, x : x + 2] = number
    return made


def magnified(labels: NDArray[Any]) -> NDArray[Any]:
    return np.kron(labels[64:192, 64:192], np.ones((2, 2), np.int32))


WRONG: dict[str, tuple[Callable[[NDArray[Any]], NDArray[Any]], str]] = {
    "a mask": (lambda labels: labels > 0, "looks like a mask or like classes: 20 separate pieces all have the same"),
    "classes 1 to 3": (lambda labels: np.where(labels > 0, labels % 3 + 1, 0), "20 separate pieces share 3 numbers"),
    "background 1, nuclei from 2": (lambda labels: labels + 1, "the background seems to have a number"),
    "background 1, nuclei 2": (lambda labels: (labels > 0) + 1, "the background seems to have a number"),
    "background after the nuclei": (lambda labels: np.where(labels, labels, 21), "the background seems to have a num"),
    "nuclei and background exchanged": (lambda labels: labels == 0, "the background seems to have a number"),
    "numbered outlines": (outlines, "looks like outlines: its labels enclose"),
    "a mask of outlines": (lambda labels: outlines(labels) > 0, "looks like outlines: its labels enclose"),
    "one number for all": (np.ones_like, "gives every pixel the same number"),
    "transposed": (np.transpose, "transposed (x and y are exchanged)"),
    "flipped": (np.flipud, "flipped upside down"),
    "mirrored": (np.fliplr, "flipped left to right"),
    "rotated by 90": (np.rot90, "rotated by 90° to the left"),
    "rotated by 180": (lambda labels: np.rot90(labels, 2), "rotated by 180°"),
    "moved by 20 px": (lambda labels: moved(labels, 12, -16), "moved by 20 px (12 px down and 16 px left)"),
    "of another magnification": (magnified, "of 2 times higher magnification"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_by_what_it_looks_like(
    change: Callable[[NDArray[Any]], NDArray[Any]], message: str
) -> None:
    (problem,) = verdict_of(change(LABELS)).problems
    assert message in problem


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_it_is_named_too_where_all_fields_are_wrong_in_the_same_way(
    change: Callable[[NDArray[Any]], NDArray[Any]], message: str
) -> None:
    for verdict in verdicts_of([(image, change(labels).astype(np.int32)) for image, labels in PLATE]):
        assert message[:20] in " ".join(verdict.problems)


@pytest.mark.parametrize("cut", [lambda labels: labels % 256, lambda labels: labels.clip(0, 255)], ids=["wrap", "clip"])
def test_more_than_255_nuclei_saved_with_8_bits_are_named(cut: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    image, labels = round_nuclei(0, (400, 400), 270, 5)
    (verdict,) = verdicts_of([(image, cut(labels))])
    assert "its numbers seem to be cut to 8 bits: all 255 that fit are used" in verdict.problems[0]


def test_labels_of_the_next_field_are_named_with_the_field_that_they_fit() -> None:
    images, labels = zip(*PLATE, strict=True)
    for number, verdict in enumerate(verdicts_of(list(zip(images, labels[1:] + labels[:1], strict=True)))):
        assert verdict.problems == [
            f"does not fit its image, which f{(number - 1) % 4} fits: label images seem to be exchanged; "
            "give every image its own labels"
        ]


def corner() -> NDArray[Any]:
    y, x = np.indices((256, 256))
    return y + x < 110


DOUBTFUL: dict[str, tuple[Callable[[NDArray[Any]], NDArray[Any]], str]] = {
    "moved by 5 px": (lambda labels: moved(labels, 3, 4), "moved by 5 px (3 px down and 4 px right)"),
    "of a field of another plate": (lambda _: round_nuclei(99)[1], "the labels hardly fit the brightness"),
    "points": (points, "has points in place of nuclei"),
    "a quarter is labelled": (lambda labels: np.where(labels < 6, labels, 0), "has 5 labels, but some"),
    "not annotated": (np.zeros_like, "has no label, but some"),
    "the left half is labelled": (
        lambda labels: np.where(np.arange(256) < 128, labels, 0),
        "more pieces are as bright",
    ),
    "a field labelled to 60 %": (lambda labels: np.where(labels <= 12, labels, 0), "has 12 labels, but some"),
    "one nucleus is labelled": (lambda labels: np.where(labels == 2, labels, 0), "has 1 label, but some"),
    "a numbered stripe": (lambda labels: np.where(np.arange(256) < 24, 200, labels), "what is no nucleus must be 0"),
    "a numbered corner": (lambda labels: np.where(corner(), 200, labels), "what is no nucleus must be 0"),
    "some nuclei have one number": (
        lambda labels: np.where(labels > 6, 7, labels),
        "has 7 labels in 20 separate pieces",
    ),
}


@pytest.mark.parametrize(("change", "message"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_what_may_be_wrong_is_a_doubt(change: Callable[[NDArray[Any]], NDArray[Any]], message: str) -> None:
    verdict = verdict_of(change(LABELS))
    assert verdict.problems == []
    assert message in verdict.doubts[0]


def sparse(nuclei: int, seeds: range = range(4)) -> list[Field]:
    return [round_nuclei(seed, nuclei=nuclei) for seed in seeds]


@pytest.mark.parametrize("number", [1, 255])
@pytest.mark.parametrize("fields", [sparse(2), [*sparse(1), *sparse(2, range(5, 7))]], ids=["two", "one or two"])
def test_masks_of_sparse_fields_are_masks(fields: list[Field], number: int) -> None:
    for verdict in verdicts_of([(image, np.where(labels, number, 0)) for image, labels in fields]):
        assert "looks like a mask or like classes" in verdict.problems[0]


def test_two_classes_of_sparse_fields_are_no_labels() -> None:
    fields = [(image, np.where(labels, labels % 2 + 1, 0)) for image, labels in sparse(4)]
    assert all("looks like a mask" in verdict.problems[0] for verdict in verdicts_of(fields))


def test_a_plate_that_is_labelled_in_part_in_all_fields_is_doubted() -> None:
    verdicts = verdicts_of([(image, np.where(labels < 4, labels, 0)) for image, labels in PLATE[:2]])
    assert all("has 3 labels, but some" in verdict.doubts[0] for verdict in verdicts)


@pytest.mark.parametrize(("nuclei", "labelled", "more"), [(2, 1, "1 more piece is"), (4, 2, "some 2 more pieces are")])
def test_a_sparse_field_that_is_labelled_in_part_is_doubted(nuclei: int, labelled: int, more: str) -> None:
    image, labels = round_nuclei(3, nuclei=nuclei)
    verdict = verdict_of(np.where(labels <= labelled, labels, 0), image, sparse(4, range(6, 9)))
    assert f", but {more} as bright and as large as the plate's nuclei" in verdict.doubts[0]


def test_a_plate_that_lacks_two_labels_in_every_field_is_doubted_and_one_that_lacks_two_in_one_is_not() -> None:
    in_part = [(image, np.where(labels > 2, labels - 2, 0)) for image, labels in PLATE]
    assert all("has 18 labels, but some 2 more pieces" in verdict.doubts[0] for verdict in verdicts_of(in_part))
    assert verdicts_of([in_part[0], *PLATE[1:]]) == [Verdict()] * 4


def dark(fields: list[Field]) -> list[Field]:
    return [((1000 - image.clip(0, 1000)).astype(np.uint16), labels) for image, labels in fields]


def crops(side_px: int) -> list[Field]:
    image, labels = round_nuclei(3, (512, 512), 60, 20)
    corners = np.random.default_rng(0).integers(0, 512 - side_px, (20, 2))
    parts = [np.s_[y : y + side_px, x : x + side_px] for y, x in corners]
    return [(np.ascontiguousarray(image[part]), np.ascontiguousarray(labels[part])) for part in parts]


def confluent() -> Field:
    """Nuclei that touch each other and leave a twentieth of the field."""
    y, x = np.mgrid[:256, :256]
    labels = np.where((y % 16 > 0) & (x % 32 > 0), y // 16 * 8 + x // 32 + 1, 0)
    noise = np.random.default_rng(0).normal(0, 20, labels.shape)
    return (np.where(labels, 400 + labels % 7 * 30, 150) + noise).astype(np.uint16), labels.astype(np.int32)


def split(labels: NDArray[Any]) -> NDArray[Any]:
    y = np.argwhere(labels == 1).mean(axis=0).astype(int)[0]
    return np.where((labels == 1) & (np.arange(256)[:, np.newaxis] == y), 0, labels)


def splintered(labels: NDArray[Any]) -> NDArray[Any]:
    made = labels.copy()
    y, x = np.argwhere(labels)[0]
    made[y - 3, x] = 1
    return made


PAIR = sparse(2)

RIGHT: dict[str, list[Field]] = {
    "a plate": PLATE,
    "one field": PLATE[:1],
    "a single nucleus": [round_nuclei(5, nuclei=1)],
    "two nuclei": [round_nuclei(5, nuclei=2)],
    "dark nuclei": dark(PLATE),
    "one field of dark nuclei": dark(PLATE[:1]),
    "dim fields": [round_nuclei(seed, signal=12, noise=8) for seed in range(3)],
    "8 bit": [((image // 4).astype(np.uint8), labels) for image, labels in PLATE],
    "a hot pixel": [
        (np.where(np.arange(256) + np.arange(256)[:, None] == 9, 65535, image), lab) for image, lab in PLATE
    ],
    "uneven light": [((image * np.linspace(0.3, 1, 256)).astype(np.uint16), labels) for image, labels in PLATE],
    "a confluent field": [confluent()],
    "an empty field": [*PLATE, round_nuclei(7, nuclei=0)],
    "a large field": [round_nuclei(1, (900, 1100), 80, 25)],
    "one nucleus in each field": sparse(1),
    "two nuclei in each field, one in pieces": [(np.array(PAIR[0][0]), split(PAIR[0][1])), *PAIR[1:]],
    "nuclei with a splinter": [(image, splintered(labels)) for image, labels in sparse(1)],
    "nothing at all": [round_nuclei(7, nuclei=0)],
}


@pytest.mark.parametrize("fields", RIGHT.values(), ids=RIGHT)
def test_right_labels_are_neither_refused_nor_doubted(fields: list[Field]) -> None:
    assert verdicts_of(fields) == [Verdict()] * len(fields)


@pytest.mark.parametrize("side_px", [16, 40, 64, 128])
def test_small_crops_of_a_field_are_not_refused(side_px: int) -> None:
    for field in crops(side_px):
        assert verdicts_of([field])[0].problems == []
    assert not any(verdict.problems for verdict in verdicts_of(crops(side_px)))


def test_a_field_whose_nuclei_are_dark_among_others_is_doubted() -> None:
    verdict, *others = verdicts_of([*dark(PLATE[:1]), *PLATE[1:]])
    assert "the one inside the labels is brighter than the one outside in 0% of all pairs" in verdict.doubts[0]
    assert others == [Verdict()] * 3


@pytest.mark.skipif(not dsb2018.is_available(), reason=f"{dsb2018.SOURCE} is not there")
@pytest.mark.parametrize("group", ["large-360/test", "mixed/train", "small-256/test"])
def test_real_labels_are_neither_refused_nor_doubted(group: str) -> None:
    folder = dsb2018.SOURCE / group
    paths = sorted((folder / "images").iterdir())
    fields = [(read_image(path), read_label_image(folder / "labels" / path.name).astype(np.int32)) for path in paths]
    assert verdicts_of(fields) == [Verdict()] * len(fields)


LEFT_HALF = np.zeros(IMAGE.shape, bool)
LEFT_HALF[:, :128] = True


def verdict_in_part(labels: NDArray[Any], ignored: NDArray[Any], others: list[Field] = PLATE[1:]) -> Verdict:
    """Check one field that is annotated in part, beside others that are right."""
    measured = {"f0": measure_labels(IMAGE, labels.astype(np.int32), ignored)}
    measured |= {f"f{number}": measure_labels(*field) for number, field in enumerate(others, start=1)}
    return check_labels(measured)["f0"]


CUT_OFF = np.where(LEFT_HALF, 0, LABELS)
MASK_OF_THE_REST = np.where(LEFT_HALF & (LABELS > 0), LABELS.max() + 1, LABELS)


@pytest.mark.parametrize("labels", [CUT_OFF, LABELS, MASK_OF_THE_REST], ids=["cut off", "all", "one number beyond"])
@pytest.mark.parametrize("others", [PLATE[1:], []], ids=["among others", "alone"])
def test_what_is_ignored_raises_no_doubt_whatever_the_labels_there(labels: NDArray[Any], others: list[Field]) -> None:
    assert verdict_in_part(labels, LEFT_HALF, others) == Verdict()


def test_without_saying_that_it_is_ignored_half_a_field_is_doubted() -> None:
    (doubt,) = verdict_of(CUT_OFF).doubts
    assert "more pieces are as bright" in doubt


def test_a_few_annotated_nuclei_of_a_field_raise_no_doubt() -> None:
    ignored = ~np.isin(LABELS, LABELS[np.unravel_index(LABELS.argmax(), LABELS.shape)])
    ignored[100:160, 100:180] = False
    assert verdict_in_part(np.where(ignored, 0, LABELS), ignored) == Verdict()


def test_unsure_nuclei_raise_no_doubt_with_labels_or_without() -> None:
    unsure = np.isin(LABELS, [2, 5, 7, 11, 13, 14])
    for labels in (LABELS, np.where(unsure, 0, LABELS), np.where(unsure, 99, LABELS)):
        assert verdict_in_part(labels, unsure) == Verdict()


@pytest.mark.parametrize("what", ["a mask", "flipped", "numbered outlines"])
def test_what_is_wrong_in_the_annotated_part_is_still_named(what: str) -> None:
    change, message = WRONG[what]
    ignored = np.zeros_like(LEFT_HALF)
    ignored[:40] = ignored[-40:] = True
    (problem,) = verdict_in_part(change(LABELS), ignored).problems
    assert message in problem


def test_nuclei_without_a_label_in_the_annotated_part_are_doubted() -> None:
    labels = np.where(np.isin(LABELS, np.unique(LABELS[:, 140:])[1::2]), 0, CUT_OFF)
    (doubt,) = verdict_in_part(labels, LEFT_HALF).doubts
    assert "as bright and as large as the plate's nuclei" in doubt
