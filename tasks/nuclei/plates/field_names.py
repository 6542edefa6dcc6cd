"""What a microscope writes into the names of its files: well, site, channel, z, time, acquisition.

One table, `CONVENTIONS`. A name may go on behind what the microscope wrote (`…C01_corrected`), and most may begin with
anything. Upper and lower case are the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from tasks.nuclei.plates.wells import is_well, parse_well, row_name, well_of_number


@dataclass(frozen=True)
class Place:
    """Where and how an image was taken, as its name says it. What the name doesn't say is None."""

    well: str
    """Such as B07; W0025 where wells are numbered and the size of the plate isn't known; empty where none is given."""
    site: int | None
    """Given with every well; the first where the name has none."""
    channel: int | str | None
    z: int | None
    time: int | None
    acquisition: int | None
    series: str
    """The rest of the name where it gives no well: images of one series are of the same place."""

    @property
    def field(self) -> tuple[str, int | None, str]:
        """What is equal for all images of one field, whatever their channel, z, time and acquisition."""
        return self.well, self.site, self.series

    @property
    def field_name(self) -> str:
        """Such as: well B07, site 2."""
        return f"well {self.well}, site {self.site}" if self.well else self.series


class _Convention(NamedTuple):
    """How one kind of microscope names its files."""

    microscopes: str
    example: str
    source: str
    """Where the convention is written down or seen."""
    pattern: re.Pattern[str]
    """Its groups are the attributes of `Place`, and row, column and number for parts of a well."""


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.VERBOSE | re.IGNORECASE)


_GUID = r"[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}"

