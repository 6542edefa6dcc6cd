"""Tests of tasks.nuclei.plates.microscope_patterns. Most names are of public data sets or of programs for them."""

from __future__ import annotations

import pytest

from tasks.nuclei.plates.microscope_patterns import CONVENTIONS, read_place
from tasks.nuclei.plates.place import Place

GUID = "46C9B2CD-0BB3-4B8A-9187-2805F4C90506"


def place(
    well: str,
    site: int | None,
    channel: int | str | None = None,
    z: int | None = None,
    time: int | None = None,
    acquisition: int | None = None,
) -> Place:
    return Place(well, site, channel, z, time, acquisition)


EXAMPLES = [
    # Yokogawa CV7000, CV8000
    ("AssayPlate_Greiner_B07_T0001F002L01A01Z01C01", place("B07", 2, 1, z=1, time=1, acquisition=1)),
    ("Dest210809-141456_K06_T0012F001L01A03Z05C04", place("K06", 1, 4, z=5, time=12, acquisition=3)),
    ("P_AF48_T0001F1234L02A01Z100C02", place("AF48", 1234, 2, z=100, time=1, acquisition=1)),
    ("MAX_P_B07_T0001F001L01A01Z01C01_corrected", place("B07", 1, 1, z=1, time=1, acquisition=1)),
    ("p_b07_t0001f001l01a01z01c01", place("B07", 1, 1, z=1, time=1, acquisition=1)),
    # Yokogawa CQ1, CV1000
    ("W0025F0001T0001Z000C1", place("W0025", 1, 1, z=0, time=1)),
    ("W1F001T0003Z02C2", place("W0001", 1, 2, z=2, time=3)),
    # Operetta, Opera Phenix
    ("r02c07f01p01-ch1sk1fk1fl1", place("B07", 1, 1, z=1, time=1)),
    ("r32c48f123p12-ch11sk10fk1fl1", place("AF48", 123, 11, z=12, time=10)),
    ("r02c07f01p03rc1-ch2sk1fk1fl1", place("B07", 1, 2, z=3, time=1)),
    # ImageXpress
    (f"MIP-2P-2sub_C05_s1_w1{GUID}", place("C05", 1, 1)),
    ("Projection-Mix_E07_s12_w2E78EB128-BD0D-4D94-A6AD-3FF28BB1B105", place("E07", 12, 2)),
    ("Week1_22123_B02_s1_w12DE5D0E6-1639-40D4-8654-9A6247B4B8CD", place("B02", 1, 1)),
    ("screen_AF48_s12_w1", place("AF48", 12, 1)),
    ("A01_s1_w1", place("A01", 1, 1)),
    ("val screen_B02_w4", place("B02", 1, 4)),
    (f"val_B02_s2{GUID}", place("B02", 2)),
    ("t12_A03_s2_w1_z3", place("A03", 2, 1, z=3)),
    # IN Cell
    ("B - 07(fld 1 wv DAPI - DAPI)", place("B07", 1, "DAPI - DAPI")),
    ("A - 1(fld 1 wv 390 - Blue)", place("A01", 1, "390 - Blue")),
    ("Plate1_AA - 48(fld 10 wv Green - dsRed z 3)", place("AA48", 10, "Green - dsRed", z=3)),
    ("A - 01(fld 2 z 4 wv Green - dsRed)", place("A01", 2, "Green - dsRed", z=4)),
    ("B - 4(fld 1 wv GFP - GFP- time 3 - 1200 ms)", place("B04", 1, "GFP - GFP", time=3)),
    ("B - 4(fld 1 wv GFP - GFP z 2 tm 3)", place("B04", 1, "GFP - GFP", z=2, time=3)),
    ("B - 02(fld 01 wv FITC - FITC2 wix 6)", place("B02", 1, "FITC - FITC2 wix 6")),
    ("C - 2(fld 1)", place("C02", 1)),
    # ScanR
    ("B2--W00014--P00001--Z00000--T00000--DAPi", place("B02", 1, "DAPi", z=0, time=0)),
    ("--W00088--P00003--Z00001--T00002--nucleus-dapi", place("W0088", 3, "nucleus-dapi", z=1, time=2)),
    ("ATR2_24h--W00044--P00021--Z00000--T00000--Cy5", place("W0044", 21, "Cy5", z=0, time=0)),
    # CellInsight, Cytation
    ("MFGTMP_260306160001_A01f00d0", place("A01", 0, "d0")),
    ("B7_01_2_3_DAPI_001", place("B07", 3, "DAPI", time=1)),
    ("B7_-1_2_3_Tsf[DAPI 377,447]_001", place("B07", 3, "Tsf[DAPI 377,447]", time=1)),
    # Where names of one microscope differ
    ("A_B7_T0001F001L01A01Z01C02", place("B07", 1, 2, z=1, time=1, acquisition=1)),
    ("A_B07_T0001F001L01A01ZMIPC02", place("B07", 1, 2, time=1, acquisition=1)),
    ("B-07_F0001_T0002_Z0003_C1", place("B07", 1, 1, z=3, time=2)),
    ("r02c07f01-ch2sk1fk1fl1", place("B07", 1, 2, time=1)),
    ("plate1-r02c07f01p01-ch1sk1fk1fl1", place("B07", 1, 1, z=1, time=1)),
    ("r02c07f01p01-ch2t03", place("B07", 1, 2, z=1, time=3)),
    ("r02c07f01p02-ch01", place("B07", 1, 1, z=2)),
    ("002007-1-001001002", place("B07", 1, 2, z=1, time=1)),
    ("P_B7_s1_w2", place("B07", 1, 2)),
    ("P-B07_s1_w2", place("B07", 1, 2)),
    ("P_B07_w1_s2", place("B07", 2, 1)),
    ("TimePoint_2_P_B07_s1_w1", place("B07", 1, 1, time=2)),
    ("B - 07(wv FITC - FITC)", place("B07", 1, "FITC - FITC")),
    ("B-07(fld 1 wv FITC - FITC)", place("B07", 1, "FITC - FITC")),
    ("B7_01_1Z1_DAPI_001", place("B07", 1, "DAPI", z=1, time=1)),
    ("Plate_B7_1_00d02h00m", place("B07", 1, time=120)),
]


