"""Tests of tasks.nuclei.plates.name_parts."""

from __future__ import annotations

import pytest

from tasks.nuclei.plates.name_parts import may_give_well, read_places
from tasks.nuclei.plates.place import Place


def mark(channel: str | None = None, z: int | None = None, time: int | None = None, series: str = "") -> Place:
    return Place("", None, channel, z, time, None, series)


MARKS = [
    # Leica LAS X, Micro-Manager, ZEN, NIS-Elements, MetaMorph, ImageJ
    ("Series002_z03_ch00", mark("ch00", z=3, series="Series002")),
    ("Pos007_S001_t50_z00_ch01", mark("ch01", z=0, time=50, series="Pos007_S001")),
    ("TileScan 003_Merging_ch00_left half", mark("ch00", series="TileScan 003_Merging_left half")),
    ("slide 3_s2t1z4c1", mark("c1", z=4, time=1, series="slide 3_s2")),
    ("exp_t001xy02c3", mark("c3", time=1, series="exp_xy02")),
    ("exp_c2_ORG", mark("c2", series="exp_ORG")),
    ("Exp_s01_t02_z03_c01", mark("c01", z=3, time=2, series="Exp_s01")),
    (
        "img_channel001_position003_time000000002_z004",
        mark("channel001", z=4, time=2, series="img_position003"),
    ),
    ("img_000000001_DAPI_002", mark("DAPI", z=2, time=1)),
    ("exp_w1DAPI_s1_t1", mark("w1DAPI", time=1, series="exp_s1")),
    ("C1-f", mark("C1", series="f")),
    ("st_t001_z001_c002", mark("c002", z=1, time=1, series="st")),
    # By hand
    ("day 3 GFP 01", mark("GFP", series="day 3 01")),
    ("Hoechst33342_1", mark("Hoechst33342", series="1")),
    ("f1_C=0", mark("C=0", series="f1")),
    ("f1_blue", mark("blue", series="f1")),
    ("f1 Alexa 488", mark("Alexa 488", series="f1")),
    ("f1_chDAPI", mark("chDAPI", series="f1")),
    ("f1 Ch 2", mark("Ch 2", series="f1")),
    ("f1_405", mark("405", series="f1")),
    ("f1_488nm", mark("488nm", series="f1")),
    ("f1_Z-2", mark(z=2, series="f1")),
    ("f1 (t2)", mark(time=2, series="f1")),
    ("f1_timepoint 3", mark(time=3, series="f1")),
    ("f1_01d02h30m", mark(time=1590, series="f1")),
]


@pytest.mark.parametrize(("name", "expected"), MARKS, ids=[name for name, _ in MARKS])
def test_marks_are_read_and_the_rest_is_the_series(name: str, expected: Place) -> None:
    assert read_places([name]) == {name: expected}


@pytest.mark.parametrize(
    "name",
    [
        *("cell_1", "field3", "c1", "T1", "test_1", "2024-05-01_3", "A1", "B7_3", "1c", "日本語", "scan_R2C3"),
        *(
            "fc22db33a2495f58",
            "c7d5467665187035",
            "57b49733c5a3c268",
            "f0c9f135c62572f3",
            "2022-10-14-U2OS-9",
            "DAPIs_1",
            "abcFITC",
            "siRNA2_1",
            "mitosis_3",
            "cond_C_1",
        ),
        *("phases_1", "exp2c1", "control", "zebra_12", "w-1", "img_0488", "exp_F01"),
    ],
)
def test_ordinary_names_have_no_marks(name: str) -> None:
    assert read_places([name]) == {name: None}


def test_a_wavelength_is_one_only_where_every_name_has_one() -> None:
    assert set(read_places(["img_404", "img_405", "img_488"]).values()) == {None}
    assert read_places(["f1_405", "f1_488"])["f1_488"] == mark("488", series="f1")


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (["plate1_B07"], [("B07", 1)]),
        (["B07 1", "B07 2", "C08 1"], [("B07", 1), ("B07", 2), ("C08", 1)]),
        (["A1", "B1"], [("A01", 1), ("B01", 1)]),
        (["WellB7_x", "WellB8_x"], [("B07", 1), ("B08", 1)]),
        (["C03_a", "D03_b"], [("C03", 1), ("D03", 1)]),
        (["f2 B07", "f3 B07"], [("B07", 2), ("B07", 3)]),
        (["B07 1 x2", "B07 2 x2"], [("B07", 1), ("B07", 2)]),
    ],
)
def test_a_well_that_all_names_give_in_one_place_is_read(names: list[str], places: list[tuple[str, int]]) -> None:
    read = read_places(names).values()
    assert [(place.well, place.site) for place in read if place] == places


def test_marks_beside_a_well_are_read_too() -> None:
    assert read_places(["B07_1_C1", "B07_1_C2"]) == {
        "B07_1_C1": Place("B07", 1, "C1", None, None, None),
        "B07_1_C2": Place("B07", 1, "C2", None, None, None),
    }
    seq = "Well B07_Seq0006_XY1_C1"
    assert read_places([seq]) == {seq: Place("B07", 1, "C1", None, None, None)}


@pytest.mark.parametrize(
    "names",
    [
        ["B7_1", "B8_1"],
        ["exp_F01", "exp_F02"],
        ["B07_1", "x"],
        ["B07_1", "x_B08_1"],
        ["B07_C08", "B08_D08"],
        ["B07_a", "B07_b"],
        ["B07_1_1", "B07_2_1", "B07_2_2"],
        ["B60_1", "C60_1"],
    ],
)
def test_what_may_not_be_a_well_or_gives_no_site_is_not_read_as_one(names: list[str]) -> None:
    assert all(place is None or not place.well for place in read_places(names).values())


def test_a_name_may_look_as_if_it_gave_a_well() -> None:
    assert [may_give_well(name) for name in ("B7_1", "x_B07", "Well B7", "cell_1", "XB07")] == [True] * 3 + [False] * 2
