"""From the intensities of a camera to the grey levels that networks see, 0 to 255.

`minmax` is the paper's: the darkest pixel becomes 0 and the brightest 255, so that a single pixel decides how bright
nuclei are. `percentile` is the range from the 0.01th to the 99.99th percentile of what lies within blank edges. It ends
where something is several times as far from the background as the fainter nuclei (dead cells, glare), and a little
below the background unless more hangs together below it than above, as where nuclei are dark. It is never so narrow
that the noise of an empty well could be taken for nuclei: of pixels, and, where the level of a plate is known, whatever
is much fainter than the nuclei of its other fields. `robust` is the same rounded to whole grey levels, for
networks that were trained so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tasks.nuclei.errors import InputError

T = TypeVar("T")

Scaling = Literal["percentile", "minmax", "robust"]
"""How intensities become grey levels. A network must see its fields as it saw its ROIs."""
SCALINGS: tuple[Scaling, ...] = get_args(Scaling)
GreyLevels = NDArray[np.uint8 | np.float32]
"""From 0 to 255: uint8 by scalings with whole levels, float32 by the others."""

OUTLIER_SHARE = 1e-4
"""Of the pixels at either end; a pixel at least."""
MEDIAN_PX = 5
"""Side of the median filter. What is up to two pixels wide, such as a hot column, vanishes under it."""
LEAST_SHARE_INSIDE = 0.25
"""Of an image without its blank edges. If less is left, these are its background and no border."""
MOST_PIXELS = 200_000
"""That background and objects are looked at in; of larger images, every second pixel and row, every third, ..."""
MOST_SPREADS_BELOW = 5.0
"""What lies farther below the background is no part of a field of bright nuclei. The noise of a camera reaches 4."""
LEAST_NOISES_OF_OBJECT = 4.0
"""What lies farther from the background than noise reaches, and hangs together, is an object."""
MOST_SHARE_OF_FIELD = 0.01
"""That one object counts for: glare may cover more than all nuclei."""
SIZE_COUNTS = 1.5
"""Power of its area that an object counts for: many specks of debris count less than one nucleus."""
FAINT_SHARE = 1 / 3
"""The objects that the brightness of nuclei is taken from: this share of all that counts is fainter or equal. Dead
cells are brighter than nuclei, and where nuclei are few they cover as much. Where they cover several times as much they
are taken for the nuclei; a smaller share would saturate the mitotic nuclei of ordinary fields."""
BRIGHT_PERCENTILE = 95
"""Of an object's pixels: its brightness. A dead cell that touches a nucleus is a small part of both."""
BRIGHTEST_PERCENTILE = 99
"""Of the pixels of nuclei that a dead cell touches: how bright they are at most."""
MOST_TIMES_NUCLEI = 4.0
"""What is so many times as bright as the fainter nuclei is none. A network finds nuclei of a quarter of the range, and
hardly any of an eighth."""
LEAST_NOISES = 30.0
"""The grey levels cover at least so many times the noise, so that no network sees nuclei in that of an empty well.
Fields with nuclei have 40 and more."""
LEAST_SHARE_OF_PLATE = 1 / 2
"""The grey levels of a field cover at least this share of what those of its plate's brighter fields do. Nuclei an
eighth as bright as these are still found, and nothing in an empty well whose light varies by a tenth."""
LEVEL_QUANTILES = (0.75, 0.95)
"""The brighter fields of a plate lie between these: not the wells that are empty, nor a few with dead cells."""


def recorded_scaling(name: str | None) -> Scaling:
    """Give the scaling that a network, a ROI file or the params of one name.

    None stands for those from before there was a choice, which name none: they are by `minmax`. Raises InputError for
    one that this program doesn't know.
    """
    if name is None:
        return "minmax"
    known: dict[str, Scaling] = {scaling: scaling for scaling in SCALINGS}
    if name not in known:
        raise InputError(
            f"The intensity scaling is {name!r}, and this program knows {', '.join(known)}; "
            "use the version of the program that this was made with."
        )
    return known[name]


def brighter(fields: Sequence[T], brightness: Sequence[float], most: int) -> list[T]:
    """Choose some fields of a plate whose nuclei are as bright as is usual there, `most` at most."""
    if not fields:
        return []
    order = np.argsort(brightness, kind="stable")
    ranks = np.ceil(np.linspace(*LEVEL_QUANTILES, most) * len(fields)).astype(int) - 1
    return [fields[order[rank]] for rank in dict.fromkeys(ranks.tolist())]


def least_span(images: Iterable[NDArray[Any]]) -> float:
    """Give how many intensities the grey levels of each field of a plate cover at least, by some bright fields."""
    spans = [seen.high - seen.low for seen in map(robust_range, images)]
    return LEAST_SHARE_OF_PLATE * float(np.median(spans)) if spans else 0.0


