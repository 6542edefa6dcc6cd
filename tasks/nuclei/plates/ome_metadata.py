"""What the OME metadata of an image say of the microscope, as far as plate.json asks for it."""

from __future__ import annotations

import io
from typing import NamedTuple
from xml.etree import ElementTree

import tifffile


class Microscope(NamedTuple):
    """What an image says of how it was taken; None of what it doesn't say."""

    objective: str | None = None
    """Such as 60X."""
    binning: int | None = None


def microscope_of_image(data: bytes) -> Microscope:
    """Read the content of an OME-TIFF file; any other file, and metadata that can't be read, say nothing."""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tiff:
            if not tiff.is_ome or not tiff.ome_metadata:
                return Microscope()
            ome = ElementTree.fromstring(tiff.ome_metadata)
    # Damaged files raise a dozen types; whoever decodes them says what is wrong.
    except Exception:
        return Microscope()
    return Microscope(_objective(ome), _binning(ome))


def _objective(ome: ElementTree.Element) -> str | None:
    """Give the magnification of the objective that the first image names, or of the only one."""
    objectives = {objective.get("ID"): objective for objective in ome.findall("{*}Instrument/{*}Objective")}
    named = ome.find("{*}Image/{*}ObjectiveSettings")
    objective = objectives.get(named.get("ID")) if named is not None else None
    if objective is None and len(objectives) == 1:
        [objective] = objectives.values()
    stated = None if objective is None else objective.get("NominalMagnification")
    try:
        magnification = float(stated or "")
    except ValueError:
        return None
    return f"{magnification:g}X" if 0 < magnification < 1000 else None


def _binning(ome: ElementTree.Element) -> int | None:
    """Give the binning of the first image if all of its channels have the same; 2x2 is 2."""
    settings = ome.findall("{*}Image[1]/{*}Pixels/{*}Channel/{*}DetectorSettings")
    stated = {setting.get("Binning") for setting in settings}
    return {"1x1": 1, "2x2": 2, "4x4": 4}.get(stated.pop() or "") if len(stated) == 1 else None
