"""What a person is told of what lies in the inbox and isn't a plate."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nucleus_dags.plates.inbox import Arrival, NoPlate, judge
from nucleus_dags.plates.names import problem_of, shown
from nucleus_dags.plates.no_plate import plates_deeper, read_content
from tests.limits import within_limits


def files(*names: str) -> Callable[[Path], None]:
    """Make these files in a folder; a name that ends with / is that of a folder."""

    def make(folder: Path) -> None:
        folder.mkdir()
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).mkdir() if name.endswith("/") else (folder / name).touch()

    return make


def link(target: str, name: str = "") -> Callable[[Path], None]:
    def make(entry: Path) -> None:
        if name:
            files("images/a.tif")(entry)
        (entry / name).symlink_to(target)

    return make


def file(entry: Path) -> None:
    entry.touch()


PLATE = ("images/a.tif", "labels/a.tif")
RENAME = "has no plate.json; rename {} to plate.json"
MEANT = "has no plate.json; if {} is meant as it, rename that to plate.json"

SITUATIONS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "Windows hides the ending": ("a", files("plate.json.txt", *PLATE), RENAME.format("plate.json.txt")),
    "capital": ("a", files("Plate.json", *PLATE), RENAME.format("Plate.json")),
    "capitals": ("a", files("PLATE.JSON", *PLATE), RENAME.format("PLATE.JSON")),
    "second download": ("a", files("plate (1).json", *PLATE), RENAME.format("plate (1).json")),
    "TextEdit": ("a", files("plate.json.rtf", *PLATE), RENAME.format("plate.json.rtf")),
    "editor's copy": ("a", files("plate.json~", *PLATE), RENAME.format("plate.json~")),
    "blank at the end": ("a", files("plate.json ", *PLATE), RENAME.format("plate.json ")),
    "invisible character": ("a", files("\u200bplate.json", *PLATE), RENAME.format("\\u200bplate.json")),
    "copy": ("a", files("plate - Copy.json", *PLATE), MEANT.format("plate - Copy.json")),
    "no ending": ("a", files("plate", *PLATE), MEANT.format("plate")),
    "text": ("a", files("Plate.txt", *PLATE), MEANT.format("Plate.txt")),
    "slip": ("a", files("plat.json", *PLATE), MEANT.format("plat.json")),
    "slip of the ending": ("a", files("plate.jsn", *PLATE), MEANT.format("plate.jsn")),
    "name of the plate": ("a", files("plateA.json", *PLATE), MEANT.format("plateA.json")),
    "in images": (
        "a",
        files("images/plate.json", "images/a.tif"),
        "has images/plate.json in the wrong folder; move it",
    ),
    "folder of a month": (
        "2026-11",
        files("plateA/plate.json", "plateA/images/a.tif"),
        "holds a plate in its folder plateA/; move that folder into the inbox itself",
    ),
    "unpacked": (
        "a",
        files("a/plate.json", "a/images/a.tif"),
        "has its plate one folder too deep, in a/; move what is",
    ),
    "many": (
        "2026-11",
        files(*(f"{n}/plate.json" for n in range(5))),
        "holds 5 plates in folders of it (`0`, `1`, `2` and 2 more); move each of them into the inbox itself",
    ),
    "two folders deeper": ("2026", files("11/a/plate.json"), "holds a plate in its folder 11/a/; move that"),
    "deeper and misnamed": ("2026", files("a/Plate.json"), "holds a plate in its folder a/; move that folder"),
    "images alone": ("a", files("a.tif", "b.tif"), "has images, such as a.tif, and no plate.json; put one beside them"),
    "images in a folder of another name": (
        "a",
        files("raw/a.tif"),
        "has images, such as raw/a.tif, and no plate.json; put the images into images/ and add one",
    ),
    "images and masks": ("a", files("images/a.tif", "masks/a.tif"), "has images and no plate.json; put one beside"),
    "of a microscope": ("a", files("a.nd2"), "has images, such as a.nd2, and no plate.json"),
    "images and labels": ("a", files(*PLATE), "has images and no plate.json; put one beside images/"),
    "OME-Zarr in a folder": (
        "a",
        files("images.ome.zarr/.zattrs"),
        "has images, images.ome.zarr, and no plate.json; put",
    ),
    "OME-Zarr of another name": (
        "a",
        files("x.zarr/.zattrs"),
        "has images, x.zarr, and no plate.json; move it there as",
    ),
    "OME-Zarr": ("a.zarr", files(".zattrs", "A/1/0/0"), "is an OME-Zarr by itself; make a folder for the plate"),
    "OME-Zarr 0.5 without its ending": (
        "a",
        files("zarr.json"),
        "is an OME-Zarr by itself; make a folder for the plate",
    ),
    "archive in a folder": ("a", files("a.tar.gz"), "has an archive, a.tar.gz, and no plate.json; unpack it"),
    "empty": ("a", files(), "is an empty folder; put the plate's plate.json and images/ there, or remove it"),
    "empty folders": ("a", files("images/", "labels/"), "is an empty folder"),
    "shortcut to plate.json": ("a", files("plate.json.lnk"), "has plate.json.lnk and no plate.json; copy the files"),
    "download": ("a", files("plate.json.crdownload"), "has plate.json.crdownload and no plate.json; copy the files"),
    "something else": ("a", files("notes.docx"), "has neither plate.json nor images; put"),
    "layout of the plate": ("a", files("plates.csv"), "has neither plate.json nor images; put"),
    "what a Mac leaves": ("a", files(".DS_Store", "__MACOSX/plate.json"), "is an empty folder"),
    "plate.json is a folder": ("a", files("plate.json/", *PLATE), "has a folder plate.json, where a file is needed"),
    "plate.json leads nowhere": ("a", link("nowhere", "plate.json"), "has a plate.json that is a link that leads nowh"),
    "leads nowhere": (
        "a",
        link("/nowhere/at/all"),
        "is a link that leads nowhere; correct the link, or copy the plate",
    ),
    "leads to itself": ("a", link("a"), "is a link that leads nowhere"),
    "zip": ("a.zip", file, "is an archive; unpack it, so that the inbox has a folder with plate.json and images/"),
    "tar": ("a.TAR.GZ", file, "is an archive; unpack it"),
    "shortcut": ("plateA.lnk", file, "is a shortcut; copy the plate's folder itself here"),
    "half an upload": (
        "plateA.zip.filepart",
        file,
        "is a copy that wasn't finished; copy it anew, and remove this one",
    ),
    "image": ("a_B07_T0001F001.TIF", file, "is an image by itself; put the plate's images into images/ of a folder"),
    "plate.json": ("plate.json", file, "lies in the inbox itself; a plate is a folder: put it into one as plate.json"),
    "misnamed plate.json": ("Plate.json.txt", file, "lies in the inbox itself; a plate is a folder"),
    "file": ("readme.txt", file, "is a file; a plate is a folder with plate.json and images/"),
    "DONE": ("DONE", file, "is a file; a plate is a folder"),
    "rejected": ("rejected", file, "is where faulty plates are set aside, and must be a folder; rename it"),
    "name not in UTF-8": ("caf\udce9", files("plate.json", *PLATE), "has a name in another encoding than UTF-8"),
    "name of two lines": ("a\nb", files("plate.json", *PLATE), "has a name with a line break"),
    "long name": ("n" * 201, files("plate.json", *PLATE), "has a name of 201 bytes, and at most 200 can be used"),
}


@pytest.mark.parametrize(("name", "make", "reason"), SITUATIONS.values(), ids=SITUATIONS)
def test_what_is_no_plate_is_told_with_the_reason_and_what_to_do(
    tmp_path: Path, name: str, make: Callable[[Path], None], reason: str
) -> None:
    make(tmp_path / name)
    before = sorted(tmp_path.rglob("*"))
    judged = judge(tmp_path / name, 0)
    assert isinstance(judged, NoPlate)
    assert judged.reason.startswith(reason)
    assert judged.reason.isprintable()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "names",
    [(), PLATE, ("images.ome.zarr/.zattrs",), ("plate.json.txt",), ("old/plate.json",), (".zattrs",)],
    ids=["alone", "plain", "OME-Zarr", "with a second one", "with another plate", "OME-Zarr unpacked there"],
)
def test_a_folder_with_plate_json_is_a_plate_whatever_else_it_holds(tmp_path: Path, names: tuple[str, ...]) -> None:
    files("plate.json", *names)(tmp_path / "plate")
    assert isinstance(judge(tmp_path / "plate", 0), Arrival)


def test_a_link_to_a_plate_is_a_plate(tmp_path: Path) -> None:
    files("plate.json", *PLATE)(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert isinstance(judge(tmp_path / "link", 0), Arrival)


def test_links_that_lead_around_come_to_an_end(tmp_path: Path) -> None:
    files("2026-11/a/plate.json", "2026-11/a/images/a.tif")(tmp_path / "box")
    (tmp_path / "box" / "2026-11" / "around").symlink_to(tmp_path / "box" / "2026-11")
    judged = judge(tmp_path / "box" / "2026-11", 0)
    assert isinstance(judged, NoPlate)
    assert judged.reason.startswith("holds a plate in its folder a/; move that folder")


def test_a_link_out_of_a_folder_is_not_followed_and_who_put_it_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "2026-11").mkdir()
    # To go through all of the machine would take for ever.
    (tmp_path / "2026-11" / "a").symlink_to("/")
    with within_limits():
        judged = judge(tmp_path / "2026-11", 0)
    assert isinstance(judged, NoPlate)
    assert judged.reason == "has a and no plate.json; copy the files themselves, plate.json and images/"


def test_plates_deeper_in_a_plate_are_found(tmp_path: Path) -> None:
    files("plate.json", "old/plate.json", "images/plate.json", "x.zarr/plate.json")(tmp_path / "plate")
    assert plates_deeper(read_content(tmp_path / "plate")) == ["old"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plate 7", "plate 7"),
        ("Zürich", "Zürich"),
        ("caf\udce9", r"caf\xe9"),
        ("a\nb", r"a\nb"),
        ("n" * 255, f"{'n' * 60}…{'n' * 19}"),
    ],
)
def test_every_name_can_be_shown_on_one_line(name: str, expected: str) -> None:
    assert shown(name) == expected
    json.dumps(shown(name), ensure_ascii=False).encode()


@pytest.mark.parametrize("name", ["plate 7", "Zürich", "2026-11-26_(1)", "MCF10A, 20X", "プレート", "n" * 200])
def test_usual_names_can_be_used(name: str) -> None:
    assert problem_of(name) is None
