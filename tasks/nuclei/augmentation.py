"""Augmented training ROIs, after the paper's section "Image Augmentation".

A ROI is cut from a scaled field at a random place. Then one geometry (flip or rotation) is applied, and
with the probability of each intensity class (contrast, blur, noise) one method of that class. Labels, and
what is ignored, follow the geometry only. All random numbers of a ROI come from one generator, so a ROI depends on
nothing but its own seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from tasks.nuclei.annotated_windows import AnnotatedWindows
from tasks.nuclei.empty_fields import empty_field
from tasks.nuclei.imgaug_on_numpy2 import SegmentationMapsOnImage
from tasks.nuclei.imgaug_on_numpy2 import augmenters as iaa
from tasks.nuclei.intensity import GreyLevels
from tasks.nuclei.resizing import labels_resized

AugmentationName = Literal["Full", "Min_Blur", "Min_Contr", "Min_Noise", "Min_Scaling", "None", "Gentle"]
Range = tuple[float, float]
IntensityMethod = Callable[..., GreyLevels]
"""Takes `image`, (y, x, 1), and gives the same type."""

DrawnMethod = Callable[[np.random.Generator], IntensityMethod]
"""A method whose strength is drawn at random."""

# This is OpenCV's default. Without it, imgaug draws a different size each time from a generator of its own.
CLAHE_TILE_PX = 8


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a ROI. The defaults are the paper's "Full"."""

    empty_share: float = 0.0
    """Share of the ROIs that are made up, without a nucleus."""
    scales: tuple[float, ...] = (1 / 3, 2 / 3, 1.0, 4 / 3, 2.0)
    """Magnifications of the field; each gets the same number of ROIs."""
    scale_jitter: float = 0.0
    """Each ROI's scale is multiplied by a random factor in [1 / (1 + jitter), 1 + jitter]."""
    rotation_step_deg: int = 45
    contrast_probability: float = 0.5
    blur_probability: float = 0.5
    noise_probability: float = 0.5
    clahe_clip_limit: Range = (5, 50)
    gamma: Range = (0.01, 2.5)
    saturated_percent: Range = (0, 12.5)
    """Share of the brightest and of the darkest pixels that are clipped."""
    median_kernel_px: Range = (1, 5)
    gaussian_blur_sigma_px: Range = (1, 9)
    impulse_noise: Range = (0.001, 0.15)
    poisson_noise: Range = (0, 20)
    gaussian_noise_sigma: Range = (0.001, 0.1)
    """As a share of 255."""
    dropout: Range = (0.01, 0.1)
    salt_and_pepper: Range = (0.001, 0.05)


FULL = Augmentation()
NONE = replace(FULL, scales=(1.0,), contrast_probability=0, blur_probability=0, noise_probability=0)
PRESETS: dict[AugmentationName, Augmentation] = {
    "Full": FULL,
    "Min_Blur": replace(FULL, blur_probability=0),
    "Min_Contr": replace(FULL, contrast_probability=0),
    "Min_Noise": replace(FULL, noise_probability=0),
    "Min_Scaling": replace(FULL, scales=(1.0,)),
    "None": NONE,
    # This preset isn't the paper's. It keeps to what the same microscope can show, for trainings that take minutes.
    "Gentle": replace(
        FULL,
        empty_share=0.04,
        scales=(0.75, 1.0, 1.33),
        scale_jitter=0.15,
        contrast_probability=0.7,
        blur_probability=0.2,
        noise_probability=0.3,
        clahe_clip_limit=(1, 5),
        gamma=(0.5, 1.5),
        saturated_percent=(0, 2),
        median_kernel_px=(3, 3),
        gaussian_blur_sigma_px=(0.5, 1.2),
        impulse_noise=(0.0005, 0.005),
        poisson_noise=(1, 8),
        gaussian_noise_sigma=(0.001, 0.03),
        dropout=(0.001, 0.01),
        salt_and_pepper=(0.0005, 0.005),
    ),
}


@dataclass(frozen=True)
class Roi:
    """One augmented ROI: `image` (y, x) of the field's type, `label_image` (y, x) uint16 with labels 1..n."""

    image: GreyLevels
    label_image: NDArray[np.uint16]
    scale: float
    window: tuple[int, int, int, int]
    """Where it was cut from the field: y, x, height, width in px; it may extend beyond the field's edges. One that was
    made up has a height and width of 0."""
    ignored: NDArray[np.bool_] | None = None
    """Which pixels of it aren't annotated, (y, x); none if it isn't given."""