def grey_levels(image: NDArray[Any], scaling: Scaling, least_span: float = 0.0) -> GreyLevels:
    """Scale a finite (y, x) image to 0..255; a constant image is all 0.

    Of all scalings but `minmax`, the range has at least `least_span` intensities.

    `minmax`: its minimum is 0 and its maximum 255; uint8. `percentile`: the range is that of `robust_range`, and edges
    of one intensity throughout that are brighter, as stitching or a light leak leave them, are 0; float32. `robust`:
    the same as uint8.
    """
    if scaling == "minmax":
        return _whole(_stretched(image, Range(float(image.min()), float(image.max()))))
    smooth = _smoothed(image)
    inside = _without_blank_edges(smooth)
    low, high = _range_of(image[inside], smooth[inside])
    chosen = Range(low, max(high, low + least_span))
    grey = _stretched(image, chosen)
    outside = np.ones(image.shape, np.bool_)
    outside[inside] = False
    grey[outside & (image > chosen.high)] = 0
    return grey if scaling == "percentile" else _whole(grey)


class Range(NamedTuple):
    """Intensities that become 0 and 255."""

    low: float
    high: float


def robust_range(image: NDArray[Any]) -> Range:
    """Give the range of a finite (y, x) image that its nuclei are seen in, whatever outliers it has.

    Nuclei are what is brighter than the background, or darker if more of that hangs together within the image. An
    empty well has none: there, what is dark isn't told from dirt.
    """
    smooth = _smoothed(image)
    inside = _without_blank_edges(smooth)
    return _range_of(image[inside], smooth[inside])


def _stretched(image: NDArray[Any], seen: Range) -> NDArray[np.float32]:
    """Give grey levels: 0 up to the low end of the range, 255 from the high one on."""
    if seen.low >= seen.high:
        return np.zeros(image.shape, np.float32)
    scaled = (image.astype(np.float32) - np.float32(seen.low)) * np.float32(255 / (seen.high - seen.low))
    return scaled.clip(0, 255)


