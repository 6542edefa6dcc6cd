"""Synthetic fields of DAPI-stained nuclei with exact labels, in the four kinds of the paper's Table S1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtri
from skimage.draw import disk, polygon2mask

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
Window = tuple[slice, slice]

MIN_VISIBLE_FRACTION = 0.1
"""A nucleus cut by the border shows at least this part of itself; nobody would outline less."""
MAX_TRIES = 400
"""Positions tried for one nucleus before it is left out."""
MITOTIC_FRACTION = 0.02
MITOTIC_BRIGHTNESS = 2.0
EDGE_LEVEL = 0.35
"""Brightness at the outline relative to the middle, so that a dark line parts nuclei that touch."""
GHOST_BRIGHTNESS = 0.3
SCATTERED_FRACTION = 0.03
"""Part of the light that comes back spread over a few nuclear diameters."""
TEXTURE_TILE_PX = 512

CAMERA_OFFSET = 100.0
READ_NOISE = 3.0
GREY_LEVELS_PER_PHOTON = 2.0


@dataclass(frozen=True)
class NucleusKind:
    """One cell line under the paper's microscope: its row of Table S1, then how its nuclei look."""

    cell_line: str
    objective: str
    binning: Literal[1, 2, 4]
    pixel_size_um: float
    replicate: Literal["biological", "technical"]
    """Of the paper's test plate of this cell line."""
    fovs: int
    """Fields of view of the paper's training plate."""
    fov_shape_px: tuple[int, int]
    nuclei_per_fov: int
    """In a field of `fov_shape_px`, those cut by the border included."""
    area_mean_px: float
    """Of whole nuclei. More than in Table S1, whose labels are partly cut by the border."""
    area_sd_px: float
    """Of whole nuclei. Less than in Table S1, for the same reason."""
    elongation: float
    """Mean ratio of the long to the short axis."""
    roughness: float
    """Deviation of the outline from an ellipse, relative to its radius."""
    lobe_chances: tuple[float, ...]
    """Chance of 1, 2, 3 ... lobes joined by a thin strand; empty for nuclei without lobes."""
    contact_chance: float
    """Chance of a nucleus to lie against another one rather than anywhere."""
    max_overlap: float
    """Largest part of a nucleus that is hidden by one it touches."""
    brightness_sd: float
    """Standard deviation of the logarithm of a nucleus's mean brightness."""
    texture_contrast: float
    """Standard deviation of the chromatin's brightness, relative to its mean."""
    texture_scale_px: float
    """Gaussian sigma of the chromatin's finest grain."""
    nucleoli: float
    """Mean number of nucleoli, dark in DAPI."""
    edge_px: float
    """Depth within which brightness rises from the outline to the middle."""
    psf_sigma_px: float
    """Gaussian sigma of the microscope's blur in focus."""
    defocused_fraction: float
    """Part of the nuclei that lie out of focus, with 2.5 times the blur."""
    ghosts_per_nucleus: float
    """Dim nuclei far out of focus, too blurred to be labelled, per labelled nucleus."""
    vignetting: float
    """Part of the light lost in the corners of the field when its middle is brightest."""
    nucleus_photons: float
    """Mean photons per pixel in a nucleus of mean brightness."""
    background_photons: float


MCF10A = NucleusKind(
    cell_line="MCF10A",
    objective="60X",
    binning=2,
    pixel_size_um=0.216,
    replicate="biological",
    fovs=7,
    fov_shape_px=(1078, 1278),
    nuclei_per_fov=175,
    area_mean_px=2850,
    area_sd_px=660,
    elongation=1.25,
    roughness=0.045,
    lobe_chances=(),
    contact_chance=0.35,
    max_overlap=0.05,
    brightness_sd=0.15,
    texture_contrast=0.17,
    texture_scale_px=1.8,
    nucleoli=4,
    edge_px=2.0,
    psf_sigma_px=1.1,
    defocused_fraction=0.08,
    ghosts_per_nucleus=0.03,
    vignetting=0.2,
    nucleus_photons=220,
    background_photons=8,
)

U2OS = NucleusKind(
    cell_line="U2OS",
    objective="20X",
    binning=1,
    pixel_size_um=0.325,
    replicate="technical",
    fovs=1,
    fov_shape_px=(2158, 2558),
    nuclei_per_fov=782,
    area_mean_px=2270,
    area_sd_px=700,
    elongation=1.4,
    roughness=0.035,
    lobe_chances=(),
    contact_chance=0.3,
    max_overlap=0.05,
    brightness_sd=0.25,
    texture_contrast=0.12,
    texture_scale_px=2.0,
    nucleoli=3,
    edge_px=3.0,
    psf_sigma_px=1.8,
    defocused_fraction=0.15,
    ghosts_per_nucleus=0.05,
    vignetting=0.25,
    nucleus_photons=160,
    background_photons=10,
)

