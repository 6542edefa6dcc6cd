"""Which patches of a plate's fields were chosen to be annotated, and how: chosen_patches.csv beside its labels/.

    fov,y0,x0,y1,x1,choice,request

Sides are in px, `y1` and `x1` the first row and column after the patch. A patch was drawn at random from those that
weren't annotated, or chosen as one of those in which a model was least sure. `request` is the key under which it was
sent to be annotated. A field without a row was annotated without a choice of its patches.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.patch_grid import Patch
from tasks.nuclei.plates.file_kinds import refuse_other_than_file
from tasks.nuclei.tables import read_csv, write_csv

CHOSEN_PATCHES = "chosen_patches.csv"
COLUMNS = ("fov", *Patch._fields, "choice", "request")
Choice = Literal["random", "ranked"]
ALL_CHOICES: tuple[Choice, ...] = ("random", "ranked")
_TEXTS = ("fov", "choice", "request")
_TYPES = {name: str if name in _TEXTS else np.int64 for name in COLUMNS}


def read_chosen_patches(plate_folder: Path) -> pd.DataFrame:
    """Read the table of a plate, with its columns; without a row if it has none.

    Raises InputError for other columns, unknown words and sides that aren't whole numbers.
    """
    path = inside(plate_folder, CHOSEN_PATCHES)
    if not path.exists():
        return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in _TYPES.items()})
    refuse_other_than_file(path, plate_folder)
    remove = "correct the file, or remove it if nobody knows how patches were chosen"
    try:
        table = read_csv(path, dtype=_TYPES).fillna("")
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: can't be read ({' '.join(str(error).split())}); {remove}.") from None
    if tuple(table.columns) != COLUMNS:
        raise InputError(f"{path}: has the columns {', '.join(table.columns)}; it has {', '.join(COLUMNS)}; {remove}.")
    if unknown := sorted(set(table["choice"]) - set(ALL_CHOICES)):
        raise InputError(f"{path}: choice is {unknown[0]!r}; allowed are {', '.join(ALL_CHOICES)}; {remove}.")
    return table


def write_chosen_patches(table: pd.DataFrame, plate_folder: Path) -> None:
    """Write the table; of a patch that is there twice, the last row counts."""
    once = table.drop_duplicates(["fov", *Patch._fields], keep="last")
    write_csv(once[list(COLUMNS)].sort_values(["fov", *Patch._fields]), plate_folder / CHOSEN_PATCHES)


def problems_of(table: pd.DataFrame, sizes: Mapping[str, tuple[int, int]]) -> list[str]:
    """Say which rows are about fields that a plate hasn't, or reach out of them; `sizes` are in px, by field."""
    problems = []
    for fov, y0, x0, y1, x1 in table[["fov", *Patch._fields]].itertuples(index=False, name=None):
        height, width = sizes.get(fov, (0, 0))
        if not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
            where = f"rows {y0} to {y1} and columns {x0} to {x1} of {fov}"
            what = f"which has {height} x {width} px" if fov in sizes else "which isn't a field of the plate"
            problems.append(f"{CHOSEN_PATCHES}: has {where}, {what}; remove the row")
    return problems


def patches_of(table: pd.DataFrame, fov: str, choice: Choice) -> list[Patch]:
    """Give the patches of a field that were chosen in this way."""
    rows = table[(table["fov"] == fov) & (table["choice"] == choice)]
    return [Patch(*sides) for sides in rows[list(Patch._fields)].itertuples(index=False, name=None)]
