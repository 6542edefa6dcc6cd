"""The pixel size that an image file or an OME-Zarr plate states, in µm, whatever unit it is given in."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import tifffile

from tasks.nuclei.errors import InputError, first_of

PIXEL_SIZE_TOLERANCE = 0.005
"""Share by which two pixel sizes may differ: rounding to three digits changes a number by half a percent at most."""

CREDIBLE_UM = (0.01, 10)
"""Resolutions in dpi that printing has left, such as 72 or 300, are sizes of 85 µm and more; no microscope has them."""
CREDIBLE_IN_WORDS = "0.01 to 10 µm, the side of a pixel of the image as a number in µm (216 nm are 0.216)"

_PREFIXES_UM = {
    ("p", "pico"): 1e-6,
    ("n", "nano"): 1e-3,
    ("µ", "micro"): 1.0,
    ("u", "micro"): 1.0,
    ("m", "milli"): 1e3,
    ("c", "centi"): 1e4,
    ("d", "deci"): 1e5,
    ("", ""): 1e6,
}
_UNITS_UM = {
    **{f"{short}m": size for (short, _), size in _PREFIXES_UM.items()},
    **{f"{long}met{end}": size for (_, long), size in _PREFIXES_UM.items() for end in ("er", "re")},
    **dict.fromkeys(["micron", "\\u00b5m"], 1.0),
    **dict.fromkeys(["å", "angstrom", "ångström", "ångstrom"], 1e-4),
    **dict.fromkeys(["in", "inch", "inche"], 25_400.0),
}
"""Units of length in µm, in lower case and without the s of the plural."""

_INCH, _CENTIMETER = 2, 3
_RESOLUTION_UNITS = {_INCH: "inch", _CENTIMETER: "cm"}


class PixelSize(NamedTuple):
    """Side of a pixel as a file states it."""

    um: float | None
    """In µm; None if it isn't stated, or not in a unit of length."""
    stated: str = ""
    """What is stated without a unit of length, such as "0.65 pixel"."""


NOT_STATED = PixelSize(None)


def pixel_size(value: Any, unit: str | None) -> PixelSize:
    """Give a size in any unit of length; a size that isn't a positive number is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return NOT_STATED
    if not (math.isfinite(number) and number > 0):
        return NOT_STATED
    name = (unit or "").strip()
    factor = _UNITS_UM.get(name.lower().replace("\N{GREEK SMALL LETTER MU}", "µ").removesuffix("s"))
    return PixelSize(None, f"{number:.6g} {name or 'without a unit'}") if factor is None else PixelSize(number * factor)


def square(y: PixelSize, x: PixelSize) -> PixelSize:
    """Give the side of a pixel of this height and width; InputError if they differ."""
    if y.um is None or x.um is None:
        return y if y.um is not None or x == NOT_STATED else x
    if not _agree(y.um, x.um):
        raise InputError(
            f"has pixels of {y.um:.6g} x {x.um:.6g} µm (height x width); allowed are square ones: "
            "correct the pixel size in the image, or resample it."
        )
    return y


def pixel_size_of_image(data: bytes, path: Path) -> PixelSize:
    """Read the pixel size that the content of a TIFF file states; that of a PNG is that of a screen.

    Raises InputError if height and width of a pixel differ. Descriptions that can't be read state nothing.
    """
    return stated_in_image(data, path)[0]


def stated_in_image(data: bytes, path: Path) -> tuple[PixelSize, str]:
    """Do as `pixel_size_of_image`, and give what of the file states the size, in words."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            return _stated(tiff)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    # Each kind of description has its own types of errors.
    except Exception:
        return NOT_STATED, ""


def _stated(tiff: tifffile.TiffFile) -> tuple[PixelSize, str]:
    """Give the first size in a unit of length, or else the first in another, and what states it."""
    best = NOT_STATED, ""
    for read, words in (
        (_of_ome, "OME metadata"),
        (_of_metaseries, "MetaMorph's metadata"),
        (_of_lsm, "LSM metadata"),
        (_of_resolution, "TIFF tags"),
    ):
        size = read(tiff)
        if size.um is not None:
            return size, words
        best = best if best[0].stated else (size, words)
    return best


def first_stated(sizes: Iterable[PixelSize], plate_json: Path) -> float:
    """Give the first pixel size in µm, for a plate.json without one; InputError if none or no credible is stated."""
    for size in sizes:
        if size.um and not is_credible(size.um):
            raise InputError(
                f"{plate_json}: pixel_size_um is not given, and an image states {size.um:.6g} µm, which no light "
                f"microscope has; add pixel_size_um. Allowed are {CREDIBLE_IN_WORDS}."
            )
        if size.um:
            return size.um
    raise InputError(
        f"{plate_json}: pixel_size_um is not given, and no image states it in a unit of length; "
        'add the side of a pixel in µm, such as "pixel_size_um": 0.325.'
    )