HCT116 = NucleusKind(
    cell_line="HCT116",
    objective="20X",
    binning=2,
    pixel_size_um=0.65,
    replicate="biological",
    fovs=1,
    fov_shape_px=(1080, 1280),
    nuclei_per_fov=1710,
    area_mean_px=316,
    area_sd_px=90,
    elongation=1.3,
    roughness=0.04,
    lobe_chances=(),
    contact_chance=0.95,
    max_overlap=0.12,
    brightness_sd=0.3,
    texture_contrast=0.15,
    texture_scale_px=1.2,
    nucleoli=1.5,
    edge_px=1.5,
    psf_sigma_px=0.9,
    defocused_fraction=0.3,
    ghosts_per_nucleus=0.5,
    vignetting=0.25,
    nucleus_photons=200,
    background_photons=10,
)

EOSINOPHILS = NucleusKind(
    cell_line="Eosinophils",
    objective="60X",
    binning=2,
    pixel_size_um=0.216,
    replicate="technical",
    fovs=1,
    fov_shape_px=(1080, 1280),
    nuclei_per_fov=295,
    area_mean_px=583,
    area_sd_px=170,
    elongation=1.1,
    roughness=0.03,
    lobe_chances=(0.12, 0.68, 0.2),
    contact_chance=0.2,
    max_overlap=0.05,
    brightness_sd=0.2,
    texture_contrast=0.18,
    texture_scale_px=1.3,
    nucleoli=0,
    edge_px=2.0,
    psf_sigma_px=1.1,
    defocused_fraction=0.1,
    ghosts_per_nucleus=0.05,
    vignetting=0.2,
    nucleus_photons=180,
    background_photons=8,
)

KINDS = {kind.cell_line: kind for kind in (MCF10A, U2OS, HCT116, EOSINOPHILS)}


@dataclass(frozen=True)
class SyntheticFov:
    """A field of view, as the camera sees it, and its nuclei."""

    image: NDArray[np.uint16]
    """(y, x), camera offset included."""
    label_image: NDArray[np.uint16]
    """(y, x), 0 = background; numbered without gaps, each label in one piece."""


@dataclass(frozen=True)
class _Nucleus:
    mask: Mask
    """(y, x), in its own bounding box, which may reach over the field's border."""
    top: int
    left: int

    @property
    def centre(self) -> NDArray[np.float64]:
        return np.array([self.top + self.mask.shape[0] / 2, self.left + self.mask.shape[1] / 2])

    @property
    def radius(self) -> float:
        return math.sqrt(self.mask.sum() / math.pi)

    def windows(self, shape: tuple[int, ...]) -> tuple[Window, Window]:
        """Slices of a field of `shape`, and of the mask, for the part that lies in the field; empty if none does."""
        rows = _overlap(self.top, self.mask.shape[0], shape[0])
        columns = _overlap(self.left, self.mask.shape[1], shape[1])
        return (rows[0], columns[0]), (rows[1], columns[1])


def _overlap(start: int, length: int, size: int) -> tuple[slice, slice]:
    """The part of start ... start + length within 0 ... size, counted from 0 and from `start`."""
    first = max(start, 0)
    last = max(first, min(start + length, size))
    return slice(first, last), slice(first - start, last - start)


def synthesize_fov(kind: NucleusKind, shape: tuple[int, int], rng: np.random.Generator) -> SyntheticFov:
    """Make one field of `shape` (y, x) px with the kind's density of nuclei, at least one.

    Nuclei touch, but labels never overlap; some are cut by the border. What is too far out of focus
    to be outlined has no label.
    """
    nuclei, label_image = _place_nuclei(kind, shape, rng)
    light = _render(kind, nuclei, label_image, rng)
    return SyntheticFov(_expose(kind, light, rng), label_image)


