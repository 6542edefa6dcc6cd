"""Synthetic fields of DAPI-stained nuclei with exact labels, in the four kinds of the paper's Table S1."""

from tasks.nuclei.synthesis.cell_lines import EOSINOPHILS, HCT116, KINDS, MCF10A, U2OS, NucleusKind
from tasks.nuclei.synthesis.fov import SyntheticFov, synthesize_fov

__all__ = ["EOSINOPHILS", "HCT116", "KINDS", "MCF10A", "U2OS", "NucleusKind", "SyntheticFov", "synthesize_fov"]
