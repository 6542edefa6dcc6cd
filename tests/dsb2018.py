"""The Data Science Bowl images as plates: per group, as a cell line, one plate to train and one to test.

python -m tests.dsb2018 OUT_FOLDER [--source FOLDER]
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from tasks.nuclei.plates.info import PlateInfo
from tests.repository import REPOSITORY

SOURCE = REPOSITORY.parent / "shared/data/dsb2018"

ROLES = ("train", "test")


def is_available(source: Path = SOURCE) -> bool:
    """Whether the images are there; tests that need them are skipped otherwise."""
    return (source / "manifest.csv").exists()


def make_plates(out_folder: Path, source: Path = SOURCE) -> list[Path]:
    """Copy every group's train/ and test/ to a plate such as `small-256-train`; returns the plates' folders."""
    groups = sorted(path.name for path in source.iterdir() if path.is_dir())
    return [_make_plate(out_folder, source, group, role) for group in groups for role in ROLES]


def _make_plate(out_folder: Path, source: Path, group: str, role: str) -> Path:
    # Magnification and pixel size of these images are not known: areas in µm² are in px.
    info = PlateInfo(
        name=f"{group}-{role}",
        cell_line=group,
        objective="unknown",
        binning=1,
        pixel_size_um=1.0,
        role=role,
        replicate="technical",
        annotation="manual",
    )
    plate = out_folder / info.name
    for name in ("images", "labels"):
        shutil.copytree(source / group / role / name, plate / name)
    (plate / "plate.json").write_text(info.model_dump_json(indent=1))
    return plate


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out_folder", type=Path)
    parser.add_argument("--source", type=Path, default=SOURCE)
    args = parser.parse_args()
    for made in make_plates(args.out_folder, args.source):
        print(made)
