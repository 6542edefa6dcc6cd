"""Folders of microscopes as they are, screening plates: two wells, two sites each."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
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
    ("one odd name", screen(CV7000, beside=("overview.tif",)), Refused("overview")),
    ("thumbnails", screen(IMAGEXPRESS, beside=("Plate_B07_s1_w1_thumb.tif",)), Accepted("thumbnails", 4, 0)),
    ("correction images", screen(CV7000, beside=CORRECTION_IMAGES), Accepted("correction images", 4, 0)),
    (
        "one site twice",
        screen(CV7000, "Again_{well}_T0001F{site:03}L01A01Z01C01"),
        Refused("Assay_B07.*Again_B07|Again_B07.*Assay_B07"),
    ),
    ("names of two microscopes", screen(CV7000, IMAGEXPRESS), Refused("B07")),
]


@table(ROWS)
def test_fields_of_a_microscope_are_told_or_refused(change: Change, outcome: Outcome, tmp_path: Path) -> None:
    check(change, outcome, tmp_path)
