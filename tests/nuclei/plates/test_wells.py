"""Tests of tasks.nuclei.plates.wells."""

import pytest

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.wells import GRIDS, Grid, Well, is_well, parse_well, smallest_grid, well_of_number


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


def test_a_name_is_one_of_a_well_or_not() -> None:
    assert [is_well(name) for name in ("B07", "AF48", "W0025", "")] == [True, True, False, False]


@pytest.mark.parametrize(
    ("number", "wells", "name"),
    [(1, 96, "A01"), (12, 96, "A12"), (13, 96, "B01"), (96, 96, "H12"), (25, 384, "B01"), (1536, 1536, "AF48")],
)
def test_a_number_counts_the_wells_row_by_row(number: int, wells: int, name: str) -> None:
    assert well_of_number(number, wells) == name


@pytest.mark.parametrize(("number", "wells"), [(0, 96), (97, 96), (385, 384)])
def test_a_number_beyond_the_plate_is_no_well(number: int, wells: int) -> None:
    assert well_of_number(number, wells) is None
