"""Label images that laboratories and their tools bring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from tests.fields import round_nuclei
from tests.situations.outcomes import Accepted, Change, Outcome, Refused, Row, check, table
from tests.situations.plain import NUCLEI, field, put_image, put_labels, write_info

LABEL_IMAGE = field(1)[1]


def both(make: Callable[[NDArray[np.uint16]], NDArray[Any]], **options: Any) -> Change:
    """Change the labels of both fields."""

    def change(plate: Path) -> None:
        for number in (1, 2):
            put_labels(plate, make(field(number)[1]), number, **options)

    return change


def first(make: Callable[[NDArray[np.uint16]], NDArray[Any]]) -> Change:
    """Change the labels of one field."""
    return lambda plate: put_labels(plate, make(LABEL_IMAGE))


def outlines(label_image: NDArray[Any]) -> NDArray[Any]:
    inner = scipy.ndimage.grey_erosion(label_image, 3) == label_image
    return np.where(inner, 0, label_image)


def as_palette_png(plate: Path) -> None:
    from PIL import Image

    (plate / "labels/f1.tif").unlink()
    image = Image.fromarray(LABEL_IMAGE.astype(np.uint8), mode="P")
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    image.save(plate / "labels/f1.png")


def swapped(plate: Path) -> None:
    for number in (1, 2):
        put_labels(plate, field(3 - number)[1], number)


def of_another_field(plate: Path) -> None:
    put_labels(plate, field(3)[1])


def corrected(plate: Path) -> None:
    """An annotation that comes back: a nucleus erased and one split in two pieces."""
    label_image = LABEL_IMAGE.copy()
    label_image[label_image == 3] = 0
    put_labels(plate, label_image)


def confirmed(change: Change) -> Change:
    def and_say_so(plate: Path) -> None:
        change(plate)
        write_info(plate, labels_confirmed=True)

    return and_say_so


def left_half(label_image: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.arange(label_image.shape[1]) < label_image.shape[1] // 2, label_image, 0)


def striped(label_image: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.arange(len(label_image))[:, np.newaxis] < len(label_image) // 10, 200, label_image)


def as_mask(label_image: NDArray[Any]) -> NDArray[Any]:
    return np.where(label_image, 255, 0).astype(np.uint8)


def sparse(make: Callable[[NDArray[Any]], NDArray[Any]], *nuclei: int) -> Change:
    """Put fields of few nuclei, two if no other number is given."""

    def change(plate: Path) -> None:
        for number, count in enumerate(nuclei or (2, 2), start=1):
            image, label_image = round_nuclei(number, nuclei=count)
            put_image(plate, image, number)
            put_labels(plate, make(label_image.astype(np.uint16)), number)

    return change


def half_done(label_image: NDArray[Any]) -> NDArray[Any]:
    return np.where(label_image > 3, 0, label_image)


ROWS: list[Row] = [
    ("8 bit", both(lambda labels: labels.astype(np.uint8)), Accepted()),
    ("signed 32 bit", both(lambda labels: labels.astype(np.int32)), Accepted()),
    ("ids of 64 bit", both(lambda labels: labels.astype(np.uint64) << 32), Accepted()),
    ("ids over 2^31", both(lambda labels: labels.astype(np.uint32) * np.uint32(2**27)), Accepted()),
    ("ids of 2^63 and more", both(lambda labels: labels.astype(np.uint64) << 58), Accepted()),
    ("ids with gaps", both(lambda labels: labels * np.uint16(1000)), Accepted()),
    ("big-endian ids", both(lambda labels: labels.astype(">u4"), byteorder=">"), Accepted()),
    ("a PNG with a palette", as_palette_png, Accepted()),
    ("corrected labels that come back", corrected, Accepted(nuclei=2 * NUCLEI - 1)),
    ("negative labels", both(lambda labels: labels.astype(np.int32) - 1), Refused("f1.tif.*-1")),
    ("fractions", both(lambda labels: labels / np.float32(2)), Refused("f1.tif.*float32")),
    ("masks of 0 and 255", both(lambda labels: np.where(labels, 255, 0).astype(np.uint8)), Refused("f1.tif.*mask")),
    ("masks of 0 and 1", both(lambda labels: (labels > 0).astype(np.uint8)), Refused("f1.tif.*mask")),
    ("a mask in one field", first(lambda labels: np.where(labels, 255, 0).astype(np.uint8)), Refused("f1.tif.*mask")),
    ("classes", both(lambda labels: np.where(labels, 1 + labels % 2, 0).astype(np.uint8)), Refused("f1.tif")),
    ("background numbered 1", both(lambda labels: labels + 1), Refused("f1.tif.*background")),
    ("inverted masks", both(lambda labels: np.where(labels, 0, 255).astype(np.uint8)), Refused("f1.tif")),
    ("one label everywhere", both(np.ones_like), Refused("f1.tif: gives every pixel the same number")),
    ("no label anywhere", both(np.zeros_like), Refused("no nucleus")),
    ("outlines", both(outlines), Refused("f1.tif.*outline")),
    ("x and y exchanged", both(np.transpose), Refused("f1.tif.*(exchanged|transposed)")),
    ("x and y exchanged in one field", first(np.transpose), Refused("f1.tif.*(exchanged|transposed)")),
    ("upside down", both(np.flipud), Refused("f1.tif.*(upside|flipped|mirrored)")),
    ("left and right exchanged", both(np.fliplr), Refused("f1.tif.*(flipped|mirrored)")),
    ("turned", both(np.rot90), Refused("f1.tif.*(turned|rotated)")),
    ("labels of the next field", swapped, Refused("f1.tif.*f2")),
    ("labels of a field that isn't there", of_another_field, Accepted("f1.tif: the labels hardly fit")),
    ("labels 30 px off", first(lambda labels: np.roll(labels, 30, axis=1)), Refused("f1.tif.*moved by 30 px")),
    ("a field that nobody labelled", first(np.zeros_like), Accepted("f1.tif", nuclei=NUCLEI)),
    ("a field labelled in part", first(half_done), Accepted("f1.tif", nuclei=NUCLEI + 3)),
    ("both fields labelled in part", both(half_done), Accepted("f1.tif.*f2.tif", nuclei=6)),
    ("the left half labelled", first(left_half), Accepted("f1.tif: has", nuclei=None)),
    (
        "one nucleus of 25 labelled",
        first(lambda labels: np.where(labels == 9, labels, 0)),
        Accepted("1 label", nuclei=26),
    ),
    ("a stripe to be ignored with a number", first(striped), Accepted("f1.tif: one label covers", nuclei=None)),
    ("masks of fields of two nuclei", sparse(lambda labels: labels > 0), Refused("f1.tif.*mask.*f2.tif.*mask")),
    ("masks of 0 and 255 of one and of two nuclei", sparse(as_mask, 1, 2), Refused("f1.tif.*mask.*f2.tif.*mask")),
    ("fields of two numbered nuclei", sparse(lambda labels: labels), Accepted(nuclei=4)),
    ("masks of fields of one nucleus", sparse(as_mask, 1, 1), Accepted(nuclei=2)),
    (
        "a field without labels that nobody can have seen and plate.json confirms",
        confirmed(first(np.zeros_like)),
        Refused("labels_confirmed is true, but there are doubts that nobody has seen.*f1.tif: has no label"),
    ),
    ("dark nuclei", lambda plate: inverted_images(plate), Accepted()),
    ("masks that a person confirmed", confirmed(both(lambda labels: labels > 0)), Refused("f1.tif")),
]


def inverted_images(plate: Path) -> None:
    for number in (1, 2):
        put_image(plate, np.uint16(1000) - field(number)[0], number)


@table(ROWS)
def test_labels_are_right_refused_or_doubted(change: Change, outcome: Outcome, tmp_path: Path) -> None:
    check(change, outcome, tmp_path)


def test_a_palette_png_is_what_the_encoder_says() -> None:
    assert imagecodecs.png_decode(imagecodecs.png_encode(LABEL_IMAGE)).dtype == np.uint16
