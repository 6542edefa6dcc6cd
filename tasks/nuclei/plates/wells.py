"""Wells of a plate: their names, such as B07, and the grid in which they lie."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from tasks.nuclei.errors import InputError

GRIDS = ((8, 12), (16, 24), (32, 48))
"""(rows, columns) of plates with 96, 384 and 1536 wells."""

_NAME = re.compile(r"(?P<row>A?[A-Z])(?P<column>\d{1,2})")


class Well(NamedTuple):
    """Place of a well, counted from 0."""

    row: int
    column: int

    @property
    def name(self) -> str:
        """Such as B07."""
        return row_name(self.row) + column_name(self.column)


class Grid(NamedTuple):
    rows: int
    columns: int

    @property
    def row_names(self) -> list[str]:
        return [row_name(row) for row in range(self.rows)]

    @property
    def column_names(self) -> list[str]:
        return [column_name(column) for column in range(self.columns)]


def parse_well(name: str) -> Well:
    """Give the place of the well B07 or B7; InputError for a name that does not occur in plates of up to 1536 wells."""
    match = _NAME.fullmatch(name)
    if match is not None:
        letters, column = match["row"], int(match["column"]) - 1
        row = ord(letters[-1]) - ord("A") + 26 * (len(letters) - 1)
        if row < GRIDS[-1][0] and 0 <= column < GRIDS[-1][1]:
            return Well(row, column)
    raise InputError(f"{name!r} is not the name of a well; allowed are A01 to AF48, rename it.")


def is_well(name: str) -> bool:
    """Whether `parse_well` knows the name."""
    try:
        parse_well(name)
    except InputError:
        return False
    return True


def well_of_number(number: int, wells: int) -> str | None:
    """Give the name of a well that is counted row by row from 1, on a plate of 96, 384 or 1536; None beyond it."""
    columns = next(columns for rows, columns in GRIDS if rows * columns == wells)
    return Well(*divmod(number - 1, columns)).name if 1 <= number <= wells else None


def smallest_grid(wells: Iterable[Well]) -> Grid:
    """Give the grid of the smallest standard plate that has all these wells."""
    wells = list(wells)
    rows = 1 + max(well.row for well in wells)
    columns = 1 + max(well.column for well in wells)
    return next(Grid(*grid) for grid in GRIDS if rows <= grid[0] and columns <= grid[1])


def row_name(row: int) -> str:
    """Give A for 0, Z for 25, AA for 26."""
    return ("A" if row >= 26 else "") + chr(ord("A") + row % 26)


def column_name(column: int) -> str:
    """Give 01 for 0."""
    return f"{column + 1:02d}"