def _place_nuclei(
    kind: NucleusKind, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[list[_Nucleus], NDArray[np.uint16]]:
    """Place one nucleus after the other where it has room; one that finds none is left out."""
    label_image = np.zeros(shape, np.uint16)
    nuclei: list[_Nucleus] = []
    density = kind.nuclei_per_fov / math.prod(kind.fov_shape_px)
    for area_px in _draw_areas(kind, max(1, round(density * math.prod(shape))), rng):
        nucleus = _find_room(kind, _draw_mask(kind, area_px, rng), nuclei, label_image, rng)
        if nucleus is not None:
            nuclei.append(nucleus)
            in_field, own = nucleus.windows(shape)
            label_image[in_field][nucleus.mask[own]] = len(nuclei)
    return nuclei, label_image


def _draw_areas(kind: NucleusKind, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Log-normal areas, one from each of `count` equally likely ranges: small fields keep mean and sd too."""
    ranks = (rng.permutation(count) + rng.uniform(0.01, 0.99, count)) / count
    sigma = math.sqrt(math.log(1 + (kind.area_sd_px / kind.area_mean_px) ** 2))
    return kind.area_mean_px * np.exp(sigma * ndtri(ranks) - sigma**2 / 2)


def _find_room(
    kind: NucleusKind, mask: Mask, nuclei: list[_Nucleus], label_image: NDArray[np.uint16], rng: np.random.Generator
) -> _Nucleus | None:
    """Try positions until the nucleus fits; it loses the few pixels that a neighbour holds already."""
    half_size = np.array(mask.shape) / 2
    area = mask.sum()
    for _ in range(MAX_TRIES):
        top, left = np.rint(_propose_centre(kind, area, nuclei, label_image.shape, rng) - half_size).astype(int)
        nucleus = _Nucleus(mask, top, left)
        in_field, own = nucleus.windows(label_image.shape)
        visible = mask[own]
        taken = visible & (label_image[in_field] > 0)
        if visible.sum() < MIN_VISIBLE_FRACTION * area or taken.sum() > kind.max_overlap * visible.sum():
            continue
        free = mask.copy()
        free[own][taken] = False
        if ndimage.label(free[own])[1] == 1:
            return _Nucleus(free, top, left)
    return None


def _propose_centre(
    kind: NucleusKind, area: int, nuclei: list[_Nucleus], shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.float64]:
    radius = math.sqrt(area / math.pi)
    if not nuclei or rng.random() > kind.contact_chance:
        return rng.uniform(-radius, np.array(shape) + radius)
    neighbour = nuclei[rng.integers(len(nuclei))]
    angle = rng.uniform(0, 2 * math.pi)
    distance = (radius + neighbour.radius) * rng.uniform(0.85, 1.15)
    return neighbour.centre + distance * np.array([math.sin(angle), math.cos(angle)])


def _draw_mask(kind: NucleusKind, area_px: float, rng: np.random.Generator) -> Mask:
    if not kind.lobe_chances:
        return _round_mask(kind, area_px, rng)
    lobes = 1 + rng.choice(len(kind.lobe_chances), p=kind.lobe_chances)
    return _lobed_mask(lobes, area_px, rng)


def _round_mask(kind: NucleusKind, area_px: float, rng: np.random.Generator) -> Mask:
    """An ellipse whose radius is changed by the Fourier terms 2 to 5 of a random outline."""
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    elongation = 1 + (kind.elongation - 1) * rng.gamma(4, 1 / 4)
    terms = np.arange(2, 6)
    amplitudes = rng.normal(0, kind.roughness * 2 / terms)
    phases = rng.uniform(0, 2 * np.pi, len(terms))
    radius = 1 + (amplitudes[:, None] * np.cos(terms[:, None] * angle + phases[:, None])).sum(axis=0)
    outline = np.stack([radius * np.sin(angle), elongation * radius * np.cos(angle)], axis=1)
    outline = outline @ _rotation(rng.uniform(0, np.pi))
    outline *= math.sqrt(area_px / _polygon_area(outline))
    outline -= outline.min(axis=0) - 1
    return polygon2mask(tuple(np.ceil(outline.max(axis=0) + 2).astype(int)), outline)


def _lobed_mask(lobes: int, area_px: float, rng: np.random.Generator) -> Mask:
    """Discs along a bent line, large in the lobes and small in the strands between them."""
    along = np.linspace(0, 1, 10 * lobes)
    strand, lobe = rng.uniform(0.2, 0.42), ndimage.gaussian_filter1d(rng.uniform(0.7, 1.3, len(along)), 3)
    radii = strand + (lobe - strand) * np.abs(np.cos(np.pi * (lobes - 1) * along))
    length = 0.7 + 2.2 * (lobes - 1) * rng.uniform(0.9, 1.3)
    turn = rng.uniform(0.3, 1.2) * np.pi * (1.3 if lobes > 2 else 1)
    direction = rng.uniform(0, 2 * np.pi) + turn * along
    line = np.cumsum(np.stack([np.sin(direction), np.cos(direction)], axis=1), axis=0) * length / len(along)
    unit_px = 20
    unit_area = _union_of_discs(line * unit_px, radii * unit_px).sum() / unit_px**2
    scale = math.sqrt(area_px / unit_area)
    return _union_of_discs(line * scale, radii * scale)


def _union_of_discs(centres: NDArray[np.float64], radii: NDArray[np.float64]) -> Mask:
    margin = radii.max() + 1
    centres = centres - centres.min(axis=0) + margin
    mask = np.zeros(tuple(np.ceil(centres.max(axis=0) + margin).astype(int)), bool)
    for centre, radius in zip(centres, radii, strict=True):
        mask[disk(centre, radius, shape=mask.shape)] = True
    return mask


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _polygon_area(outline: NDArray[np.float64]) -> float:
    """The shoelace formula."""
    y, x = outline.T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


def _render(
    kind: NucleusKind, nuclei: list[_Nucleus], label_image: NDArray[np.uint16], rng: np.random.Generator
) -> Floats:
    """Light of the nuclei in the focal plane's image, (y, x), 1 in a nucleus of mean brightness."""
    sharp, defocused, ghosts = np.zeros((3, *label_image.shape), np.float32)
    texture = _chromatin_texture(kind, rng)
    for nucleus in nuclei:
        light = _nucleus_light(kind, nucleus.mask, texture, rng)
        plane = defocused if rng.random() < kind.defocused_fraction else sharp
        _add_light(plane, nucleus, light)
        if rng.random() < kind.ghosts_per_nucleus:
            away = rng.normal(0, 2 * nucleus.radius, 2).astype(int)
            ghost = _Nucleus(nucleus.mask, nucleus.top + away[0], nucleus.left + away[1])
            _add_light(ghosts, ghost, GHOST_BRIGHTNESS * light)
    radius = math.sqrt(kind.area_mean_px / math.pi)
    return (
        ndimage.gaussian_filter(sharp, kind.psf_sigma_px)
        + ndimage.gaussian_filter(defocused, 2.5 * kind.psf_sigma_px)
        + ndimage.gaussian_filter(ghosts, 0.3 * radius)
        + SCATTERED_FRACTION * _spread(sharp + defocused, round(6 * radius))
    )


def _add_light(plane: Floats, nucleus: _Nucleus, light: Floats) -> None:
    in_field, own = nucleus.windows(plane.shape)
    plane[in_field] += light[own]


def _spread(light: Floats, size_px: int) -> Floats:
    """A wide blur by two running means, whose cost doesn't grow with `size_px`."""
    return ndimage.uniform_filter(ndimage.uniform_filter(light, size_px), size_px)


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
    """Factor on a nucleus's light: down to 0.4 in a nucleolus, 1 elsewhere."""
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
    """A tile of fine and coarse grain with mean 0 and standard deviation 1, to cut nuclei from."""
    noise = rng.standard_normal((2, TEXTURE_TILE_PX, TEXTURE_TILE_PX), np.float32)
    fine = ndimage.gaussian_filter(noise[0], kind.texture_scale_px, mode="wrap")
    coarse = ndimage.gaussian_filter(noise[1], 4 * kind.texture_scale_px, mode="wrap")
    texture = fine / fine.std() + coarse / coarse.std()
    return texture / texture.std()


def _expose(kind: NucleusKind, light: Floats, rng: np.random.Generator) -> NDArray[np.uint16]:
    """What a 16-bit sCMOS camera makes of the light: shading, photon noise, read noise, offset."""
    photons = (kind.background_photons + kind.nucleus_photons * light) * _shading(kind, light.shape, rng)
    image = rng.poisson(photons) * GREY_LEVELS_PER_PHOTON + CAMERA_OFFSET
    image += READ_NOISE * rng.standard_normal(light.shape, np.float32)
    return np.clip(np.rint(image), 0, 65535).astype(np.uint16)


def _shading(kind: NucleusKind, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Uneven light: 1 at a point near the middle, falling with the square of the distance from it."""
    centre_y, centre_x = rng.uniform(-0.3, 0.3, 2)
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)
    return 1 - kind.vignetting / 2 * ((y - centre_y) ** 2 + (x - centre_x) ** 2)
