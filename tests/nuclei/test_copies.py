"""Which copies of a field are recognised."""

import json
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.nuclei.copies import (
    CHANGED,
    EQUAL,
    PART,
    Copy,
    Fingerprint,
    copies,
    copies_within,
    fingerprint_of_row,
    grouped,
    pixels_sha256,
)
from tasks.nuclei.plates.image_files import read_image
from tests import dsb2018
from tests.fields import round_nuclei

IMAGE = round_nuclei(1, (300, 400), 30)[0]
DIM = (IMAGE // 8).astype(np.uint8)


def fingerprint(image: NDArray[Any], with_parts: bool = True) -> Fingerprint:
    row = json.loads(json.dumps(fingerprint_of_row(np.ascontiguousarray(image), with_parts)))
    return Fingerprint.of_row(row)


def kinds(image: NDArray[Any], known: NDArray[Any]) -> list[str]:
    return [copy.kind for copy in copies({"new": fingerprint(image)}, {"known": fingerprint(known)})]


def eight_bit(image: NDArray[Any]) -> NDArray[np.uint8]:
    return np.rint((image - image.min()) * (255.0 / np.ptp(image))).astype(np.uint8)


def resized(image: NDArray[Any], times: float) -> NDArray[Any]:
    return cv2.resize(image, None, fx=times, fy=times, interpolation=cv2.INTER_AREA)


RECOGNISED: dict[str, tuple[Callable[[NDArray[Any]], NDArray[Any]], str]] = {
    "the same": (lambda image: image, EQUAL),
    "a crop of a fifth": (lambda image: image[40:180, 60:240], PART),
    "a crop by one pixel": (lambda image: image[1:], PART),
    "moved by whole pixels": (lambda image: np.roll(image, (13, -7), (0, 1)), PART),
    "another contrast in 8 bit": (eight_bit, CHANGED),
    "gamma 0.5": (lambda image: (eight_bit(image) / 255) ** 0.5 * 255 // 1, CHANGED),
    "half the intensity": (lambda image: image // 2, CHANGED),
    "inverted": (lambda image: 1000 - image.clip(0, 1000), CHANGED),
    "inverted, in 8 bit": (lambda image: 255 - eight_bit(image), CHANGED),
    "inverted and flipped": (lambda image: np.fliplr(65535 - image), CHANGED),
    "half the size": (lambda image: resized(image, 0.5), CHANGED),
    "1.3 times the size": (lambda image: resized(image, 1.3), CHANGED),
    "flipped": (np.flipud, CHANGED),
    "mirrored": (np.fliplr, CHANGED),
    "rotated by 90 degrees": (np.rot90, CHANGED),
    "transposed, in 8 bit": (lambda image: eight_bit(image).T, CHANGED),
}


@pytest.mark.parametrize(("change", "kind"), RECOGNISED.values(), ids=RECOGNISED)
def test_copies_are_recognised_by_the_kind_of_their_change(
    change: Callable[[NDArray[Any]], NDArray[Any]], kind: str
) -> None:
    changed = change(IMAGE)
    changed = changed.astype(np.uint16) if changed.dtype == np.float64 else changed
    assert kinds(changed, IMAGE) == [kind]
    assert kinds(IMAGE, changed) == [kind]


@pytest.mark.parametrize("dtypes", [(np.uint8, np.uint16), (np.uint16, np.uint8)])
def test_equal_values_are_equal_pixels_in_8_and_in_16_bit(dtypes: tuple[type, type]) -> None:
    assert kinds(DIM.astype(dtypes[0]), DIM.astype(dtypes[1])) == [EQUAL]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_row_from_before_there_were_fingerprints_tells_equal_pixels_of_any_dtype(dtype: type) -> None:
    old = Fingerprint.of_row({"pixels_sha256": pixels_sha256(DIM.astype(dtype))})
    assert [copy.kind for copy in copies({"new": fingerprint(DIM)}, {"old": old})] == [EQUAL]


def blank(seed: int) -> NDArray[np.uint16]:
    """An empty field of a camera with hot pixels and vignetting, the same in all."""
    distance = np.hypot(*np.indices((256, 256)) - 128.0)[..., np.newaxis][..., 0] / 180
    field = 110 * (1 - 0.5 * distance**2) + np.random.default_rng(seed).normal(0, 6, (256, 256))
    field[np.random.default_rng(9).integers(0, 256, 20), np.random.default_rng(8).integers(0, 256, 20)] += 3000
    return field.astype(np.uint16)


def centred(seed: int) -> NDArray[np.uint16]:
    """A crop around one nucleus, all of one size."""
    distance = np.hypot(*np.indices((96, 96)) - 48.0) / 20
    noise = np.random.default_rng(seed).normal(0, 5, distance.shape)
    return (110 + 500 / (1 + np.exp((distance - 1) * 12)) + noise).astype(np.uint16)


DIFFERENT = {
    "fields": [round_nuclei(seed)[0] for seed in range(6)],
    "fields without noise": [round_nuclei(seed, noise=0)[0] for seed in range(6)],
    "empty fields": [blank(seed) for seed in range(6)],
    "empty fields of 8 bit": [(blank(seed) // 24).astype(np.uint8) for seed in range(6)],
    "single nuclei": [centred(seed) for seed in range(6)],
    "tiny fields": [np.random.default_rng(seed).integers(0, 9, (12, 15), np.uint8) for seed in range(6)],
}


@pytest.mark.parametrize("images", DIFFERENT.values(), ids=DIFFERENT)
def test_different_fields_are_no_copies(images: list[NDArray[Any]]) -> None:
    assert copies_within({str(number): fingerprint(image) for number, image in enumerate(images)}) == []


@pytest.mark.skipif(not dsb2018.is_available(), reason=f"{dsb2018.SOURCE} is not there")
def test_no_two_real_fields_are_copies() -> None:
    paths = [path for group in ("mixed", "large-360") for path in sorted(dsb2018.SOURCE.glob(f"{group}/*/images/*"))]
    assert copies_within({path.stem: fingerprint(read_image(path)) for path in paths}) == []


def test_without_parts_only_equal_pixels_are_known() -> None:
    known = {"known": fingerprint(IMAGE, with_parts=False)}
    assert [copy.kind for copy in copies({"new": fingerprint(IMAGE)}, known)] == [EQUAL]
    assert list(copies({"new": fingerprint(IMAGE[1:])}, known)) == []


def test_copies_of_copies_are_one_group() -> None:
    pairs = [Copy("c", "a", EQUAL), Copy("d", "c", PART)]
    assert grouped(["a", "b", "c", "d"], pairs) == [["a", "c", "d"], ["b"]]