def augmented_roi(
    image: GreyLevels,
    label_image: NDArray[np.integer],
    scale: float,
    roi_px: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
    in_part: AnnotatedWindows | None = None,
) -> Roi:
    """Cut and augment one ROI of `roi_px` x `roi_px` from a field, (y, x) both, that may be annotated in part.

    Where the field is smaller than the ROI at this scale, it is mirrored at its edges.
    """
    if augmentation.empty_share and rng.random() < augmentation.empty_share:
        return _empty_roi(image.dtype, scale, roi_px, rng)
    scale *= (1 + augmentation.scale_jitter) ** rng.uniform(-1, 1)
    geometry, is_diagonal = _random_geometry(augmentation.rotation_step_deg, rng)
    # A ROI turned by an odd multiple of 45 degrees reaches to the corners of a square sqrt(2) as wide.
    wide_px = int(np.ceil(roi_px * np.sqrt(2))) if is_diagonal else roi_px
    window = _random_window(image.shape, wide_px, roi_px, scale, in_part, rng)
    wide_image = _resized(_cut(image, window), wide_px, cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    wide_labels = labels_resized(_cut(label_image, window), (wide_px, wide_px))
    if in_part is not None:
        # What is ignored takes the way of the labels, as their second channel.
        wide_ignored = labels_resized(_cut(in_part.ignored, window), (wide_px, wide_px))
        wide_labels = np.dstack([wide_labels, wide_ignored])
    segmap = SegmentationMapsOnImage(wide_labels, wide_labels.shape)
    turned_image, turned_segmap = geometry(image=wide_image[:, :, np.newaxis], segmentation_maps=segmap)
    roi_image = _central(turned_image, roi_px)
    for method in _intensity_methods(augmentation, rng):
        roi_image = method(image=roi_image)
    turned = _central(turned_segmap.arr, roi_px)
    # A crop can cut a nucleus into pieces, and mirroring repeats its number: every piece is an instance.
    roi_labels = label(turned[:, :, 0], connectivity=1).astype(np.uint16)
    ignored = None if in_part is None else turned[:, :, 1] > 0
    return Roi(roi_image[:, :, 0].clip(0, 255), roi_labels, scale, window, ignored)


def _empty_roi(dtype: np.dtype[Any], scale: float, roi_px: int, rng: np.random.Generator) -> Roi:
    levels = empty_field(roi_px, rng)
    image = np.rint(levels) if dtype == np.uint8 else levels
    return Roi(image.astype(dtype), np.zeros((roi_px, roi_px), np.uint16), scale, (0, 0, 0, 0))


def _random_geometry(rotation_step_deg: int, rng: np.random.Generator) -> tuple[iaa.Augmenter, bool]:
    """Choose a flip or rotation, each equally likely, and tell whether it leaves the pixel grid."""
    turns = range(rotation_step_deg, 360, rotation_step_deg)
    chosen = rng.integers(2 + len(turns))
    if chosen < 2:
        return (iaa.Fliplr(1.0), iaa.Flipud(1.0))[chosen], False
    angle_deg = turns[chosen - 2]
    if angle_deg % 90 == 0:
        return iaa.Rot90(angle_deg // 90), False
    return iaa.Affine(rotate=angle_deg, order=1, mode="reflect"), True


def _random_window(
    field_shape: tuple[int, ...],
    wide_px: int,
    roi_px: int,
    scale: float,
    in_part: AnnotatedWindows | None,
    rng: np.random.Generator,
) -> tuple[int, int, int, int]:
    side_px = max(round(wide_px / scale), 1)
    if in_part is not None:
        # Of a square that is turned by 45 degrees, this much is seen whatever lies around it.
        shown_px = side_px if wide_px == roi_px else max(side_px // 2, 1)
        return *in_part.draw(side_px, shown_px, rng), side_px, side_px
    starts = [
        int(rng.integers(length - side_px + 1)) if length >= side_px else -((side_px - length) // 2)
        for length in field_shape
    ]
    return starts[0], starts[1], side_px, side_px


def _cut(field: NDArray[Any], window: tuple[int, int, int, int]) -> NDArray[Any]:
    y, x, height, width = window
    inside = field[max(y, 0) : y + height, max(x, 0) : x + width]
    if inside.shape == (height, width):
        return inside
    before_y, before_x = max(-y, 0), max(-x, 0)
    after_y, after_x = height - before_y - inside.shape[0], width - before_x - inside.shape[1]
    return np.pad(inside, ((before_y, after_y), (before_x, after_x)), mode="reflect")


def _resized(image: GreyLevels, side_px: int, interpolation: int) -> GreyLevels:
    if image.shape == (side_px, side_px):
        return image
    resized: GreyLevels = cv2.resize(image, (side_px, side_px), interpolation=interpolation)
    return resized


def _central(array: NDArray[Any], side_px: int) -> NDArray[Any]:
    start = (array.shape[0] - side_px) // 2
    return array[start : start + side_px, start : start + side_px]


def _intensity_methods(augmentation: Augmentation, rng: np.random.Generator) -> list[IntensityMethod]:
    """Draw for each class whether it is applied, and one of its methods, in the order contrast, blur, noise."""
    classes = (
        (augmentation.contrast_probability, _contrast_methods),
        (augmentation.blur_probability, _blur_methods),
        (augmentation.noise_probability, _noise_methods),
    )
    chosen = []
    for probability, methods_of_class in classes:
        if rng.random() < probability:
            methods = methods_of_class(augmentation)
            chosen.append(methods[rng.integers(len(methods))](rng))
    return chosen


def _contrast_methods(ranges: Augmentation) -> list[DrawnMethod]:
    return [
        lambda rng: partial(_equalised, clip_limit=rng.uniform(*ranges.clahe_clip_limit)),
        lambda rng: partial(_with_gamma, gamma=rng.uniform(*ranges.gamma)),
        lambda rng: partial(_saturated, percent=rng.uniform(*ranges.saturated_percent)),
    ]


def _blur_methods(ranges: Augmentation) -> list[DrawnMethod]:
    smallest, largest = (int(kernel) // 2 for kernel in ranges.median_kernel_px)
    return [
        lambda rng: iaa.MedianBlur(2 * int(rng.integers(smallest, largest + 1)) + 1),
        lambda rng: iaa.GaussianBlur(rng.uniform(*ranges.gaussian_blur_sigma_px)),
    ]


def _noise_methods(ranges: Augmentation) -> list[DrawnMethod]:
    return [
        lambda rng: iaa.ImpulseNoise(rng.uniform(*ranges.impulse_noise), seed=_seed(rng)),
        lambda rng: iaa.AdditivePoissonNoise(rng.uniform(*ranges.poisson_noise), seed=_seed(rng)),
        lambda rng: iaa.AdditiveGaussianNoise(scale=255 * rng.uniform(*ranges.gaussian_noise_sigma), seed=_seed(rng)),
        lambda rng: iaa.Dropout(rng.uniform(*ranges.dropout), seed=_seed(rng)),
        lambda rng: iaa.SaltAndPepper(rng.uniform(*ranges.salt_and_pepper), seed=_seed(rng)),
    ]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _equalised(image: GreyLevels, clip_limit: float) -> GreyLevels:
    """Equalise the histogram in places (CLAHE). imgaug does it in whole grey levels; their fractions are kept."""
    whole = np.rint(image).astype(np.uint8)
    equalised: NDArray[np.uint8] = iaa.CLAHE(clip_limit=clip_limit, tile_grid_size_px=CLAHE_TILE_PX)(image=whole)
    with_fractions: GreyLevels = np.add(equalised, image - whole, dtype=image.dtype)
    return with_fractions


def _with_gamma(image: GreyLevels, gamma: float) -> GreyLevels:
    """Raise shares of the brightest intensity to the power of `gamma`. imgaug does it for whole grey levels alone."""
    if image.dtype != np.uint8:
        return np.asarray(255 * (image / 255) ** gamma, np.float32)
    changed: NDArray[np.uint8] = iaa.GammaContrast(gamma)(image=image)
    return changed


def _saturated(image: GreyLevels, percent: float) -> GreyLevels:
    """Clip `percent` of the darkest and of the brightest pixels and stretch the rest to 0..255."""
    low, high = np.percentile(image, (percent, 100 - percent))
    if high <= low:
        return image
    stretched: GreyLevels = np.clip((image - low) * (255 / (high - low)), 0, 255).astype(image.dtype)
    return stretched
