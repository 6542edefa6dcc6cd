"""Fields of nuclei, and what cameras, microscopes, stitching and dead cells do to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tests.fields import round_nuclei

Image = NDArray[Any]
SIDE_PX = 384
RADIUS_PX = 18
BRIGHTEST = 65535


@cache
def field(
    nuclei: int = 25, noise: float = 6, background: float = 110, seed: int = 1
) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Give an image and its label image, (y, x)."""
    image, labels = round_nuclei(seed, (SIDE_PX, SIDE_PX), nuclei, RADIUS_PX, background, noise=noise)
    image.flags.writeable = labels.flags.writeable = False
    return image, labels


def _distance(y: float, x: float) -> NDArray[np.float64]:
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    return np.hypot(rows - y, columns - x)


def _as_uint16(image: Image) -> NDArray[np.uint16]:
    return np.clip(np.rint(image), 0, BRIGHTEST).astype(np.uint16)


FIELDS: dict[str, Callable[[], tuple[Image, NDArray[np.int32]]]] = {
    "a usual field": field,
    "a camera with a high offset": lambda: field(background=2000),
    "a crowded field": lambda: field(nuclei=55),
    "a single nucleus": lambda: field(nuclei=1, seed=2),
    "a background of 0": lambda: _of_usual(lambda image: np.maximum(image, 140) - np.uint16(140)),
    "nothing but 0 between nuclei": lambda: _of_usual(lambda image: np.where(field()[1] > 0, image, 0)),
    "8 bit, dark": lambda: _of_usual(lambda image: (image // 12).astype(np.uint8)),
    "values from 0 to 1": lambda: _of_usual(lambda image: image.astype(np.float32) / BRIGHTEST),
    "32 bit, signed": lambda: _of_usual(lambda image: image.astype(np.int32) - 200),
    "uneven light": lambda: _of_usual(unevenly_lit(0.5)),
}
"""Images with their label images."""
HARD_FIELDS: dict[str, Callable[[int], tuple[Image, NDArray[np.int32]]]] = {
    "strong vignetting": lambda seed: _of_usual(unevenly_lit(0.8), seed),
    "a 12-bit camera": lambda seed: _of_usual(of_12_bits, seed),
    "1 % saturated pixels": lambda seed: _of_usual(overexposed(0.01), seed),
    "nuclei 20 times as bright as others": lambda seed: of_many_brightnesses(20, seed),
}
"""Images with their label images, by seed."""


def _of_usual(change: Callable[[Image], Image], seed: int = 1) -> tuple[Image, NDArray[np.int32]]:
    image, labels = field(seed=seed)
    return change(image), labels


def unevenly_lit(lost: float) -> Callable[[Image], Image]:
    """Give what takes this share of the light from the corners of a field."""
    share = (_distance(SIDE_PX / 2, SIDE_PX / 2) / (SIDE_PX / np.sqrt(2))) ** 2
    return lambda image: _as_uint16((image - 100.0) * (1 - lost * share) + 100)


def of_12_bits(image: Image) -> NDArray[np.uint16]:
    """As cameras of 12 bits are often saved: the four lowest bits are 0."""
    return _as_uint16(image) * np.uint16(16)


def overexposed(share: float) -> Callable[[Image], Image]:
    """Give what exposes a field until this share of its pixels is saturated."""
    return lambda image: _as_uint16(image * (BRIGHTEST / np.quantile(image, 1 - share)))


def of_many_brightnesses(times: float, seed: int) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Give a field whose brightest nuclei are so many times as bright as its faintest, which are as bright as usual."""
    image, labels = field(noise=0, seed=seed)
    rng = np.random.default_rng(seed)
    brightness = times ** rng.uniform(0, 1, labels.max() + 1)
    _, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    light = (image - 110.0) * brightness[labels[tuple(nearest)]] + 110
    return _as_uint16(light + rng.normal(0, 6, light.shape)), labels


def _set(where: Callable[[Image], Any], level: float) -> Callable[[Image], Image]:
    """Give what sets pixels to a level: 0 is the darkest of the type, 1 the brightest."""

    def changed(image: Image) -> Image:
        result = image.copy()
        lowest, highest = (0, 1000 * image.max()) if image.dtype.kind == "f" else _limits(image)
        result[where(image)] = lowest + level * (highest - lowest)
        return result

    return changed


def _limits(image: Image) -> tuple[int, int]:
    return np.iinfo(image.dtype).min, np.iinfo(image.dtype).max


def _pixels(amount: int) -> Callable[[Image], Any]:
    places = np.random.default_rng(7).choice(SIDE_PX**2, amount, replace=False)
    return lambda image: np.unravel_index(places, image.shape)


def _edges(px: int, *sides: str) -> Callable[[Image], Any]:
    def where(image: Image) -> Any:
        mask = np.zeros(image.shape, np.bool_)
        parts: dict[str, Any] = {
            "top": np.s_[:px],
            "bottom": np.s_[-px:],
            "left": np.s_[:, :px],
            "right": np.s_[:, -px:],
        }
        for side in sides or parts:
            mask[parts[side]] = True
        return mask

    return where


def dead_cells(amount: int, times: float, area_px: float = 400) -> Callable[[Image], Image]:
    """Give what adds pyknotic cells, so many times as bright as nuclei."""
    places = np.random.default_rng(5).uniform(30, SIDE_PX - 30, (amount, 2))

    def changed(image: Image) -> Image:
        radius_px = np.sqrt(area_px / np.pi)
        shape = sum(1 / (1 + np.exp(10 * (_distance(y, x) / radius_px - 1))) for y, x in places)
        return _added(image, times * shape)

    return changed


def glare(times: float, width_px: float, y: float = 0, x: float = 0) -> Callable[[Image], Image]:
    """Give what adds a bright spot, so many times as bright as nuclei."""
    return lambda image: _added(image, times * np.exp(-((_distance(y, x) / width_px) ** 2) / 2))


def _added(image: Image, nuclei: NDArray[np.float64]) -> Image:
    """Add light in units of the brightness of nuclei, where it is more than a hundredth of it."""
    brightness = float(np.percentile(image, 99.5)) - float(np.median(image))
    added = image + brightness * np.where(nuclei > 0.01, nuclei, 0)
    if image.dtype.kind != "f":
        added = np.rint(added).clip(*_limits(image))
    return added.astype(image.dtype)


def _turned(image: Image) -> Image:
    corners = ndimage.rotate(np.ones(image.shape), 4, reshape=False, order=0, cval=0) == 0
    return np.where(corners, image.dtype.type(0), image)


FAULTS: dict[str, Callable[[Image], Image]] = {
    "a hot pixel": _set(_pixels(1), 1),
    "15 hot pixels": _set(_pixels(15), 1),
    "150 hot pixels": _set(_pixels(150), 1),
    "a dead pixel": _set(_pixels(1), 0),
    "150 dead pixels": _set(_pixels(150), 0),
    "a hot column": _set(lambda _: np.s_[:, 100], 1),
    "a hot column of two pixels": _set(lambda _: np.s_[:, 100:102], 1),
    "a dead column": _set(lambda _: np.s_[:, 100], 0),
    "a band of dead rows": _set(lambda _: np.s_[50:54], 0),
    "a dead cell, 5 times as bright": dead_cells(1, 5),
    "a dead cell, 10 times as bright": dead_cells(1, 10),
    "a dead cell, 20 times as bright": dead_cells(1, 20),
    "three dead cells": dead_cells(3, 10),
    "small dead cells": dead_cells(8, 20, 150),
    "a narrow black border": _set(_edges(10), 0),
    "a wide black border": _set(_edges(40), 0),
    "a black edge": _set(_edges(40, "top"), 0),
    "a saturated border": _set(_edges(10), 1),
    "a wide saturated border": _set(_edges(40), 1),
    "a saturated edge": _set(_edges(40, "right"), 1),
    "a black and a saturated edge": lambda image: _set(_edges(20, "left"), 0)(_set(_edges(20, "top"), 1)(image)),
    "a black border and a hot column": lambda image: _set(lambda _: np.s_[:, 100], 1)(_set(_edges(10), 0)(image)),
    "black corners of a turned image": _turned,
    "a round field of view": _set(lambda _: _distance(SIDE_PX / 2, SIDE_PX / 2) > 200, 0),
    "glare in a corner": glare(20, 25),
    "strong glare in a corner": glare(100, 25),
    "a saturated bubble": _set(lambda _: _distance(60, 320) < 30, 1),
    "a scale bar": _set(lambda _: np.s_[360:366, 280:360], 1),
}


def empty_wells(seed: int = 1) -> dict[str, NDArray[np.uint16]]:
    """Give fields without a nucleus, by what there is in them."""
    plain = field(nuclei=0, seed=seed)[0]
    rng = np.random.default_rng(seed)
    noise, centre = rng.normal(0, 1, plain.shape), SIDE_PX / 2
    haze = ndimage.gaussian_filter(noise, 40)
    return {
        "noise": plain,
        "blurred noise": _as_uint16(110 + 6 * ndimage.gaussian_filter(noise, 3) / 0.094),
        "a gradient": _as_uint16(plain + np.linspace(0, 300, SIDE_PX)),
        "a vignette": unevenly_lit(0.8)(_as_uint16(plain + 400.0)),
        "haze": _as_uint16(plain + 60 * haze / haze.std() + 200),
        "a bright spot of light": glare(20, 60, centre, centre)(plain),
    }
