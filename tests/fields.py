"""Fields of round nuclei with a camera's noise, of which each has others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def round_nuclei(
    seed: int = 0,
    shape: tuple[int, int] = (256, 256),
    nuclei: int = 20,
    radius_px: float = 12,
    background: float = 110,
    signal: float = 500,
    noise: float = 6,
) -> tuple[NDArray[np.uint16], NDArray[np.int32]]:
    """Give an image and its labels, (y, x).

    Nuclei differ in size, form and brightness, and don't overlap. Where they crowd there are fewer than asked for.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image, label_image = np.full(shape, float(background)), np.zeros(shape, np.int32)
    for _ in range(nuclei * 30):
        if label_image.max() == nuclei:
            break
        a, b = radius_px * rng.uniform(0.8, 1.2, 2)
        distance = np.hypot((y - rng.uniform(0, shape[0])) / a, (x - rng.uniform(0, shape[1])) / b)
        if not label_image[distance <= 1.15].any() and (distance <= 1).sum() > 30:
            label_image[distance <= 1] = label_image.max() + 1
            image += signal * rng.uniform(0.6, 1) / (1 + np.exp((distance - 1) * 12))
    image += rng.normal(0, noise, shape)
    return np.clip(np.rint(image), 0, 2**16 - 1).astype(np.uint16), label_image
