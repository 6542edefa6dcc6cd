"""Folders of microscopes as they are, screening plates: two wells, two sites each."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.situations.outcomes import Accepted, Change, Outcome, Refused, Row, check, table
from tests.situations.plain import SCREEN, field, write_info

WELLS = {"B07": (2, 7), "C08": (3, 8)}
FOUR = Accepted(fovs=4, nuclei=0)
FOUR_OF_MORE = Accepted("images of other .*: 4", 4, 0)


def screen(*names: str, beside: tuple[str, ...] = (), **info: object) -> Change:
    """Write images under patterns of names: {well}, {row}, {column}, {number} of 384 wells, {site}, for every site."""

    def change(plate: Path) -> None:
        for part in ("images", "labels"):
            for path in (plate / part).iterdir():
                path.unlink()
        (plate / "labels").rmdir()
        fields = product(WELLS.items(), (1, 2), names)
        for seed, ((well, (row, column)), site, name) in enumerate(fields, start=1):
            number = (row - 1) * 24 + column
            path = (
                plate / "images" / (name.format(well=well, row=row, column=column, number=number, site=site) + ".tif")
            )
            tifffile.imwrite(path, field(seed)[0])
        for name in beside:
            tifffile.imwrite(plate / "images" / name, np.zeros((8, 8), np.uint16))
        write_info(plate, **(SCREEN | info))

    return change


CV7000 = "Assay_{well}_T0001F{site:03}L01A01Z01C01"
CV7000_OTHER_CHANNEL = "Assay_{well}_T0001F{site:03}L01A02Z01C02"
OPERETTA = "r{row:02}c{column:02}f{site:02}p01-ch1sk1fk1fl1"
OPERETTA_PLANE_2 = "r{row:02}c{column:02}f{site:02}p02-ch1sk1fk1fl1"
OPERETTA_TIME_2 = "r{row:02}c{column:02}f{site:02}p01-ch1sk2fk1fl1"
IMAGEXPRESS = "Plate_{well}_s{site}_w1"
IMAGEXPRESS_OTHER_CHANNEL = "Plate_{well}_s{site}_w2"
IN_CELL = "{well[0]} - {well[1]}{well[2]}(fld {site} wv DAPI - DAPI)"
IN_CELL_OTHER_CHANNEL = "{well[0]} - {well[1]}{well[2]}(fld {site} wv FITC - FITC)"
SCANR = "{well}--W{number:05}--P{site:05}--Z00000--T00000--DAPI"
CORRECTION_IMAGES = ("DC_sCMOS #1_CAM1.tif", "SC_BP445-45_40x_M10_CH01.tif")
CQ1 = "W{number:04}F{site:04}T0001Z000C1"

ROWS: list[Row] = [
    ("CV7000", screen(CV7000), FOUR),
    ("Operetta", screen(OPERETTA), FOUR),
    ("ImageXpress", screen(IMAGEXPRESS), FOUR),
    ("IN Cell", screen(IN_CELL), FOUR),
    ("ScanR", screen(SCANR), FOUR),
    ("CQ1", screen(CQ1), FOUR),
    ("names of no microscope", screen("image {well} {site} x{row}"), FOUR),
    ("CV7000, two channels", screen(CV7000, CV7000_OTHER_CHANNEL), Refused('channels?.*1.*2.*"channel"')),
    ("CV7000, two channels, one chosen", screen(CV7000, CV7000_OTHER_CHANNEL, channel=1), FOUR_OF_MORE),
    ("CV7000, a channel chosen that isn't there", screen(CV7000, channel=3), Refused("channel.*3")),
    ("ImageXpress, two channels, one chosen", screen(IMAGEXPRESS, IMAGEXPRESS_OTHER_CHANNEL, channel=2), FOUR_OF_MORE),
    ("ImageXpress, two channels", screen(IMAGEXPRESS, IMAGEXPRESS_OTHER_CHANNEL), Refused('"channel"')),
    (
        "IN Cell, a channel chosen by its name",
        screen(IN_CELL, IN_CELL_OTHER_CHANNEL, channel="DAPI - DAPI"),
        FOUR_OF_MORE,
    ),
    ("Operetta, two planes", screen(OPERETTA, OPERETTA_PLANE_2), Refused('"z"')),
    ("Operetta, two planes, one chosen", screen(OPERETTA, OPERETTA_PLANE_2, z=2), FOUR_OF_MORE),
    ("Operetta, two times", screen(OPERETTA, OPERETTA_TIME_2), Refused('"time"')),
    ("Operetta, two times, one chosen", screen(OPERETTA, OPERETTA_TIME_2, time=1), FOUR_OF_MORE),
    ("one odd name", screen(CV7000, beside=("overview.tif",)), Accepted("overview.tif: its name gives no well", 4, 0)),
    ("thumbnails", screen(IMAGEXPRESS, beside=("Plate_B07_s1_w1_thumb.tif",)), Accepted("thumbnails", 4, 0)),
    ("correction images", screen(CV7000, beside=CORRECTION_IMAGES), Accepted("correction images", 4, 0)),
    (
        "one site twice",
        screen(CV7000, "Again_{well}_T0001F{site:03}L01A01Z01C01"),
        Refused("Assay_B07.*Again_B07|Again_B07.*Assay_B07"),
    ),
    ("names of two microscopes", screen(CV7000, IMAGEXPRESS), Refused("B07")),
    ("a well and a number by hand", screen("my plate_{well}_{site}"), FOUR),
    ("a well alone, which may be none", screen("B7_{site}_{row}"), Accepted("no well was read.*B7_1", 4, 0)),
    ("ImageXpress, times", screen(f"TimePoint_1_{IMAGEXPRESS}", f"TimePoint_2_{IMAGEXPRESS}"), Refused('"time"')),
]

TWO_OF_ONE = [
    ("ImageJ", "C1-f{row}{site}", "C2-f{row}{site}", "channel", "C1"),
    ("Fiji, channels", "st{row}{site}_t001_z001_c001", "st{row}{site}_t001_z001_c002", "channel", "c001"),
    ("Fiji, planes", "st{row}{site}_z0001_c001", "st{row}{site}_z0002_c001", "z", 1),
    ("MetaMorph", "exp_w1DAPI_s{row}{site}_t1", "exp_w2GFP_s{row}{site}_t1", "channel", "w1DAPI"),
    ("ImageXpress, one digit", "P_{well[0]}{column}_s{site}_w1", "P_{well[0]}{column}_s{site}_w2", "channel", 1),
    ("ImageXpress, hyphen", "P-{well}_s{site}_w1", "P-{well}_s{site}_w2", "channel", 1),
    (
        "IN Cell, one field",
        "{well[0]} - {row}{site}(wv A - B)",
        "{well[0]} - {row}{site}(wv C - D)",
        "channel",
        "A - B",
    ),
    ("Operetta, no plane", "r02c0{column}f0{site}-ch1sk1fk1fl1", "r02c0{column}f0{site}-ch2sk1fk1fl1", "channel", 1),
    ("Operetta, exported", "r02c0{column}f0{site}p01-ch1t01", "r02c0{column}f0{site}p01-ch2t01", "channel", 1),
    ("Columbus", "00200{column}-{site}-001001001", "00200{column}-{site}-001001002", "channel", 1),
    (
        "NIS-Elements JOBS",
        "Well{well}_ChannelDAPI_Seq{site}",
        "Well{well}_ChannelA_Seq{site}",
        "channel",
        "ChannelDAPI",
    ),
    ("NIS-Elements", "Well {well}_Seq0006_XY{site}_C1", "Well {well}_Seq0006_XY{site}_C2", "channel", "C1"),
    ("CellVoyager", "B-0{column}_F000{site}_T0001_Z0001_C1", "B-0{column}_F000{site}_T0001_Z0001_C2", "channel", 1),
    ("CV7000, a projection", "{well}_T0001F00{site}L01A01ZMIPC01", "{well}_T0001F00{site}L01A01ZMIPC02", "channel", 1),
    ("Gen5, planes", "B{column}_01_{site}Z0_DAPI_001", "B{column}_01_{site}Z1_DAPI_001", "z", 0),
    ("Micro-Manager 1, planes", "p{row}{site}_img_000000000_DAPI_000", "p{row}{site}_img_000000000_DAPI_001", "z", 0),
    ("Micro-Manager 1, times", "p{row}{site}_img_000000000_DAPI_000", "p{row}{site}_img_000000001_DAPI_000", "time", 0),
    (
        "Micro-Manager 2",
        "channel000_P{row}{site}_time000_z000",
        "channel001_P{row}{site}_time000_z000",
        "channel",
        "channel000",
    ),
    ("ZEN", "Exp_s{row}{site}_t02_z03_c01", "Exp_s{row}{site}_t02_z04_c01", "z", 3),
    ("Incucyte", "Plate_B{column}_{site}_00d00h00m", "Plate_B{column}_{site}_00d02h00m", "time", 0),
    ("wavelengths", "f{row}{site}_405", "f{row}{site}_488", "channel", "405"),
    ("w and a number", "f{row}{site}_w1", "f{row}{site}_w2", "channel", "w1"),
    ("Bio-Formats", "f{row}{site}_C=0", "f{row}{site}_C=1", "channel", "C=0"),
    ("a well, a site and C1", "{well}_{site}_C1", "{well}_{site}_C2", "channel", "C1"),
    ("colours", "f{row}{site}_blue", "f{row}{site}_green", "channel", "blue"),
    ("stains behind ch", "f{row}{site}_chDAPI", "f{row}{site}_chGFP", "channel", "chDAPI"),
    ("nm", "f{row}{site} 405 nm", "f{row}{site} 488 nm", "channel", "405 nm"),
    ("times by hand", "field{row}{site}_t001", "field{row}{site}_t002", "time", 1),
    ("planes by hand", "field{row}{site}_z01", "field{row}{site}_z02", "z", 1),
    ("the word frame", "movie{row}{site}_frame1", "movie{row}{site}_frame2", "time", 1),
]


@pytest.mark.parametrize(("one", "other", "key", "value"), [pytest.param(*row[1:], id=row[0]) for row in TWO_OF_ONE])
def test_two_images_of_a_field_are_no_two_fields(one: str, other: str, key: str, value: object, tmp_path: Path) -> None:
    check(screen(one, other), Refused(f'"{key}"'), tmp_path / "none")
    check(screen(one, other, beside=(), **{key: value}), FOUR_OF_MORE, tmp_path / "chosen")


@pytest.mark.parametrize("name", ["cell_{row}", "field{row}", "c{row}", "t{row}", "2024-05-01_{row}", "A{row}"])
def test_ordinary_names_are_fields_of_their_own(name: str, tmp_path: Path) -> None:
    check(screen(name), Accepted("no well" if name == "A{row}" else None, 2, 0), tmp_path)


CLONES = ("mouse_{row}{site}_c1", "mouse_{row}{site}_c2")


def test_names_that_look_like_channels_may_be_declared_fields(tmp_path: Path) -> None:
    check(screen(*CLONES), Refused('"channel".*"each_name_is_a_field": true'), tmp_path / "a")
    check(screen(*CLONES, each_name_is_a_field=True), Accepted(fovs=8, nuclei=0), tmp_path / "b")


def beside(name: str, in_folder: bool = False) -> Change:
    def change(plate: Path) -> None:
        screen(CV7000)(plate)
        path = Path(os.fsdecode(os.fsencode(plate / "images") + b"/" + os.fsencode(name)))
        if in_folder:
            path.mkdir()
        else:
            path.write_bytes(b"x")

    return change


LEFT_OUT = [
    *("notes.docx", "B07.tif.filepart", "plate.czi", "scan.jpg", os.fsdecode(b"Z\xe4hlung.tif"), "a\tb.tif", " .tif"),
]


@pytest.mark.parametrize("name", LEFT_OUT, ids=[ascii(name) for name in LEFT_OUT])
def test_a_screen_is_imported_without_a_file_that_is_no_image(name: str, tmp_path: Path) -> None:
    check(beside(name), Accepted('"left_out".*images/', 4, 0), tmp_path)


def test_a_screen_is_imported_without_a_folder_among_its_images(tmp_path: Path) -> None:
    check(beside("TimePoint_1", in_folder=True), Accepted("TimePoint_1: is a folder", 4, 0), tmp_path)


@pytest.mark.parametrize("name", ["metadata.txt", "Assay.ini", "experiment_descriptor.dat", "P_metadata.json"])
def test_known_side_files_are_counted(name: str, tmp_path: Path) -> None:
    check(beside(name), Accepted("files of the microscope that describe the measurement", 4, 0), tmp_path)


@table(ROWS)
def test_fields_of_a_microscope_are_told_or_refused(change: Change, outcome: Outcome, tmp_path: Path) -> None:
    check(change, outcome, tmp_path)
