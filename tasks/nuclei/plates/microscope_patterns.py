"""What a microscope writes into the names of its files: well, site, channel, z, time, acquisition.

One table, `CONVENTIONS`, of those that give a well. A name may go on behind what the microscope wrote
(`…C01_corrected`), and most may begin with anything. Upper and lower case are the same. Other names: `name_parts`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tasks.nuclei.plates.place import Place, number_in, time_of
from tasks.nuclei.plates.wells import is_well, parse_well, row_name, well_of_number


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
            r"(?:^|.*[_\ -])(?P<well>A?[A-Z]\d{1,2})_T(?P<time>\d{4,})F(?P<site>\d{3,4})L\d{2}A(?P<acquisition>\d{2,})"
            r"Z(?:(?P<z>\d{2,4})|[A-Z]{2,4})C(?P<channel>\d{2})(?![0-9A-Za-z]).*"
        ),
    ),
    _Convention(
        "Yokogawa CellVoyager",
        "B-07_F0001_T0001_Z0001_C1",
        "names that laboratories report: F field, T time, Z plane, C channel",
        _pattern(
            r"(?:^|.*[_\ ])(?P<row>A?[A-Z])-?(?P<column>\d{1,2})_F(?P<site>\d{3,4})_T(?P<time>\d{4})_Z(?P<z>\d{2,4})"
            r"_C(?P<channel>\d{1,2})(?![0-9A-Za-z]).*"
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
        "Harmony's Index.idx.xml: row, column, field, plane, channel; sk time, fk state, fl FLIM; some may lack",
        _pattern(
            r"(?:^|.*[_\ -])r(?P<row>\d{2})c(?P<column>\d{2})f(?P<site>\d{2,4})(?:p(?P<z>\d{2,4}))?(?:rc\d+)?"
            r"-ch(?P<channel>\d{1,2})(?:(?:sk|t)(?P<time>\d+))?(?:fk\d+)?(?:fl\d+)?(?![0-9A-Za-z]).*"
        ),
    ),
    _Convention(
        "PerkinElmer Columbus, exported",
        "002007-1-001001001",
        "names that laboratories report: row and column, field, then plane, time and channel of three digits each",
        _pattern(
            r"(?:^|.*[_\ ])(?P<row>\d{3})(?P<column>\d{3})-(?P<site>\d{1,4})-(?P<z>\d{3})(?P<time>\d{3})"
            r"(?P<channel>\d{3})(?![0-9A-Za-z]).*"
        ),
    ),
    _Convention(
        "Molecular Devices ImageXpress",
        "screen_B07_s1_w1E78EB128-BD0D-4D94-A6AD-3FF28BB1B105",
        "MetaXpress, names of BBBC021: s is left out for one site, w for one wavelength; folders TimePoint_1 for times",
        _pattern(
            r"(?:TimePoint_(?P<time_point>\d+)_)?(?:|.*?[_\ -])(?P<well>(?-i:A?[A-Z]\d{2}|[A-P]\d))(?=_[sw]\d)"
            r"(?:_s(?P<site>\d{1,4}?)(?=[^0-9]|$|" + _GUID + r")|_w(?P<channel>\d{1,2}?)(?=[^0-9]|$|" + _GUID + r")"
            r"|_t(?P<time>\d+)|_z(?P<z>\d+))+(?:" + _GUID + r")?(?![0-9A-Za-z]).*"
        ),
    ),
    _Convention(
        "GE/Cytiva IN Cell Analyzer",
        "B - 07(fld 1 wv DAPI - DAPI z 2)",
        "MoBIE's HCSPattern, spaCR: fld field, wv wavelength; z and time where there are several",
        _pattern(
            r"(?:^|.*[_\ ])(?P<row>A?[A-Z])\ ?-\ ?(?P<column>\d{1,2})\((?=fld|wv)(?:\ ?fld\ (?P<site>\d+)"
            r"|\ ?wv\ (?P<channel>[^)]+?)|\ z\ (?P<z>\d+)|(?:\ ?-)?\ t(?:m|ime)\ (?P<time>\d+)(?:\ -\ \d+\ ?ms)?)+\).*"
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
        "Gen5: well, step, number of the channel, field and plane, channel, time",
        _pattern(
            r"(?P<well>[A-Z]\d{1,2})_-?\d{1,2}(?:_\d{1,2}(?=_\d)|(?=_\d+Z))_(?P<site>\d{1,4})(?:Z(?P<z>\d{1,3}))?"
            r"_(?P<channel>[^_]+)_(?P<time>\d{3})(?![0-9A-Za-z]).*"
        ),
    ),
    _Convention(
        "Sartorius Incucyte",
        "Plate_B7_1_00d02h00m",
        "names that laboratories report: well, field, time since the start",
        _pattern(
            r"(?:^|.*[_\ ])(?P<well>[A-Z]\d{1,2})_(?P<site>\d{1,3})_(?P<time>\d{2,3}d\d{2}h\d{2}m)(?![0-9A-Za-z]).*"
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
    site, z, acquisition = (number_in(groups.get(axis)) for axis in ("site", "z", "acquisition"))
    channel, time = groups.get("channel"), groups.get("time") or groups.get("time_point")
    return Place(
        well,
        1 if site is None else site,
        int(channel) if channel and channel.isdigit() else channel,
        z,
        time_of(time),
        acquisition,
    )


def _well(groups: dict[str, str | None], wells: int | None) -> str | None:
    """Give the well of a name; None if there is no such well."""
    label = groups.get("well") or groups.get("well_label")
    if groups.get("row"):
        row = str(groups["row"])
        label = f"{row_name(int(row) - 1) if row.isdigit() else row}{int(str(groups['column'])):02d}"
    if label and is_well(label.upper()):
        return parse_well(label.upper()).name
    if number := groups.get("number"):
        return f"W{int(number):04d}" if wells is None else well_of_number(int(number), wells)
    return None
