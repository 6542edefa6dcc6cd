"""Tests of tasks.nuclei.plates.wells."""

import pytest

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.wells import GRIDS, Grid, Well, parse_well, smallest_grid


@pytest.mark.parametrize(
    ("name", "well"), [("A01", Well(0, 0)), ("B07", Well(1, 6)), ("Z24", Well(25, 23)), ("AF48", Well(31, 47))]
)
def test_a_name_gives_the_place_and_the_place_gives_the_name(name: str, well: Well) -> None:
    assert parse_well(name) == well
    assert well.name == name


def test_a_column_may_lack_its_leading_zero() -> None:
    assert parse_well("B7") == parse_well("B07")


@pytest.mark.parametrize("name", ["", "A00", "A49", "AG01", "BA01", "b07", "07", "B", "B070", "B07 "])
def test_a_name_of_no_well_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not the name of a well; allowed are A01 to AF48"):
        parse_well(name)


def test_every_well_of_every_grid_keeps_its_name() -> None:
    for rows, columns in GRIDS:
        for well in (Well(row, column) for row in range(rows) for column in range(columns)):
            assert parse_well(well.name) == well


@pytest.mark.parametrize(
    ("names", "grid"),
    [(["A01"], (8, 12)), (["H12"], (8, 12)), (["A13"], (16, 24)), (["I01"], (16, 24)), (["B07", "AA01"], (32, 48))],
)
def test_the_grid_is_the_smallest_standard_one_that_has_all_wells(names: list[str], grid: tuple[int, int]) -> None:
    assert smallest_grid(parse_well(name) for name in names) == grid


def test_a_grid_names_its_rows_and_columns() -> None:
    assert Grid(2, 3).row_names == ["A", "B"]
    assert Grid(2, 3).column_names == ["01", "02", "03"]