CONVENTIONS = (
    _Convention(
        "Yokogawa CV7000, CV8000",
        "AssayPlate_B07_T0001F002L01A01Z01C01",
        "MeasurementData.mlf: T time, F field, L timeline, A action, Z plane, C channel; names of cpg0016 source_10",
        # An action takes one or several channels: with the channel chosen, there is most often one action left.
        _pattern(
            r"(?:^|.*_)(?P<well>A?[A-Z]\d{2})_T(?P<time>\d{4,})F(?P<site>\d{3,4})L\d{2}A(?P<acquisition>\d{2,})"
            r"Z(?P<z>\d{2,4})C(?P<channel>\d{2})(?![0-9A-Za-z]).*"
        ),
    ),
    _Convention(
        "Yokogawa CQ1, CV1000",
        "W0025F0001T0001Z000C1",
        "Fiji's CellVoyager macros, spaCR: W well by number, row by row; F, T, Z, C as above",
        _pattern(
            r"(?:^|.*_)W(?P<number>\d{1,4})F(?P<site>\d{3,4})T(?P<time>\d{4})Z(?P<z>\d{2,4})C(?P<channel>\d{1,2})"
            r"(?![0-9A-Za-z]).*"
        ),
    ),
    _Convention(
        "PerkinElmer/Revvity Operetta, Opera Phenix",
        "r02c07f01p01-ch1sk1fk1fl1",
        "Harmony's Index.idx.xml: row, column, field, plane, channel; sk time, fk state, fl FLIM",
        _pattern(
            r"(?:^|.*[_\ ])r(?P<row>\d{2})c(?P<column>\d{2})f(?P<site>\d{2,4})p(?P<z>\d{2,4})(?:rc\d+)?"
            r"-ch(?P<channel>\d{1,2})sk(?P<time>\d+)fk\d+fl\d+(?![0-9A-Za-z]).*"
        ),
    ),
    _Convention(
        "Molecular Devices ImageXpress",
        "screen_B07_s1_w1E78EB128-BD0D-4D94-A6AD-3FF28BB1B105",
        "MetaXpress, names of BBBC021: s is left out where there is one site, w where there is one wavelength",
        _pattern(
            r"(?:^|.*?_)(?P<well>A?[A-Z]\d{2})(?=_[sw]\d)(?:_s(?P<site>\d{1,4}?)(?=[^0-9]|$|" + _GUID + r"))?"
            r"(?:_w(?P<channel>\d{1,2}?)(?=[^0-9]|$|" + _GUID + r"))?(?:_t(?P<time>\d+))?(?:_z(?P<z>\d+))?"
            r"(?:" + _GUID + r")?(?![0-9A-Za-z]).*"
        ),
    ),
    _Convention(
        "GE/Cytiva IN Cell Analyzer",
        "B - 07(fld 1 wv DAPI - DAPI z 2)",
        "MoBIE's HCSPattern, spaCR: fld field, wv wavelength; z and time where there are several",
        _pattern(
            r"(?:^|.*[_\ ])(?P<row>A?[A-Z])\ -\ (?P<column>\d{1,2})\(fld\ (?P<site>\d+)"
            r"(?:\ wv\ (?P<channel>[^)]+?)|\ z\ (?P<z>\d+)|(?:\ ?-)?\ t(?:m|ime)\ (?P<time>\d+)(?:\ -\ \d+\ ?ms)?)*\).*"
        ),
    ),
    _Convention(
        "Olympus/Evident ScanR",
        "B07--W00019--P00001--Z00000--T00000--DAPI",
        "names of idr0009, Fractal's converter: W well by number, row by row; P position",
        _pattern(
            r"(?:(?P<well_label>.*?)--)?W(?P<number>\d{4,5})--P(?P<site>\d{3,5})"
            r"(?:--Z(?P<z>\d{3,5})|--T(?P<time>\d{3,5}))+--(?P<channel>.+)"
        ),
    ),
    _Convention(
        "Thermo Fisher CellInsight, ArrayScan",
        "MFGTMP_260306160001_B07f00d0",
        "Bio-Formats' CellomicsReader: f field, d channel, both from 0",
        _pattern(r".*_(?P<well>A?[A-Z]\d{2})f(?P<site>\d{2,3})(?P<channel>d\d{1,2})(?![0-9A-Za-z]).*"),
    ),
    _Convention(
        "BioTek/Agilent Cytation",
        "B7_01_1_3_DAPI_001",
        "Gen5: well, step, number of the channel, field, channel, time",
        _pattern(
            r"(?P<well>[A-Z]\d{1,2})_-?\d{1,2}_\d{1,2}_(?P<site>\d{1,4})_(?P<channel>[^_]+)_(?P<time>\d{3})"
            r"(?![0-9A-Za-z]).*"
        ),
    ),
    _Convention(
        "Micro-Manager",
        "img_channel000_position003_time000000000_z000",
        "Micro-Manager 2, separate image files: all from 0; no well",
        _pattern(
            r"(?P<series>.*)img_(?P<channel>channel\d{3})_(?P<behind>position\d{3})_time(?P<time>\d+)_z(?P<z>\d+)"
            r"(?![0-9A-Za-z]).*"
        ),
    ),
    _Convention(
        "Leica LAS X, exported",
        "Series002_t0_z03_ch00",
        "LAS X's export as TIFF: t, z, ch from 0; no well",
        _pattern(
            r"(?P<series>.+?)(?:_t(?P<time>\d+)|_z(?P<z>\d+))*[_-](?P<channel>ch\d{1,2})(?![0-9A-Za-z])(?P<behind>.*)"
        ),
    ),
    _Convention(
        "Zeiss ZEN and Nikon NIS-Elements, exported",
        "slide 3_s2t1z4c1",
        "export as TIFF of either: s and xy position, t time, z plane, c channel; no well",
        # In small letters, since screen_C1 and screen_C2 are two wells.
        _pattern(
            r"(?P<series>.+?)_(?:t(?P<time>\d+)|z(?P<z>\d+)|(?P<behind>(?:s|xy)\d+))*(?P<channel>(?-i:c)\d{1,2})(?:_ORG)?"
        ),
    ),
    _Convention(
        "named by hand, by stain",
        "day 3_DAPI_1",
        "names of stains, filters and fluorescent proteins",
        _pattern(
            r"(?P<series>.*?)(?:^|[_\ .-])(?P<channel>DAPI|Hoechst\d*|DRAQ5|SYTOX\w*|E?GFP|FITC|TRITC|mCherry|RFP|"
            r"YFP|CFP|BFP|iRFP\d*|Cy[357]|TxRed|Texas\ ?Red|(?:Alexa|AF)[_\ ]?\d{3}|BF|Brightfield|Phase|DIC)"
            r"(?P<behind>(?:[_\ .-].*)?)"
        ),
    ),
)


def read_place(name: str, wells: int | None = None) -> Place | None:
    """Read the name of a file without its extension; None for one that is of no convention.

    `wells` is how many wells the plate has, 96, 384 or 1536, where names number the wells.
    """
    matches = (convention.pattern.fullmatch(name) for convention in CONVENTIONS)
    groups = next((match.groupdict() for match in matches if match is not None), None)
    if groups is None:
        return None
    well = _well(groups, wells)
    if well is None:
        return None
    site = int(groups["site"]) if groups.get("site") else (1 if well else None)
    numbers = {axis: int(groups[axis]) if groups.get(axis) else None for axis in ("z", "time", "acquisition")}
    series = (groups.get("series") or "") + (groups.get("behind") or "")
    return Place(well, site, _channel(groups.get("channel")), **numbers, series=series)


def _well(groups: dict[str, str | None], wells: int | None) -> str | None:
    """Give the well of a name; empty if the convention has none, None if there is no such well."""
    label = groups.get("well") or groups.get("well_label")
    if groups.get("row"):
        row = str(groups["row"])
        label = f"{row_name(int(row) - 1) if row.isdigit() else row}{groups['column']}"
    if label and is_well(label.upper()):
        return parse_well(label.upper()).name
    if number := groups.get("number"):
        return f"W{int(number):04d}" if wells is None else well_of_number(int(number), wells)
    return None if label else ""


def _channel(text: str | None) -> int | str | None:
    return int(text) if text and text.isdigit() else text
