"""What stands in plate.json, and how files are called."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path
from typing import Literal

import tifffile

from tests.plates import INFO
from tests.situations.outcomes import Accepted, Change, Outcome, Refused, Row, check, table
from tests.situations.plain import field, put_image, rename_fields, to_screen, write_info


def encoded(encoding: str) -> Change:
    """Save plate.json in an encoding; its objective has a letter that is not ASCII."""

    def change(plate: Path) -> None:
        write_info(plate, objective="20 à")
        text = json.dumps(json.loads((plate / "plate.json").read_text()), ensure_ascii=False)
        (plate / "plate.json").write_text(text, encoding=encoding)

    return change


def text(content: str) -> Change:
    return lambda plate: (plate / "plate.json").write_text(content)


def folder_called_plate_json(plate: Path) -> None:
    (plate / "plate.json").unlink()
    (plate / "plate.json").mkdir()


def without(key: str) -> Change:
    return lambda plate: write_info(plate, **{key: None})


def value(**info: object) -> Change:
    return lambda plate: write_info(plate, **info)


def named(*names: str) -> Change:
    return lambda plate: rename_fields(plate, *names)


def named_in_latin_1(plate: Path) -> None:
    for part in ("images", "labels"):
        (plate / part / "f1.tif").rename(plate / part / os.fsdecode(b"Z\xe4hlung 1.tif"))


def accent(form: Literal["NFC", "NFD"]) -> str:
    return unicodedata.normalize(form, "Zählung é")


def accents_composed_otherwise(plate: Path) -> None:
    (plate / "images/f1.tif").rename(plate / f"images/{accent('NFC')}.tif")
    (plate / "labels/f1.tif").rename(plate / f"labels/{accent('NFD')}.tif")


def two_names_of_other_accents(plate: Path) -> None:
    to_screen(plate)
    rename_fields(plate, accent("NFC"), accent("NFD"))


def left_by_systems(plate: Path) -> None:
    for folder in (plate, plate / "images", plate / "labels"):
        for name in (".DS_Store", "._f1.tif", "Thumbs.db", "desktop.ini"):
            (folder / name).write_bytes(b"x")
        for name in ("@eaDir", "#recycle", "__MACOSX"):
            (folder / name / "f1.tif").mkdir(parents=True)


def sized(**options: object) -> Change:
    """Write both images with what a TIFF says of its pixel size."""

    def change(plate: Path) -> None:
        for number in (1, 2):
            put_image(plate, field(number)[0], number, **options)

    return change


def of_ome(size: float, unit: str, height: float | None = None) -> Change:
    def change(plate: Path) -> None:
        metadata = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeXUnit": unit}
        metadata |= {"PhysicalSizeY": height or size, "PhysicalSizeYUnit": unit}
        for number in (1, 2):
            (plate / f"images/f{number}.tif").unlink()
            path = plate / f"images/f{number}.ome.tif"
            tifffile.imwrite(path, field(number)[0], ome=True, metadata=metadata)

    return change


def of_imagej(size: float, unit: str) -> Change:
    return sized(imagej=True, resolution=(1 / size, 1 / size), metadata={"unit": unit})


def without_size_in_plate_json(change: Change) -> Change:
    def and_leave_it_out(plate: Path) -> None:
        change(plate)
        write_info(plate, pixel_size_um=None)

    return and_leave_it_out


TRAILING_COMMA = json.dumps(INFO)[:-1] + ",}"
TWICE = json.dumps(INFO)[:-1] + ', "role": "test"}'

PLATE_JSON: list[Row] = [
    ("UTF-8 with a byte order mark", encoded("utf-8-sig"), Accepted()),
    ("UTF-16", encoded("utf-16"), Accepted()),
    ("Latin-1", encoded("latin-1"), Refused("plate.json.*UTF-8")),
    ("an empty file", text(""), Refused("plate.json")),
    ("a list", text("[]"), Refused("plate.json")),
    ("a comma too many", text(TRAILING_COMMA), Refused("plate.json")),
    ("a key that stands twice", text(TWICE), Refused("role.*more than once")),
    ("an unknown key", value(objectiv="20X"), Refused("objectiv: unknown key; allowed are name")),
    ("a name with a slash", value(name="a/b"), Refused("name: .*letters")),
    ("a cell line with a comma", value(cell_line="A, B"), Refused("cell_line: .*letters")),
    ("an unknown role", value(role="training"), Refused("role.*train.*test.*screen")),
    ("a pixel size of 0", value(pixel_size_um=0), Refused("pixel_size_um")),
    ("a pixel size that is no number", text(json.dumps(INFO).replace("0.5", "NaN")), Refused("pixel_size_um")),
    ("a pixel size with its unit", value(pixel_size_um="0.5 um"), Refused("pixel_size_um")),
    ("no role", without("role"), Refused("role: required")),
    ("no word on how it was labelled", without("annotation"), Refused("annotation")),
    (
        "a folder called plate.json",
        folder_called_plate_json,
        Refused("plate.json"),
    ),
]

PIXEL_SIZES: list[Row] = [
    ("OME-XML with the same size", of_ome(0.5, "µm"), Accepted()),
    ("OME-XML in nm", of_ome(500, "nm"), Accepted()),
    ("OME-XML with another size", of_ome(0.65, "µm"), Refused(r"0\.65.*0\.5")),
    ("OME-XML in mm with another size", of_ome(0.65e-3, "mm"), Refused(r"0\.65.*0\.5")),
    ("OME-XML with pixels that aren't square", of_ome(0.5, "µm", 0.6), Refused(r"0\.6")),
    ("ImageJ with the same size", of_imagej(0.5, "micron"), Accepted()),
    ("ImageJ with another size", of_imagej(0.65, "micron"), Refused(r"0\.65.*0\.5")),
    ("ImageJ in nm with another size", of_imagej(650, "nm"), Refused(r"0\.65.*0\.5")),
    ("72 dots per inch", sized(resolution=(72, 72), resolutionunit="INCH"), Accepted()),
    ("a size in the images alone", without_size_in_plate_json(of_ome(0.5, "µm")), Accepted()),
    ("a size nowhere", without("pixel_size_um"), Refused("pixel_size_um")),
]

NAMES: list[Row] = [
    ("dollars", named("dose_$5_and_$10^x", "b"), Accepted()),
    ("commas, quotes and signs", named('a, "b" #3 50%', "<b>x & y"), Accepted()),
    ("Japanese", named("日本語 細胞 核", "b"), Accepted()),
    ("a blank at the end", named("a ", "b"), Accepted()),
    ("accents composed and decomposed", accents_composed_otherwise, Accepted()),
    ("two names that differ in how accents are composed", two_names_of_other_accents, Refused("same name")),
    ("bytes of Latin-1", named_in_latin_1, Refused("hlung 1.*UTF-8")),
    ("a line break", named("a\nb", "b"), Refused("a.*b.tif")),
    ("250 letters", named("x" * 250, "b"), Refused("xxx.*(long|characters|bytes)")),
    ("files that systems leave", left_by_systems, Accepted()),
]


@table(PLATE_JSON)
def test_plate_json_is_right_or_refused(change: Change, outcome: Outcome, tmp_path: Path) -> None:
    check(change, outcome, tmp_path)


@table(PIXEL_SIZES)
def test_a_pixel_size_is_right_or_refused(change: Change, outcome: Outcome, tmp_path: Path) -> None:
    check(change, outcome, tmp_path)


@table(NAMES)
def test_a_file_name_is_right_or_refused(change: Change, outcome: Outcome, tmp_path: Path) -> None:
    check(change, outcome, tmp_path)