def disagreement(stated: Mapping[str, PixelSize], pixel_size_um: float) -> list[str]:
    """Say once for all images, by their names, which state another pixel size than the plate's; empty if none does."""
    others = {name: size.um for name, size in stated.items() if size.um and not _agree(size.um, pixel_size_um)}
    if not others:
        return []
    names, um = first_of(list(others), 1), next(iter(others.values()))
    return [
        f"{names}: has pixels of {um:.6g} µm, and the plate's are {pixel_size_um:.6g} µm (pixel_size_um in "
        "plate.json, or the first image where it isn't given); correct the wrong one, in Fiji with Image > Properties"
    ]


def doubt(stated: Mapping[str, PixelSize], pixel_size_um: float, size_is_of_images: bool = False) -> dict[str, str]:
    """Say what a person should look at in the sizes that images state, under the images' names; empty if nothing.

    That is, once for all of them, a size without a unit, and one that was taken from some images for all of a plate.
    """
    without = {name: size.stated for name, size in stated.items() if size.stated}
    with_unit = [name for name, size in stated.items() if size.um]
    says = {}
    if without:
        size = next(iter(without.values()))
        says[first_of(list(without), 1)] = (
            f"states a pixel size of {size}, which is no length; {pixel_size_um:.6g} µm is used"
        )
    if size_is_of_images and 0 < len(with_unit) < len(stated):
        says[first_of(with_unit, 1)] = (
            f"states a pixel size of {pixel_size_um:.6g} µm, which is used for all images; {len(with_unit)} of "
            f"{len(stated)} images state it, and plate.json leaves it out"
        )
    return says


def is_credible(um: float | None) -> bool:
    """Whether a light microscope may have pixels of a size."""
    low, high = CREDIBLE_UM
    return um is not None and low <= um <= high


def _agree(one: float, other: float) -> bool:
    return abs(one / other - 1) <= PIXEL_SIZE_TOLERANCE


def _of_ome(tiff: tifffile.TiffFile) -> PixelSize:
    """OME-XML: PhysicalSizeX and Y of the first image, in µm unless a unit is given (OME schema 2016-06)."""
    if not tiff.is_ome or not tiff.ome_metadata:
        return NOT_STATED
    pixels = ElementTree.fromstring(tiff.ome_metadata).find("{*}Image/{*}Pixels")
    if pixels is None:
        return NOT_STATED
    y, x = (pixel_size(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "YX")
    return square(y, x)


def _of_metaseries(tiff: tifffile.TiffFile) -> PixelSize:
    """MetaMorph and MetaXpress, among them plates of ImageXpress."""
    plane = (tiff.metaseries_metadata or {}).get("PlaneInfo", {}) if tiff.is_metaseries else {}
    y, x = (
        pixel_size(plane.get(f"spatial-calibration-{axis}"), plane.get("spatial-calibration-units")) for axis in "yx"
    )
    return square(y, x)


def _of_lsm(tiff: tifffile.TiffFile) -> PixelSize:
    """Zeiss LSM: voxels in m."""
    metadata = (tiff.lsm_metadata or {}) if tiff.is_lsm else {}
    return square(*(pixel_size(metadata.get(f"VoxelSize{axis}"), "m") for axis in "YX"))


def _of_resolution(tiff: tifffile.TiffFile) -> PixelSize:
    """The tags of the resolution: pixels in a unit of ImageJ's description, in an inch or in a centimetre."""
    tags = tiff.pages.first.tags
    if "XResolution" not in tags or "YResolution" not in tags:
        return NOT_STATED
    sides = [_inverse(tags.valueof(name)) for name in ("YResolution", "XResolution")]
    unit = (tiff.imagej_metadata or {}).get("unit") if tiff.is_imagej else None
    if unit is None:
        unit = _RESOLUTION_UNITS.get(int(tags.valueof("ResolutionUnit", _INCH)))
    if unit is None and not tiff.is_imagej:
        return NOT_STATED
    y, x = (pixel_size(side, unit) for side in sides)
    if unit in _RESOLUTION_UNITS.values() and not all(is_credible(size.um) for size in (y, x)):
        return NOT_STATED
    if sides == [1, 1] and y.um is None:
        return NOT_STATED
    return square(y, x)


def _inverse(resolution: tuple[int, int]) -> float:
    pixels, length = resolution
    return length / pixels if pixels else 0.0