@pytest.mark.parametrize(("name", "expected"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_a_name_gives_the_place(name: str, expected: Place) -> None:
    assert read_place(name) == expected


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda convention: convention.microscopes)
def test_every_convention_is_the_first_to_read_its_own_example(convention) -> None:
    readers = [other.microscopes for other in CONVENTIONS if other.pattern.fullmatch(convention.example)]
    assert readers[0] == convention.microscopes
    assert read_place(convention.example) is not None
    assert convention.source


@pytest.mark.parametrize(
    "name",
    [
        "nucleus_1",
        "B07",
        "screen_B07",
        "XB07_T0001F002L01A01Z01C01",
        "p_B07_T0001F002L01A01Z01C011",
        "p_AZ07_T0001F002L01A01Z01C01",
        "p_B49_T0001F002L01A01Z01C01",
        "r33c01f01p01-ch1sk1fk1fl1",
        "r02c00f01p01-ch1sk1fk1fl1",
        "mouse_t1",
        "DAPIs_1",
        "abcFITC",
        "1c3",
        "screen_C1",
        "C2-1",
        "slide_z03",
        "B - 07",
        "search00",
        "日本語",
        "f1_w1",
        "B07_DAPI",
        "M1_01_2_cells_001",
    ],
)
def test_another_name_gives_no_place(name: str) -> None:
    assert read_place(name) is None


def test_numbered_wells_get_their_letters_where_the_size_of_the_plate_is_known() -> None:
    places = [read_place("W0025F0001T0001Z000C1", wells) for wells in (96, 384, 1536)]
    assert [found.well for found in places if found] == ["C01", "B01", "A25"]
    assert read_place("W0097F0001T0001Z000C1", 96) is None
    scanr = read_place("C5--W00053--P00001--Z00000--T00000--DAPI", 384)
    assert scanr is not None
    assert scanr.well == "C05"
