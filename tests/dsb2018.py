"""The Data Science Bowl images, for tests: per group, as a cell line, one plate to train and one to test."""

from __future__ import annotations

from pathlib import Path

from tasks.recipes import real_plates
from tasks.recipes.real_plates import DATA, DSB2018

SOURCE = DATA / DSB2018


def is_available() -> bool:
    """Whether the images are there; tests that need them are skipped otherwise."""
    return (SOURCE / "manifest.csv").exists()


def make_plates(out_folder: Path) -> list[Path]:
    """Copy every group's train/ and test/ to a plate such as `small-256-train`; returns the plates' folders."""
    return [real_plates.make_plate(plate, out_folder) for plate in real_plates.plates_of(DSB2018)]
