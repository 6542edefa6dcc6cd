"""The four cell lines of the paper's Table S1, and how their nuclei look."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class NucleusKind:
    """One cell line under the paper's microscope: its row of Table S1, then how its nuclei look."""

    cell_line: str
    objective: str
    binning: Literal[1, 2, 4]
    pixel_size_um: float
    replicate: Literal["biological", "technical"]
    """Kind of replicate of the paper's test plate of this cell line."""
    fovs: int
    """Fields of view of the paper's training plate."""
    fov_shape_px: tuple[int, int]
    nuclei_per_fov: int
    """Number in a field of `fov_shape_px`, including nuclei that the border cuts."""
    area_mean_px: float
    """Mean over whole nuclei. It is larger than in Table S1, where the border cuts some of the labels."""
    area_sd_px: float
    """Standard deviation over whole nuclei. It is smaller than in Table S1, for the same reason."""
    elongation: float
    """Mean ratio of the long to the short axis."""
    roughness: float
    """Deviation of the outline from an ellipse, relative to its radius."""
    lobe_chances: tuple[float, ...]
    """Chance of 1, 2, 3 ... lobes joined by a thin strand; empty for nuclei without lobes."""
    contact_chance: float
    """Chance that a nucleus is placed against another one rather than anywhere."""
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

    def magnified(self, magnification: float) -> NucleusKind:
        """Give the kind in pixels that are smaller by this factor; the camera has as many of them as before."""
        return replace(
            self,
            pixel_size_um=self.pixel_size_um / magnification,
            nuclei_per_fov=max(1, round(self.nuclei_per_fov / magnification**2)),
            area_mean_px=self.area_mean_px * magnification**2,
            area_sd_px=self.area_sd_px * magnification**2,
            texture_scale_px=self.texture_scale_px * magnification,
            edge_px=self.edge_px * magnification,
            psf_sigma_px=max(self.psf_sigma_px * magnification, LEAST_PSF_SIGMA_PX),
        )


LEAST_PSF_SIGMA_PX = 0.6
"""What a pixel blurs by its own size, whatever the microscope."""

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
