"""Real images with labels as plates: those of the 2018 Data Science Bowl and of mnFinder.

    python -m tasks.recipes.real_plates dsb2018 OUT_FOLDER [--data FOLDER]

The data folder has `dsb2018/` and `mnfinder/`, each with a README on its origin and licence. Every group of images of
one kind is a cell line. Groups that are held out are test plates as a whole.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.contract import BAD_INPUT, DONE
from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.info import PlateInfo, Role

DATA = Path(__file__).parents[3] / "shared/data"
"""Beside the repository."""
DSB2018, MNFINDER = "dsb2018", "mnfinder"
PIXEL_SIZE_UM = {"U2OS_WF": 0.645, "RPE1_WF": 0.645}
"""Where it is known; elsewhere areas in µm² are in px."""
ROLE_OF_FOLDER: dict[str, Role] = {"train": "train", "test": "test", "val": "test"}
PARTS = ("images", "labels")


@dataclass(frozen=True)
class RealPlate:
    """What a plate is made of."""

    name: str
    cell_line: str
    role: Role
    folders: tuple[Path, ...]
    """Each with `images/` and `labels/`."""


def plates_of(data_set: str, data: Path = DATA, held_out: Sequence[str] = ()) -> list[RealPlate]:
    """Give the plates of a data set: of each group one to train and one to test, or of those held out one to test.

    Raises InputError if the data set isn't there.
    """
    source = data / data_set
    if not (source / "manifest.csv").exists():
        raise InputError(
            f"{source} doesn't hold the images of {data_set}: it has no manifest.csv; give the folder that holds "
            f"{DSB2018}/ and {MNFINDER}/."
        )
    plates = []
    for group in sorted(path.name for path in source.iterdir() if path.is_dir()):
        folders = [source / group / name for name in ROLE_OF_FOLDER if (source / group / name).exists()]
        if group in held_out:
            plates.append(RealPlate(f"{group}-held-out", group, "test", tuple(folders)))
            continue
        for folder in folders:
            role = ROLE_OF_FOLDER[folder.name]
            plates.append(RealPlate(f"{group}-{role}", group, role, (folder,)))
    return plates


def make_plate(plate: RealPlate, out_folder: Path) -> Path:
    """Copy the images of a plate into a folder of its name; gives the folder. What is there is replaced."""
    folder = out_folder / plate.name
    shutil.rmtree(folder, ignore_errors=True)
    for part in PARTS:
        (folder / part).mkdir(parents=True)
        for image in (image for source in plate.folders for image in sorted((source / part).iterdir())):
            shutil.copyfile(image, folder / part / image.name)
    info = PlateInfo(
        name=plate.name,
        cell_line=plate.cell_line,
        objective="unknown",
        binning=1,
        pixel_size_um=PIXEL_SIZE_UM.get(plate.cell_line, 1.0),
        role=plate.role,
        replicate="technical",
        annotation="manual",
    )
    (folder / "plate.json").write_text(info.model_dump_json(indent=1))
    return folder


def licence_of(data_set: str, data: Path) -> str:
    """Give the text that must go with what is made of the images."""
    return (data / data_set / "LICENSE.txt").read_text().strip()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.recipes.real_plates", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("data_set", choices=(DSB2018, MNFINDER))
    parser.add_argument("out_folder", type=Path)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the data sets; default: %(default)s")
    args = parser.parse_args(argv)
    try:
        plates = plates_of(args.data_set, args.data)
    except InputError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    for plate in plates:
        print(make_plate(plate, args.out_folder))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
