"""Synthetic fields of DAPI-stained nuclei with exact labels, in the four kinds of the paper's Table S1.

They look like the paper's, or vary as fields of other laboratories do.
"""

from tasks.nuclei.synthesis.cell_lines import EOSINOPHILS, HCT116, KINDS, MCF10A, U2OS, NucleusKind
from tasks.nuclei.synthesis.conditions import PLAIN, VARIED, Conditions, draw
from tasks.nuclei.synthesis.fov import SyntheticFov, synthesize_fov

__all__ = [
    "EOSINOPHILS",
    "HCT116",
    "KINDS",
    "MCF10A",
    "PLAIN",
    "U2OS",
    "VARIED",
    "Conditions",
    "NucleusKind",
    "SyntheticFov",
    "draw",
    "synthesize_fov",
]
