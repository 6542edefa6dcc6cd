"""Make a plate of synthetic nuclei with exact labels, as the paper's of one cell line (Table S1) or with varied fields.

What varies, and how much, is in `tasks/nuclei/synthesis/conditions.py`. plate.json calls varied plates synthetic, so
that `ingest` doesn't doubt fields without nuclei, and cytoplasm, debris and haze without labels.
"""

import logging
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydantic
import tifffile
from numpy.typing import NDArray

from tasks.contract import PROCESSING, Outcome, Resources, Task, TaskParams, Workspace
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.image_files import write_label_image
from tasks.nuclei.plates.info import PlateInfo, PlateName
from tasks.nuclei.synthesis import KINDS, PLAIN, NucleusKind, SyntheticFov, draw, synthesize_fov

log = logging.getLogger("nucleus")

SITES_PER_WELL = 9
FIRST_WELL_ROW, FIRST_WELL_COLUMN = "B", 7
WELL_COLUMNS = 18
"""Columns 07 to 24 of a 384-well plate."""


class Params(TaskParams):
    name: PlateName
    """Name of the plate: letters, digits, dot, underscore and hyphen."""
    cell_line: Literal["MCF10A", "U2OS", "HCT116", "Eosinophils"]
    """Kind of nuclei."""
    role: Literal["train", "test"] = "train"
    """What the plate is for."""
    fovs: int | None = pydantic.Field(default=None, ge=1, le=1000)
    """Fields of view; not given, as many as in the paper: 7 for MCF10A, 1 for the others."""
    height_px: int | None = pydantic.Field(default=None, ge=64, le=5000)
    """Height of a field; not given, as in the paper. The density of nuclei stays the same."""
    width_px: int | None = pydantic.Field(default=None, ge=64, le=5000)
    """Width of a field; not given, as in the paper."""
    magnification: float = pydantic.Field(default=1.0, ge=0.4, le=2.5)
    """Nuclei have this many times the diameter in px that the paper's have, and pixel_size_um of plate.json is smaller
    by this factor."""
    conditions: Literal["plain", "varied"] = "plain"
    """plain: all fields are as the paper's. varied: each has its own density of nuclei, brightness, cytoplasm, debris,
    blur, exposure and uneven light; 6 % are empty, and 5 % so far out of focus that nothing has a label."""
    random_seed: int = pydantic.Field(default=0, ge=0)
    """Another seed gives other nuclei. A plate with more fields begins with the same ones."""


def run(params: Params, workspace: Workspace) -> Outcome:
    kind = KINDS[params.cell_line].magnified(params.magnification)
    shape = (params.height_px or kind.fov_shape_px[0], params.width_px or kind.fov_shape_px[1])
    fovs = params.fovs or kind.fovs
    folder = workspace.output_dir
    _write_plate_info(params, kind, folder)
    areas_px = []
    for index in range(fovs):
        fov = _synthesize_fov(params, kind, shape, index)
        _write_fov(fov, folder, f"{params.name}_{_cv7000_site(index)}.tif")
        areas_px.append(_areas_px(fov.label_image))
        log.info("field %d of %d: %d nuclei", index + 1, fovs, len(areas_px[-1]))
    all_areas_px = np.concatenate(areas_px)
    if not len(all_areas_px):
        raise InputError(
            f"random_seed {params.random_seed} gives no nucleus that can be outlined in {fovs} fields; "
            "raise fovs, or take another random_seed."
        )
    return Outcome(
        outputs={"plate": "."},
        metrics={"area_mean_px": float(all_areas_px.mean()), "area_sd_px": float(all_areas_px.std())},
        counts={"fovs": fovs, "nuclei": len(all_areas_px)},
    )


def _synthesize_fov(params: Params, kind: NucleusKind, shape: tuple[int, int], index: int) -> SyntheticFov:
    rng = np.random.default_rng([params.random_seed, index])
    return synthesize_fov(kind, shape, rng, draw(rng) if params.conditions == "varied" else PLAIN)


def _write_plate_info(params: Params, kind: NucleusKind, folder: Path) -> None:
    info = PlateInfo(
        name=params.name,
        cell_line=params.cell_line,
        objective=kind.objective,
        binning=kind.binning,
        pixel_size_um=kind.pixel_size_um,
        role=params.role,
        replicate=kind.replicate,
        annotation="semi-automatic" if params.conditions == "plain" else "synthetic",
    )
    (folder / "plate.json").write_text(info.model_dump_json(indent=1))
    (folder / "images").mkdir()
    (folder / "labels").mkdir()


def _write_fov(fov: SyntheticFov, folder: Path, file_name: str) -> None:
    # Compressed, because numpy, which writes what isn't, doesn't name a full disk.
    tifffile.imwrite(folder / "images" / file_name, fov.image, compression="zlib")
    write_label_image(folder / "labels" / file_name, fov.label_image)


def _cv7000_site(index: int) -> str:
    """Well and site of a field in the CV7000's grammar: B07 has the first nine fields, B08 the next."""
    well, site = divmod(index, SITES_PER_WELL)
    row, column = divmod(well, WELL_COLUMNS)
    well_name = f"{chr(ord(FIRST_WELL_ROW) + row)}{FIRST_WELL_COLUMN + column:02d}"
    return f"{well_name}_T0001F{site + 1:03d}L01A01Z01C01"


def _areas_px(label_image: NDArray[Any]) -> NDArray[np.int64]:
    return np.bincount(label_image.ravel())[1:]


TASK = Task(
    name="synthesize",
    version=1,
    params_type=Params,
    run=run,
    resources=Resources(PROCESSING, memory_gib=4),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
