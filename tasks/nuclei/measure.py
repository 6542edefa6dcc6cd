"""Measures of label images and images: areas, pieces and intensities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd
import skimage.measure
from numpy.typing import NDArray

from tasks.nuclei.runs import row_runs
from tasks.nuclei.segmentation import Nuclei


@dataclass(frozen=True)
class Instances:
    """The nuclei of one label image; the arrays have one entry per nucleus."""

    numbers: NDArray[np.int64]
    """Labels, ascending; gaps are allowed."""
    areas_px: NDArray[np.int64]
    pieces: NDArray[np.int64]
    """Connected components; pixels that share only a corner are connected."""
    at_edge: NDArray[np.bool_]
    """Whether the nucleus touches an edge of the image, which cuts it."""


def measure_instances(label_image: NDArray[Any]) -> Instances:
    """Measure every nucleus of a (y, x) integer label image. Time and memory don't depend on the label numbers."""
    components, count = skimage.measure.label(label_image, background=0, connectivity=2, return_num=True)
    number_of_component = np.zeros(count + 1, np.int64)
    number_of_component[components] = label_image
    component_areas = np.bincount(components.ravel(), minlength=count + 1)
    numbers, instance = np.unique(number_of_component[1:], return_inverse=True)
    areas = np.zeros(len(numbers), np.int64)
    np.add.at(areas, instance, component_areas[1:])
    at_edge = np.isin(numbers, edge_pixels(label_image))
    return Instances(numbers, areas, np.bincount(instance, minlength=len(numbers)), at_edge)


def largest_pieces(label_image: NDArray[np.int32]) -> NDArray[np.int32]:
    """Keep the largest connected component of every label of a (y, x) image, the first of equally large ones.

    Pixels that share only a corner are not connected.
    """
    components, count = skimage.measure.label(label_image, background=0, connectivity=1, return_num=True)
    number_of_component = np.zeros(count + 1, np.int64)
    number_of_component[components] = label_image
    areas_px = np.bincount(components.ravel(), minlength=count + 1)
    by_label = np.lexsort((-areas_px, number_of_component))
    numbers = number_of_component[by_label]
    is_largest = np.zeros(count + 1, bool)
    is_largest[by_label[np.r_[True, numbers[1:] != numbers[:-1]]]] = True
    return np.where(is_largest[components], label_image, np.int32(0))


def edge_pixels(image: NDArray[Any]) -> NDArray[Any]:
    """Give the pixels of the four edges of a (y, x) image, in one row; corners come twice."""
    return np.concatenate((image[0], image[-1], image[:, 0], image[:, -1]))


def focus(image: NDArray[Any]) -> float:
    """Measure how sharp a (y, x) image is: variance of its Laplacian after a blur of 1 px, divided by its own variance.

    It doesn't change with brightness and contrast, and is 0 for a constant image. The variance of the Laplacian is a
    usual measure of focus (Pech-Pacheco et al. 2000); the blur keeps the camera's noise out of it.
    """
    pixels = image.astype(np.float32)
    variance = float(pixels.var())
    blurred = cv2.GaussianBlur(pixels, (0, 0), 1.0)
    return float(cv2.Laplacian(blurred, cv2.CV_32F).var()) / variance if variance else 0.0


def intensity_histogram(image: NDArray[Any]) -> NDArray[np.int64]:
    """Count the pixels of each intensity of a uint8 or uint16 image; 65,536 bins, so that histograms add up."""
    return np.bincount(image.ravel(), minlength=2**16)


def histogram_mean(histogram: NDArray[np.int64]) -> float:
    """Give the mean intensity of the pixels that an `intensity_histogram` counts."""
    return float(np.average(np.arange(len(histogram)), weights=histogram))


def histogram_percentile(histogram: NDArray[np.int64], percent: float) -> int:
    """Give the lowest intensity that at least `percent` % of the pixels don't exceed (numpy's `inverted_cdf`)."""
    cumulative = np.cumsum(histogram)
    return int(np.searchsorted(cumulative, cumulative[-1] * percent / 100))


def nuclei_table(nuclei: Nuclei, image: NDArray[np.integer]) -> pd.DataFrame:
    """Give one row per nucleus: label, area_px, centroid_y_px, centroid_x_px, mean_intensity, touches_edge, confidence.

    `image` is (y, x), the raw one, whose intensities are measured. A confidence is NaN where the method gives none.
    """
    label_image = nuclei.label_image
    runs = row_runs(label_image)
    label = runs.labels(label_image)

    # Floats, which hold sums of whole numbers exactly.
    def total(of_runs: NDArray[Any]) -> NDArray[Any]:
        return np.bincount(label, weights=of_runs)[1:]

    areas_px = total(runs.length_px).astype(np.int64)
    y, x = np.divmod(runs.first, label_image.shape[1])
    intensity = np.add.reduceat(image.ravel(), runs.first, dtype=np.int64)

    numbers = np.arange(1, len(areas_px) + 1)
    return pd.DataFrame(
        {
            "label": numbers,
            "area_px": areas_px,
            "centroid_y_px": (total(y * runs.length_px) / areas_px).round(2),
            "centroid_x_px": (total((x + (runs.length_px - 1) / 2) * runs.length_px) / areas_px).round(2),
            "mean_intensity": (total(intensity) / areas_px).round(3),
            "touches_edge": np.isin(numbers, edge_pixels(label_image)),
            "confidence": nuclei.confidences.astype(np.float64).round(3),
        }
    )