def _whole(grey: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(grey).astype(np.uint8)


def _smoothed(image: NDArray[Any]) -> NDArray[Any]:
    """Give the image after the median filter; of types that it doesn't know, as float32."""
    if image.dtype not in (np.uint8, np.uint16):
        limits = np.finfo(np.float32)
        image = image.clip(limits.min, limits.max).astype(np.float32)
    return np.asarray(cv2.medianBlur(np.ascontiguousarray(image), MEDIAN_PX))


def _without_blank_edges(smooth: NDArray[Any]) -> tuple[slice, slice]:
    """Give the part of a smoothed image whose outer rows and columns aren't of one intensity.

    Such edges come from stitching, from registration, or from a saturated light leak.
    """
    whole = inside = (slice(0, smooth.shape[0]), slice(0, smooth.shape[1]))
    while True:
        seen = smooth[inside]
        spans = []
        for part, axis in zip(inside, (1, 0), strict=True):
            varied = np.flatnonzero(seen.min(axis) < seen.max(axis))
            if not len(varied):
                return whole
            spans.append(slice(part.start + int(varied[0]), part.start + int(varied[-1]) + 1))
        if tuple(spans) == inside:
            return inside if seen.size >= LEAST_SHARE_INSIDE * smooth.size else whole
        inside = (spans[0], spans[1])


def _range_of(pixels: NDArray[Any], smooth: NDArray[Any]) -> Range:
    """Give the range of an image without blank edges, and with its smoothed one."""
    darkest, brightest = _extremes(pixels)
    # A single small nucleus of a large field has fewer pixels than are left out.
    darkest, brightest = min(darkest, float(smooth.min())), max(brightest, float(smooth.max()))
    step = max(1, round((pixels.size / MOST_PIXELS) ** 0.5))
    few, few_smooth = (part[::step, ::step].astype(np.float64) for part in (pixels, smooth))
    background = _background(few, few_smooth)
    # Whole numbers that hardly vary have no noise that could be measured.
    noise = max(background.noise, 1.0) if pixels.dtype.kind in "ui" else background.noise
    above = few_smooth - background.level
    least = LEAST_NOISES_OF_OBJECT * noise
    bright, dark = _objects(above > least, above), _objects(_within(-above > least), -above)
    nuclei = dark if dark.counts.sum() > bright.counts.sum() else bright
    below = min(background.level - darkest, MOST_SPREADS_BELOW * max(background.spread, noise))
    most = MOST_TIMES_NUCLEI * (below + _brightness_of_faint(nuclei)) - below
    if nuclei is dark:
        below = max(below, _reach(dark, most, background.level - darkest))
    low = background.level - below
    high = background.level + _reach(bright, most, brightest - background.level)
    return Range(low, max(high, low + LEAST_NOISES * background.noise))


def _extremes(pixels: NDArray[Any]) -> Range:
    """Give the lowest and the highest intensity but for the outlying pixels at either end."""
    left_out = min(max(int(pixels.size * OUTLIER_SHARE), 1), (pixels.size - 1) // 2)
    ranks = (left_out, pixels.size - 1 - left_out)
    if pixels.dtype in (np.uint8, np.uint16):  # Ten times as fast as to rank them.
        levels = np.iinfo(pixels.dtype).max + 1
        counted = np.cumsum(cv2.calcHist([np.ascontiguousarray(pixels)], [0], None, [levels], [0, levels]), dtype=float)
        return Range(*(float(np.searchsorted(counted, rank, side="right")) for rank in ranks))
    ranked = np.partition(pixels.ravel(), ranks)
    return Range(*(float(ranked[rank]) for rank in ranks))


class Background(NamedTuple):
    """What lies between nuclei."""

    level: float
    spread: float
    """How far below its level a tenth of it lies: noise, and shading by the microscope."""
    noise: float
    """Standard deviation of a pixel."""


def _background(image: NDArray[np.float64], smooth: NDArray[np.float64]) -> Background:
    """Measure the background of an image and of the same after the median filter."""
    noise = 1.4826 * float(np.median(np.abs(image - smooth)))
    values = np.sort(smooth.ravel())
    level = _densest(values[values < values[-1]] if values[0] < values[-1] else values)
    # Blank corners, as of a turned image or a round field of view, are no background.
    lit = values[values > values[0]]
    tenth = lit[len(lit) // 10] if len(lit) else level
    return Background(level, float(level - tenth), noise)


def _densest(values: NDArray[np.float64]) -> float:
    """Give the middle of the shortest interval that holds a quarter of sorted values.

    Unlike the median it lies in the background where nuclei cover most of the field.
    """
    quarter = max(len(values) // 4, 1)
    first = int(np.argmin(values[quarter - 1 :] - values[: len(values) - quarter + 1]))
    return float(values[first] + values[first + quarter - 1]) / 2


class Objects(NamedTuple):
    """What stands out of the background and hangs together: nuclei, touching nuclei, nuclei with their cells' rest."""

    brightness: NDArray[np.float64]
    """(n,), above the background, or below it where they are dark."""
    counts: NDArray[np.float64]
    """(n,), what each counts for."""
    values: NDArray[np.float64]
    """Of all pixels, one object after the other, each in order."""
    ends: NDArray[np.integer]
    """(n,), where the next object's values begin."""


def _objects(found: NDArray[np.bool_], above: NDArray[np.float64]) -> Objects:
    """Take the pixels that were found apart into objects."""
    labels, count = ndimage.label(found)
    values, numbers = above[found], labels[found] - 1
    order = np.lexsort((values, numbers))
    values, numbers = values[order], numbers[order]
    areas = np.bincount(numbers, minlength=count)
    ends = np.cumsum(areas)
    brightness = values[ends - 1 - areas * (100 - BRIGHT_PERCENTILE) // 100]
    counts = np.minimum(areas, max(MOST_SHARE_OF_FIELD * above.size, 1)) ** SIZE_COUNTS
    return Objects(brightness, counts, values, ends)


def _within(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave out what reaches an edge of the image, as borders, corners, and dead rows and columns do."""
    labels, _ = ndimage.label(found)
    return found & ~np.isin(labels, np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))


def _brightness_of_faint(objects: Objects) -> float:
    """Give the brightness that the fainter objects don't exceed, infinite without any."""
    if not len(objects.counts):
        return np.inf
    order = np.argsort(objects.brightness, kind="stable")
    shares = np.cumsum(objects.counts[order])
    return float(objects.brightness[order][np.searchsorted(shares, FAINT_SHARE * shares[-1])])


def _reach(objects: Objects, most: float, farthest: float) -> float:
    """Give how far from the background the range goes: to its farthest pixel, or to that of what may be nuclei."""
    if farthest <= most:
        return farthest
    reached = [0.0]
    for brightness, values in zip(objects.brightness, np.split(objects.values, objects.ends), strict=False):
        if values[-1] <= most:
            reached.append(values[-1])
        elif brightness <= most:
            # A dead cell that touches nuclei has flanks that are as bright as they are.
            reached.append(np.percentile(values[values <= most], BRIGHTEST_PERCENTILE))
    return float(max(reached))
