"""The paper's own images and labels, as its authors publish them, as plates.

    python -m tasks.recipes.paper_plates FOLDER OUT_FOLDER

FOLDER holds, however deep, folders such as `GreyScale/HiTIF_Laurent_Technical/` with images, and folders of the same
names with labels beside, such as `Labels/HiTIF_Laurent_Technical/`; those of `..._manual` are drawn by hand and become
a label set of the same plate. Image and labels of a field have one name. OUT_FOLDER may be the inbox. What of Table S1
isn't there is named, and so is what isn't in Table S1.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.contract import BAD_INPUT, DONE
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.info import PlateInfo

CELL_LINES = {"babe": "MCF10A", "hitif_colorectal": "HCT116", "hitif_laurent": "U2OS", "manasi": "Eosinophils"}
"""By what the authors call their sets, in small letters."""
SETS_OF_TABLE_S1 = {
    "MCF10A": ("Original", "Biological"),
    "HCT116": ("Original", "Biological"),
    "U2OS": ("Original", "Technical"),
    "Eosinophils": ("Original", "Technical"),
}
"""Those that the paper trains on, and those that it tests on."""
TRAINING = "Original"
OPTICS = {"MCF10A": ("60X", 2, 0.216), "HCT116": ("20X", 2, 0.65), "U2OS": ("20X", 1, 0.325)}
OPTICS["Eosinophils"] = OPTICS["MCF10A"]
"""Objective, binning and pixel size in µm, of Table S1."""
SET_NAME = re.compile(rf"({'|'.join(CELL_LINES)})_(original|technical|biological)(_manual)?", re.IGNORECASE)
OF_IMAGES = re.compile(r"gr[ea]y.?scale|images?", re.IGNORECASE)
OF_LABELS = re.compile(r"labels?|masks?|gt|ground.?truth(_labels)?", re.IGNORECASE)
ENDINGS = (".tif", ".tiff", ".png")


@dataclass
class PaperSet:
    """Files of a set, by the names of fields."""

    images: dict[str, Path] = field(default_factory=dict)
    labels: dict[str, Path] = field(default_factory=dict)
    manual: dict[str, Path] = field(default_factory=dict)


def sets_in(folder: Path) -> dict[tuple[str, str], PaperSet]:
    """Give the sets in a folder by cell line and kind. Raises InputError without any, and for two files of a field."""
    found: dict[tuple[str, str], PaperSet] = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS):
        parts = path.relative_to(folder).parts[:-1]
        name = next((match for part in parts if (match := SET_NAME.fullmatch(part))), None)
        if name is None:
            continue
        is_image, is_labels = (any(kind.fullmatch(part) for part in parts) for kind in (OF_IMAGES, OF_LABELS))
        if is_image == is_labels:
            raise InputError(
                f"{path}: it isn't clear whether this is an image or labels; put images into a folder GreyScale and "
                "labels into a folder Labels."
            )
        cell_line, kind = CELL_LINES[name[1].lower()], name[2].capitalize()
        of_set = found.setdefault((cell_line, kind), PaperSet())
        files = of_set.images if is_image else of_set.manual if name[3] else of_set.labels
        if path.stem in files:
            raise InputError(f"{path} and {files[path.stem]} are of one field; remove one of them.")
        files[path.stem] = path
    if not found:
        raise InputError(
            f"{folder} holds none of the paper's sets; give the folder with GreyScale/ and Labels/, in which folders "
            "have names such as BABE_Biological or HiTIF_Laurent_Technical."
        )
    return found


def make_plates(folder: Path, out_folder: Path) -> tuple[list[Path], list[str]]:
    """Write a plate for each set of Table S1; give their folders, and sentences on what is missing or left out."""
    found = sets_in(folder)
    plates, remarks = [], []
    wanted = [(cell_line, kind) for cell_line, kinds in SETS_OF_TABLE_S1.items() for kind in kinds]
    for cell_line, kind in wanted:
        of_set = found.get((cell_line, kind))
        if of_set is None:
            remarks.append(f"There is no {cell_line}_{kind}.")
            continue
        _refuse_fields_apart(f"{cell_line}_{kind}", of_set)
        plates.append(_write_plate(cell_line, kind, of_set, out_folder))
    others = [f"{cell_line}_{kind}" for cell_line, kind in found if (cell_line, kind) not in wanted]
    remarks += [f"{name} is not in Table S1 and is left out." for name in others]
    return plates, remarks


def _refuse_fields_apart(name: str, of_set: PaperSet) -> None:
    for labels in filter(None, (of_set.labels, of_set.manual)):
        if apart := sorted(of_set.images.keys() ^ labels.keys()):
            raise InputError(f"{name}: {apart[0]} has an image or labels but not both; both must have one name.")
    if not of_set.labels:
        raise InputError(f"{name} has no labels but those drawn by hand; the paper scores against semi-automatic ones.")


def _write_plate(cell_line: str, kind: str, of_set: PaperSet, out_folder: Path) -> Path:
    """Copy the files of a set into a folder of its name in Table S1; what is there is replaced."""
    objective, binning, pixel_size_um = OPTICS[cell_line]
    plate = out_folder / f"{cell_line}_{kind}"
    shutil.rmtree(plate, ignore_errors=True)
    _copy(of_set.images.values(), plate / "images")
    _copy(of_set.labels.values(), plate / "labels")
    if of_set.manual:
        _copy(of_set.manual.values(), plate / "label_sets" / "manual")
    info = PlateInfo(
        name=plate.name,
        cell_line=cell_line,
        objective=objective,
        binning=binning,
        pixel_size_um=pixel_size_um,
        role="train" if kind == TRAINING else "test",
        replicate="biological" if "Biological" in SETS_OF_TABLE_S1[cell_line] else "technical",
        annotation="semi-automatic",
    )
    (plate / "plate.json").write_text(info.model_dump_json(indent=1, exclude_defaults=True))
    return plate


def _copy(files: Iterable[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.recipes.paper_plates", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path, help="folder with the authors' images and labels")
    parser.add_argument("out_folder", type=Path, help="folder for the plates, such as the inbox")
    args = parser.parse_args(argv)
    try:
        plates, remarks = make_plates(args.folder, args.out_folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    for line in (*map(str, plates), *remarks):
        print(line)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
