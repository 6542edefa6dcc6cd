"""From a field to its nuclei by thresholds and a watershed, as in the paper's pipeline for preliminary labels.

Lengths are shares of the diameter that the plate's nuclei have.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from tasks.methods.classical.method import Settings
from tasks.methods.classical.necks import parted
from tasks.nuclei.intensity import GreyLevels
from tasks.nuclei.segmentation import Nuclei, within_limits
from tasks.nuclei.targets import inner_border

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]

SMOOTHING, LEAST_SMOOTHING_PX = 0.03, 1.0
"""Sigma of the Gaussian that takes the noise away."""
BACKGROUND = 2.0
"""Side of the window whose darkest part is background."""
COARSE_PX = 6.0
"""Diameter of a nucleus in the smaller image that the background is found in."""
AROUND = 0.7
"""Sigma of the Gaussian that gives the mean around a pixel."""
LEAST_NOISES = 5.0
"""What is found is above the background by so many times its spread at least."""
LEAST_GREY_LEVELS = 20.0
"""The same in grey levels, of which the fainter nuclei of a field have 64 or more."""
MOST_SAMPLED = 200_000
"""Pixels that the background's spread is taken from."""
LARGEST_HOLE = 0.3
"""Holes up to this share of a nucleus's area are filled."""
REACH = 0.1
"""Nuclei grow by so much at most beyond where they were parted."""


WIDEST_EDGE, WIDEST_EDGE_PX = 0.65, 20.0
"""Width of an edge, of a nucleus of the diameter 1 and at all: a Gaussian spot of light has 0.68 or more, nuclei of
40 px and more have 0.5 or less, and small ones are as blurred as their microscope makes them."""


class Seen(NamedTuple):
    """A field as nuclei are looked for in it."""

    light: Floats
    """(y, x) grey levels above the background, smoothed."""
    around: Floats
    """(y, x) its mean around each pixel."""
    whole: Floats
    """(y, x) grey levels above the darkest place of the field, smoothed, with the background."""
    otsu: float
    """The threshold that parts it best into two; Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9, 1979."""
    least: float
    """What is fainter can't be told from the background."""
    diameter_px: float
    """Of the plate's nuclei."""


def look_at(grey: GreyLevels, diameter_px: float) -> Seen:
    """Take noise and background away from a field (y, x) whose nuclei are about `diameter_px` across."""
    smooth = _blurred(grey.astype(np.float32), max(SMOOTHING * diameter_px, LEAST_SMOOTHING_PX))
    whole = smooth - smooth.min()
    light = whole - np.maximum(background_of(whole, diameter_px), 0)
    around = _blurred(light, AROUND * diameter_px)
    otsu = float(threshold_otsu(light)) if np.ptp(light) else np.inf
    return Seen(light, around, whole, otsu, least_light(light), diameter_px)


