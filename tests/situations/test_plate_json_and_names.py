"""What stands in plate.json, and how files are called."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path
from typing import Any, Literal

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


def link_to_itself(path: str) -> Change:
    def change(plate: Path) -> None:
        (plate / path).unlink()
        (plate / path).symlink_to((plate / path).name)

    return change


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


def in_micron(size: float) -> dict[str, Any]:
    """Give what a TIFF says of its pixel size, for one image."""
    return {"imagej": True, "resolution": (1 / size, 1 / size), "metadata": {"unit": "micron"}}


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
    ("a pixel size in nm", value(pixel_size_um=216), Refused("pixel_size_um: .*0.01 to 10 µm.*got 216")),
    ("a pixel size in mm", value(pixel_size_um=0.000216), Refused("pixel_size_um: .*0.01 to 10 µm")),
    ("a pixel size in nm as a text", value(pixel_size_um="500"), Refused("pixel_size_um: .*0.01 to 10 µm")),
    ("a pixel size that is true", value(pixel_size_um=True), Refused("pixel_size_um: .*not true or false")),
    ("a pixel size with a comma", value(pixel_size_um="0,5"), Refused("pixel_size_um: .*decimal point: 0.5")),
    ("a pixel size as a text", value(pixel_size_um="0.5"), Accepted()),
    ("a pixel size that is no number", text(json.dumps(INFO).replace("0.5", "NaN")), Refused("pixel_size_um")),
    ("a pixel size with its unit", value(pixel_size_um="0.5 um"), Refused("pixel_size_um: .*as a number in µm")),
    ("a binning that is true", value(binning=True), Refused("binning: .*not true or false")),
    ("a plane that is true", value(z=True), Refused("z: .*not true or false")),
    ("a binning as a text", value(binning="1"), Accepted()),
    ("wells as a text", value(wells="384 "), Accepted()),
    ("an objective as a number", value(objective=60), Accepted()),
    ("words in other letters and with blanks", value(role="TRAIN ", replicate="Technical"), Accepted()),
    ("a cell line with blanks", value(cell_line=" HeLa  Kyoto "), Accepted()),
    ("a name with a blank at its end", value(name="plain "), Accepted()),
    ("a key with a blank", text(json.dumps(INFO).replace('"role"', '"role "')), Accepted()),
    ("a no-break space", value(cell_line="HeLa\u00a0"), Refused("cell_line: has a no-break space .*HeLa")),
    ("a character without width", value(role="train\u200b"), Refused("role: has a zero width space .*train")),
    ("a soft hyphen in a channel", value(channel="DA\u00adPI"), Refused("channel: has a soft hyphen .*DA")),
    ("a key with a byte order mark", value(**{"\ufeffz": 1}), Refused("key .*zero width no-break space")),
    ("something behind the end", text(json.dumps(INFO) + "}"), Refused("line 1, .*stands behind the closing bracket")),
    ("a link to itself", link_to_itself("plate.json"), Refused("plate.json: is a link that leads back to itself")),
    ("an image linked to itself", link_to_itself("images/f2.tif"), Refused("f2.tif: is a link that leads back")),
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
    (
        "a size of one image alone",
        without_size_in_plate_json(lambda plate: put_image(plate, field(2)[0], 2, **in_micron(0.65))),
        Accepted(r"f2\.tif.*0\.65 µm.*1 of 2 images"),
    ),
    (
        "a size of one image alone, and in plate.json",
        lambda plate: put_image(plate, field(2)[0], 2, **in_micron(0.5)),
        Accepted(),
    ),
    ("96 dots per inch in µm", without_size_in_plate_json(of_imagej(264.6, "micron")), Refused("264.6 µm.*0.01 to 10")),
    ("96 dots per inch in mm", without_size_in_plate_json(of_imagej(0.2646, "mm")), Refused("264.6 µm.*0.01 to 10")),
    ("a size of 1 µm in OME-XML", without_size_in_plate_json(of_ome(1, "µm")), Accepted()),
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
