"""Files are those of the tools: their own libraries read what is written here, and what they write is read here.

Each library is in an environment of its own; README.md in tasks/annotation says how it is made.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nucleus_dags.local.home import home_in
from tasks.annotation.sheet import Sheet, label_image_of, sheet_of
from tasks.annotation.tools import TOOLS
from tests.annotation.crowded import label_image_with_ids, there_and_back
from tests.repository import REPOSITORY

SDKS = Path(os.environ.get("NUCLEUS_ANNOTATION_SDKS", home_in(REPOSITORY) / "annotation"))
IJ_JAR = Path(os.environ.get("IJ_JAR", "/usr/share/java/ij.jar"))
"""ImageJ, at first where Debian's package libij-java puts it."""
FIELDS: dict[str, Any] = {f"B07_{seed}": label_image_with_ids(seed, 70_000) for seed in range(3)}

pytestmark = pytest.mark.slow


def run(sdk: str, *arguments: str | Path) -> None:
    python = SDKS / sdk / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{sdk} isn't installed in {SDKS}; tasks/annotation/README.md says how")
    if sdk == "imagej" and not IJ_JAR.exists():
        pytest.skip(f"ImageJ isn't at {IJ_JAR}; install libij-java, or let IJ_JAR name the file")
    script = Path(__file__).with_name(f"run_{sdk}.py")
    # Away from the repository, whose modules have the names of libraries.
    subprocess.run([python, script, *arguments], check=True, cwd=SDKS, env=os.environ | {"IJ_JAR": str(IJ_JAR)})


def sent_to(tool: str, folder: Path) -> dict[str, Sheet]:
    return there_and_back(TOOLS[tool], [sheet_of(name, field) for name, field in FIELDS.items()], folder)


def label_images(path: Path) -> dict[str, Any]:
    return dict(np.load(path).items())


def equal(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return found.keys() == expected.keys() and all(np.array_equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("sdk", "command", "tool"),
    [
        ("supervisely", "read", "supervisely"),
        ("cvat", "read", "cvat"),
        ("datumaro", "read-cvat", "cvat"),
        ("datumaro", "read-coco", "coco"),
        ("qupath", "read", "qupath"),
        ("imagej", "read", "imagej_rois"),
        ("imagej", "read-labels", "label_tiff"),
        ("napari", "read", "label_tiff"),
        ("napari", "read-ome-zarr", "ome_zarr"),
    ],
)
def test_a_tools_library_reads_the_same_nuclei_with_their_numbers(
    sdk: str, command: str, tool: str, tmp_path: Path
) -> None:
    (tmp_path / "sent").mkdir()
    sent_to(tool, tmp_path / "sent")
    run(sdk, command, tmp_path / "sent", tmp_path / "found.npz")
    assert equal(label_images(tmp_path / "found.npz"), FIELDS)


def test_cellpose_reads_the_same_nuclei_numbered_anew(tmp_path: Path) -> None:
    (tmp_path / "sent").mkdir()
    sent_to("cellpose", tmp_path / "sent")
    run("cellpose", "read", tmp_path / "sent", tmp_path / "found.npz")
    renumbered = {name: np.searchsorted(np.unique(field), field) for name, field in FIELDS.items()}
    assert equal(label_images(tmp_path / "found.npz"), renumbered)


@pytest.mark.parametrize(
    ("sdk", "command", "tool"),
    [
        ("cvat", "write", "cvat"),
        ("datumaro", "write-coco", "coco"),
        ("imagej", "write", "imagej_rois"),
        ("imagej", "write-labels", "label_tiff"),
        ("napari", "write", "label_tiff"),
    ],
)
def test_what_a_tools_library_writes_is_read_with_the_numbers(
    sdk: str, command: str, tool: str, tmp_path: Path
) -> None:
    np.savez(tmp_path / "given.npz", **FIELDS)
    run(sdk, command, tmp_path / "returned", tmp_path / "given.npz")
    sheets = TOOLS[tool].read(tmp_path / "returned")
    found = {sheet.name: label_image_of(sheet.nuclei, FIELDS[sheet.name].shape) for sheet in sheets}
    assert equal(found, FIELDS)


def test_what_supervisely_writes_is_read_with_the_numbers_and_its_polygons_as_it_draws_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "given.npz", **FIELDS)
    run("supervisely", "write", tmp_path / "returned", tmp_path / "given.npz")
    drawn = np.load(tmp_path / "returned/square.npy") > 0
    sheets = {sheet.name: sheet for sheet in TOOLS["supervisely"].read(tmp_path / "returned")}
    for name, field in FIELDS.items():
        *nuclei, polygon = sheets[name].nuclei
        assert np.array_equal(label_image_of(nuclei, field.shape), field)
        assert polygon.kind == "unsure"
        assert np.array_equal(label_image_of([polygon], field.shape) > 0, drawn)


def test_what_qupaths_library_writes_is_read_with_the_numbers_and_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "given.npz", **FIELDS)
    run("qupath", "write", tmp_path / "returned", tmp_path / "given.npz")
    sheets = TOOLS["qupath"].read(tmp_path / "returned")
    assert equal({sheet.name: label_image_of(sheet.nuclei, sheet.size) for sheet in sheets}, FIELDS)
    for sheet in sheets:
        # It gives odd numbers the class of those of which nobody can say.
        kinds = {nucleus.sent_id: nucleus.kind for nucleus in sheet.nuclei}
        assert kinds == {
            int(number): "unsure" if number % 2 else "nucleus" for number in np.unique(FIELDS[sheet.name])[1:]
        }


def test_what_cellpose_writes_is_read_pixel_by_pixel(tmp_path: Path) -> None:
    numbered: dict[str, Any] = {name: np.searchsorted(np.unique(field), field) for name, field in FIELDS.items()}
    np.savez(tmp_path / "given.npz", **numbered)
    run("cellpose", "write", tmp_path / "returned", tmp_path / "given.npz")
    sheets = TOOLS["cellpose"].read(tmp_path / "returned")
    assert {nucleus.sent_id for sheet in sheets for nucleus in sheet.nuclei} == {None}
    assert equal({sheet.name: label_image_of(sheet.nuclei, sheet.size) for sheet in sheets}, numbered)