def background_of(smooth: Floats, diameter_px: float) -> Floats:
    """Give the light (y, x) that varies more slowly than nuclei: a morphological opening, smoothed."""
    scale = min(COARSE_PX / diameter_px, 1.0)
    height, width = (max(round(scale * side), 1) for side in smooth.shape)
    coarse = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_AREA)
    side = 2 * round(BACKGROUND * scale * diameter_px / 2) + 1
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    # At the edges, an opening would leave a ridge of light that rises towards them.
    trend = trend_of(_opened(coarse, disk))
    even = trend + _blurred(_opened(coarse - trend, disk), side / 4)
    background: Floats = cv2.resize(even, smooth.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return background


def trend_of(image: Floats) -> Floats:
    """Give the second-order polynomial that fits an image (y, x) best."""
    y, x = (axis.ravel() for axis in np.mgrid[: image.shape[0], : image.shape[1]] / max(image.shape))
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    factors = np.linalg.lstsq(terms, image.ravel().astype(np.float64), rcond=None)[0]
    return np.asarray(terms @ factors, np.float32).reshape(image.shape)


def least_light(light: Floats) -> float:
    """Give what the background of (y, x) light doesn't reach: its level and some times its spread below that.

    The level is the middle of the densest quarter of all pixels, which nuclei are brighter than; the spread is 1.48
    times the median deviation, which of normal noise is the standard deviation.
    """
    step = max(1, round((light.size / MOST_SAMPLED) ** 0.5))
    values = np.sort(light[::step, ::step].ravel())
    quarter = max(len(values) // 4, 1)
    first = int(np.argmin(values[quarter - 1 :] - values[: len(values) - quarter + 1]))
    level = values[first + quarter // 2]
    spread = 1.4826 * np.median(level - values[values <= level])
    return float(level + max(LEAST_NOISES * spread, LEAST_GREY_LEVELS))


def nuclei_in(seen: Seen, settings: Settings) -> Nuclei:
    """Find the nuclei of a field."""
    bright = seen.light > max(settings.threshold_share * seen.otsu, seen.least)
    # Between nuclei that nearly touch it is darker than around, however bright.
    found = bright & (seen.light > settings.local_share * seen.around)
    found = without_holes(found, LARGEST_HOLE * np.pi / 4 * seen.diameter_px**2)
    parts = parted(found, seen.light, settings.neck, seen.diameter_px)
    label_image = outlined(grown(parts, bright, REACH * seen.diameter_px), seen.light, settings.outline_level)
    return within_limits(without_haze(label_image, seen.whole), None, settings)


def without_holes(found: NDArray[np.bool_], largest_px: float) -> NDArray[np.bool_]:
    """Fill the holes of a foreground (y, x) up to an area in px."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~found).view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    is_hole = stats[:, cv2.CC_STAT_AREA] <= largest_px
    is_hole[0] = False
    filled: NDArray[np.bool_] = found | is_hole[labels]
    return filled


def grown(parts: Labels, room: NDArray[np.bool_], reach_px: float) -> Labels:
    """Let parts (y, x) grow into the room around them, of which each pixel goes to the nearest."""
    distance, nearest = cv2.distanceTransformWithLabels(
        (parts == 0).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    inside = parts > 0
    part_of = np.zeros(int(nearest.max()) + 1, np.int32)
    part_of[nearest[inside]] = parts[inside]
    return np.where(inside | (room & (distance <= reach_px)), part_of[nearest], 0).astype(np.int32)


def outlined(parts: Labels, light: Floats, level: float) -> Labels:
    """Leave of each part (y, x) what is brighter than a share of its own mean."""
    flat = parts.ravel()
    sums, areas_px = np.bincount(flat, light.ravel()), np.bincount(flat)
    least = (level * sums / np.maximum(areas_px, 1)).astype(np.float32)
    return np.where(light > least[parts], parts, 0)


def without_haze(label_image: Labels, whole: Floats) -> Labels:
    """Remove what has no edge: of these, light takes too long to fall from the brightest to nothing, by its slope at
    the outline.
    """
    border = inner_border(label_image)
    along_y, along_x = (cv2.Sobel(whole, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((0, 1), (1, 0)))
    areas_px, of_border = np.bincount(label_image.ravel()), label_image[border]
    slopes = np.bincount(of_border, np.hypot(along_y, along_x)[border], len(areas_px))
    brightest = np.zeros(len(areas_px), np.float32)
    np.maximum.at(brightest, label_image.ravel(), whole.ravel())
    widest_px = np.maximum(WIDEST_EDGE_PX, WIDEST_EDGE * np.sqrt(4 * areas_px / np.pi))
    has_edge = brightest * np.bincount(of_border, minlength=len(areas_px)) < widest_px * slopes
    return np.where(has_edge[label_image], label_image, 0)


def _opened(image: Floats, disk: NDArray[np.uint8]) -> Floats:
    opened: Floats = cv2.morphologyEx(image, cv2.MORPH_OPEN, disk, borderType=cv2.BORDER_REFLECT)
    return opened


def _blurred(image: Floats, sigma_px: float) -> Floats:
    blurred: Floats = cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return blurred
