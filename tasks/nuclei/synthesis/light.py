"""Light in the plane of the camera: chromatin, nucleoli, what else glows, blur."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tasks.nuclei.synthesis.cell_lines import NucleusKind
from tasks.nuclei.synthesis.conditions import Conditions
from tasks.nuclei.synthesis.cytoplasm import cytoplasm_light
from tasks.nuclei.synthesis.debris import debris_light
from tasks.nuclei.synthesis.placement import Nucleus
from tasks.nuclei.synthesis.shapes import Floats, Mask

MITOTIC_FRACTION = 0.02
MITOTIC_BRIGHTNESS = 2.0
EDGE_LEVEL = 0.35
"""Brightness at the outline relative to the middle, so that a dark line separates nuclei that touch."""
GHOST_BRIGHTNESS = 0.3
SCATTERED_FRACTION = 0.03
"""Part of the light that is scattered over a few nuclear diameters."""
TEXTURE_TILE_PX = 512


def render(
    kind: NucleusKind,
    nuclei: list[Nucleus],
    label_image: NDArray[np.uint16],
    conditions: Conditions,
    rng: np.random.Generator,
) -> Floats:
    """Give the light in the image plane, (y, x), 1 in a nucleus of mean brightness."""
    sharp, defocused, ghosts = np.zeros((3, *label_image.shape), np.float32)
    texture = _chromatin_texture(kind, rng)
    for nucleus in nuclei:
        own_light = _nucleus_light(kind, nucleus.mask, texture, rng)
        plane = defocused if rng.random() < kind.defocused_fraction else sharp
        _add_light(plane, nucleus, own_light)
        if rng.random() < kind.ghosts_per_nucleus:
            away = rng.normal(0, 2 * nucleus.radius, 2).astype(int)
            ghost = Nucleus(nucleus.mask, nucleus.top + away[0], nucleus.left + away[1])
            _add_light(ghosts, ghost, GHOST_BRIGHTNESS * own_light)
    radius = math.sqrt(kind.area_mean_px / math.pi)
    if conditions.cytoplasm:
        defocused += cytoplasm_light(conditions.cytoplasm, radius, sharp + defocused, label_image, rng)
    if conditions.debris_per_mpx:
        sharp += debris_light(conditions.debris_per_mpx, radius, label_image, rng)
    light: Floats = (
        ndimage.gaussian_filter(sharp, kind.psf_sigma_px)
        + ndimage.gaussian_filter(defocused, 2.5 * kind.psf_sigma_px)
        + ndimage.gaussian_filter(ghosts, 0.3 * radius)
        + SCATTERED_FRACTION * _spread(sharp + defocused, round(6 * radius))
    )
    # Two running means of a size have a standard deviation of 0.41 of it.
    return _spread(light, round(conditions.defocus * radius / 0.41)) if conditions.defocus else light


def _add_light(plane: Floats, nucleus: Nucleus, light: Floats) -> None:
    in_field, own = nucleus.windows(plane.shape)
    plane[in_field] += light[own]


def _spread(light: Floats, size_px: int) -> Floats:
    """Blur widely by two running means, whose cost doesn't grow with `size_px`."""
    blurred: Floats = ndimage.uniform_filter(ndimage.uniform_filter(light, size_px), size_px)
    return blurred


def _nucleus_light(kind: NucleusKind, mask: Mask, texture: Floats, rng: np.random.Generator) -> Floats:
    mitotic = rng.random() < MITOTIC_FRACTION
    height, width = mask.shape
    top, left = rng.integers(TEXTURE_TILE_PX - np.array(mask.shape))
    depth_px = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    light = 1 + kind.texture_contrast * texture[top : top + height, left : left + width]
    light *= 1 - (1 - EDGE_LEVEL) * np.exp(-(depth_px - 1) / kind.edge_px)
    if not mitotic:
        light *= _nucleoli(kind, mask, rng)
    light *= rng.lognormal(0, kind.brightness_sd) * (MITOTIC_BRIGHTNESS if mitotic else 1)
    return np.where(mask, np.maximum(light, 0), 0).astype(np.float32)


def _nucleoli(kind: NucleusKind, mask: Mask, rng: np.random.Generator) -> Floats:
    """Give the factor on a nucleus's light: down to 0.4 in a nucleolus, 1 elsewhere."""
    factor = np.ones(mask.shape, np.float32)
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    inside = np.argwhere(mask)
    radius = math.sqrt(len(inside) / math.pi)
    for _ in range(rng.poisson(kind.nucleoli)):
        centre_y, centre_x = inside[rng.integers(len(inside))]
        sigma = radius * rng.uniform(0.08, 0.16)
        factor *= 1 - rng.uniform(0.3, 0.6) * np.exp(-((y - centre_y) ** 2 + (x - centre_x) ** 2) / (2 * sigma**2))
    return factor


def _chromatin_texture(kind: NucleusKind, rng: np.random.Generator) -> Floats:
    """Draw a tile of fine and coarse grain with mean 0 and standard deviation 1, to cut nuclei from."""
    noise = rng.standard_normal((2, TEXTURE_TILE_PX, TEXTURE_TILE_PX), np.float32)
    fine = ndimage.gaussian_filter(noise[0], kind.texture_scale_px, mode="wrap")
    coarse = ndimage.gaussian_filter(noise[1], 4 * kind.texture_scale_px, mode="wrap")
    texture: Floats = fine / fine.std() + coarse / coarse.std()
    texture /= texture.std()
    return texture
