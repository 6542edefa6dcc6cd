"""Tests of tasks.nuclei.plates.pixel_size."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.pixel_size import (
    NOT_STATED,
    PixelSize,
    disagreement,
    doubt,
    first_stated,
    pixel_size,
    pixel_size_of_image,
)

PATH = Path("images/a.tif")
METASERIES = (
    '<MetaData><PlaneInfo><prop id="spatial-calibration-x" type="float" value="0.65"/>'
    '<prop id="spatial-calibration-y" type="float" value="0.65"/>'
    '<prop id="spatial-calibration-units" type="string" value="um"/></PlaneInfo></MetaData>'
)


def tiff(**options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((20, 30), np.uint16), **options)
    return file.getvalue()


def ome(y: float, x: float, unit: str | None) -> bytes:
    units = {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit} if unit else {}
    return tiff(ome=True, metadata={"axes": "YX", "PhysicalSizeX": x, "PhysicalSizeY": y, **units})


def imagej(size: float, unit: str | None) -> bytes:
    return tiff(imagej=True, resolution=(1 / size, 1 / size), metadata={"unit": unit} if unit else {})


def tags(pixels: float, unit: int) -> bytes:
    return tiff(resolution=(pixels, pixels), resolutionunit=unit, metadata=None)


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        *((0.65, unit) for unit in ("µm", "\N{GREEK SMALL LETTER MU}m", "um", "micron", "microns", "Micrometer")),
        *((0.65, unit) for unit in ("micrometre", "micrometers", "\\u00B5m", " µm ")),
        *((650, unit) for unit in ("nm", "nanometer", "nanometre")),
        *((6500, unit) for unit in ("Å", "angstrom", "\N{ANGSTROM SIGN}")),
        (650_000, "pm"),
        (0.65e-3, "mm"),
        (0.65e-4, "cm"),
        (0.65e-6, "m"),
        *((0.65 / 25_400, unit) for unit in ("in", "inch", "inches")),
    ],
)
def test_every_unit_of_length_is_known(value: float, unit: str) -> None:
    assert pixel_size(value, unit).um == pytest.approx(0.65)


@pytest.mark.parametrize("value", [None, "", "wide", 0, -1, float("nan"), float("inf")])
def test_what_is_no_positive_number_states_nothing(value: Any) -> None:
    assert pixel_size(value, "µm") == NOT_STATED


@pytest.mark.parametrize(
    "content",
    [
        ome(0.65, 0.65, "µm"),
        ome(0.65, 0.65, None),
        ome(0.65e-3, 0.65e-3, "mm"),
        ome(0.65, 0.6500001, "µm"),
        imagej(0.65, "micron"),
        imagej(0.65, "\\u00B5m"),
        imagej(650, "nm"),
        imagej(0.65e-4, "cm"),
        tags(1 / 0.65e-4, 3),
        tags(25_400 / 0.65, 2),
        tiff(description=METASERIES, metadata=None, software="MetaSeries"),
    ],
)
def test_an_image_states_its_pixel_size_in_one_of_many_ways(content: bytes) -> None:
    assert pixel_size_of_image(content, PATH).um == pytest.approx(0.65, rel=1e-4)


@pytest.mark.parametrize(
    "content",
    [
        tiff(),
        tiff(ome=True),
        tiff(imagej=True),
        imagej(1, "pixel"),
        tags(72, 2),
        tags(96, 2),
        tags(300, 2),
        tags(28.35, 3),
        tags(0, 2),
        tags(1.5, 1),
        b"\x89PNG",
    ],
)
def test_resolutions_of_screens_and_printers_state_nothing(content: bytes) -> None:
    assert pixel_size_of_image(content, PATH) == NOT_STATED


@pytest.mark.parametrize(
    ("content", "stated"),
    [
        (ome(0.65, 0.65, "pixel"), "0.65 pixel"),
        (ome(0.65, 0.65, "reference frame"), "0.65 reference frame"),
        (imagej(0.65, None), "0.65 without a unit"),
        (imagej(2, "pixel"), "2 pixel"),
    ],
)
def test_a_size_without_a_unit_of_length_is_kept_as_it_is_stated(content: bytes, stated: str) -> None:
    assert pixel_size_of_image(content, PATH) == PixelSize(None, stated)


def test_pixels_that_are_not_square_are_refused() -> None:
    with pytest.raises(InputError, match=r"images/a\.tif: has pixels of 0\.3 x 0\.65 µm \(height x width\)"):
        pixel_size_of_image(ome(0.3, 0.65, "µm"), PATH)


@pytest.mark.parametrize(
    ("stated", "given", "agree"),
    [(0.6500001, 0.65, True), (0.108333, 0.108, True), (0.1005, 0.1, True), (0.645, 0.65, False), (0.65, 0.325, False)],
)
def test_sizes_agree_if_one_may_be_the_other_rounded_to_three_digits(stated: float, given: float, agree: bool) -> None:
    assert (disagreement({"images/a.tif": PixelSize(stated)}, given) == []) == agree


def test_what_many_images_state_is_said_once() -> None:
    sizes = {"a": NOT_STATED, "b": PixelSize(0.65), "c": PixelSize(0.65), "d": PixelSize(None, "2 pixel")}
    (problem,) = disagreement(sizes, 0.216)
    assert problem.startswith("b and 1 more: has pixels of 0.65 µm, and the plate's are 0.216 µm")
    assert doubt(sizes, 0.216) == {"d": "states a pixel size of 2 pixel, which is no length; 0.216 µm is used"}
    assert doubt({"a": NOT_STATED}, 0.216) == {}


def test_the_first_stated_size_is_that_of_the_plate_and_no_more_images_are_read() -> None:
    sizes = iter([NOT_STATED, PixelSize(0.65), PixelSize(0.3)])
    assert first_stated(sizes, Path("plate.json")) == 0.65
    assert list(sizes) == [PixelSize(0.3)]
    with pytest.raises(InputError, match=r"plate\.json: pixel_size_um is not given, and no image states it"):
        first_stated([NOT_STATED], Path("plate.json"))


@pytest.mark.parametrize("um", [264.6, 85, 0.001])
def test_a_size_that_no_microscope_has_is_not_that_of_a_plate(um: float) -> None:
    with pytest.raises(InputError, match=rf"an image states {um} µm, which no light microscope has; .*0\.01 to 10 µm"):
        first_stated([NOT_STATED, PixelSize(um)], Path("plate.json"))


def test_a_size_of_some_images_that_is_used_for_all_is_said() -> None:
    sizes = {"a": NOT_STATED, "b": PixelSize(0.65), "c": PixelSize(0.65)}
    assert doubt(sizes, 0.65) == {}
    (says,) = doubt(sizes, 0.65, size_is_of_images=True).values()
    assert says.startswith("states a pixel size of 0.65 µm, which is used for all images; 2 of 3 images state it")
    assert doubt(dict.fromkeys("abc", PixelSize(0.65)), 0.65, size_is_of_images=True) == {}
