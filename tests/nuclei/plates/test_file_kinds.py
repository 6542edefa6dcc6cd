"""Tests of tasks.nuclei.plates.file_kinds, by plates with such files."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.file_kinds import LONGEST_NAME_BYTES
from tasks.nuclei.plates.files import pair_files
from tests.plates import make_plate, two_squares

IMAGE, LABEL_IMAGE = two_squares()


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    return make_plate(tmp_path / "plate", {"a": IMAGE}, {"a": LABEL_IMAGE})


@pytest.mark.parametrize(
    "name",
    [
        ".DS_Store",
        "._a.tif",
        ".nfs000000000123",
        ".snapshot",
        ".Trash-1000",
        ".~lock.a.tif#",
        "#recycle",
        "@Recycle",
        "@eaDir",
        "$RECYCLE.BIN",
        "System Volume Information",
        "Thumbs.db",
        "Icon\r",
        "__MACOSX",
        "desktop.ini",
        "DESKTOP.INI",
        "ehthumbs.db",
        "lost+found",
        "~$a.tif",
    ],
)
@pytest.mark.parametrize("is_folder", [False, True])
def test_what_systems_leave_is_ignored(plate: Path, name: str, is_folder: bool) -> None:
    for part in ("images", "labels"):
        if is_folder:
            (plate / part / name / "a.tif").mkdir(parents=True)
        else:
            (plate / part / name).write_bytes(b"x")
    opened = pair_files(plate)
    assert [fov.name for fov in opened.fovs] == ["a"]
    assert opened.not_used == {}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("p_B02_s1_w1_thumb62D4A363-7C7E-40D0-8A9E-55EC6681574D.tif", "thumbnails of the ImageXpress"),
        ("p_B02_s1_thumb.TIF", "thumbnails of the ImageXpress"),
        ("DC_sCMOS #1_CAM1.tif", "correction images of the CV7000"),
        ("SC_BP445-45_40x_M10_CH01.png", "correction images of the CV7000"),
        ("MeasurementData.mlf", "files of the microscope that describe the measurement"),
        ("p.HTD", "files of the microscope that describe the measurement"),
        ("Index.idx.xml", "files of the microscope that describe the measurement"),
        ("metadata.ome.xml", "files of the microscope that describe the measurement"),
        ("a_seg.npy", "files that Cellpose writes beside images"),
        ("a_cp_outlines.txt", "files that Cellpose writes beside images"),
    ],
)
def test_what_microscopes_and_tools_write_beside_images_is_left_out_and_counted(
    plate: Path, name: str, kind: str
) -> None:
    (plate / "images" / name).write_bytes(b"x")
    opened = pair_files(plate)
    assert [fov.name for fov in opened.fovs] == ["a"]
    assert opened.not_used == {kind: 1}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("b.tif.part", "b.tif.part: is a copy that isn't finished; copy it again"),
        ("b.tif.crdownload", "is a copy that isn't finished"),
        (".b.tif.Xa3bQ9", "is a copy that isn't finished"),
        ("b.tmp", "is a copy that isn't finished"),
        ("notes.docx", "notes.docx: is not an image; allowed are .*, remove it"),
        ("notes.txt", "is not an image"),
        ("RoiSet.zip", "is not an image; allowed are .*, export it as TIFF"),
        ("b.npy", "is not an image; allowed are .*, export it as TIFF"),
        ("b.roi", "export it as TIFF"),
        ("b.czi", "export it as TIFF"),
        ("b.jpg", "is not an image"),
        ("b", "is not an image"),
        ("two\nlines.tif", r"two\\x0alines.tif: has a line break, tab or other control character in its name"),
        ("tab\t.tif", "has a line break, tab or other control character"),
        ("line\u2028.tif", "has a line break, tab or other control character"),
        (" .tif", "has a name of spaces only"),
        ("é" * 101 + ".tif", r"has a name of 202 bytes \(most letters are one, .*\); allowed are 200"),
    ],
)
def test_a_file_that_is_no_image_or_has_no_good_name_is_refused_in_one_line(
    plate: Path, name: str, message: str
) -> None:
    (plate / "images" / name).write_bytes(b"x")
    with pytest.raises(InputError, match=message) as error:
        pair_files(plate)
    assert "\n" not in str(error.value)


def test_a_name_that_is_not_utf_8_is_refused_in_words_that_can_be_written(plate: Path) -> None:
    path = os.path.join(os.fsencode(plate / "images"), b"Z\xe4hlung 1.tif")  # noqa: PTH118
    Path(os.fsdecode(path)).write_bytes(b"x")
    with pytest.raises(
        InputError, match=r"images/Z\ufffdhlung 1\.tif: has letters in its name that aren't UTF-8"
    ) as error:
        pair_files(plate)
    str(error.value).encode()


def test_folders_and_pipes_among_the_images_are_refused(plate: Path) -> None:
    (plate / "images/TimePoint_1").mkdir()
    (plate / "images/b.tif").mkdir()
    os.mkfifo(plate / "images/c.tif")
    message = r"TimePoint_1: is a folder; .*b\.tif: is a folder; .*c\.tif: is not a file but a device or a pipe"
    with pytest.raises(InputError, match=message):
        pair_files(plate)


@pytest.mark.parametrize(
    "name",
    ["dose_$5_and_$10^x", 'a, "b" #3 50%', "<b>x & y", "日本語 細胞 核", " a ", "a\\b", "=1+2", "NA", "1e5", "0012"],
)
def test_odd_names_are_taken_as_they_are(tmp_path: Path, name: str) -> None:
    plate = pair_files(make_plate(tmp_path / "p", {name: IMAGE}, {name: LABEL_IMAGE}))
    assert [(fov.name, fov.labels_path is not None) for fov in plate.fovs] == [(name, True)]


def test_a_name_of_the_most_bytes_is_taken(tmp_path: Path) -> None:
    make_plate(tmp_path / "p", {"x" * LONGEST_NAME_BYTES: IMAGE}, {})
    assert len(pair_files(tmp_path / "p").fovs) == 1


def test_composed_and_decomposed_accents_are_one_name(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Zählung é") for form in ("NFC", "NFD"))
    (fov,) = pair_files(make_plate(tmp_path / "p", {decomposed: IMAGE}, {composed: LABEL_IMAGE})).fovs
    assert (fov.name, fov.image_path.stem, fov.labels_path is not None) == (composed, decomposed, True)
    make_plate(tmp_path / "q", {decomposed: IMAGE, composed: IMAGE}, {})
    with pytest.raises(InputError, match="has the same name as"):
        pair_files(tmp_path / "q")


@pytest.mark.parametrize("part", ["images", "labels"])
def test_a_folder_in_other_letters_is_named(plate: Path, part: str) -> None:
    (plate / part).rename(plate / part.capitalize())
    with pytest.raises(InputError, match=rf"has a folder {part.capitalize()}/; rename it to {part}/"):
        pair_files(plate)


@pytest.mark.parametrize("name", ["f1_mask", "f1_label", "f1-mask", "mask_f1", "Labels of F1"])
def test_a_label_image_of_nearly_the_name_of_an_image_is_told_which(tmp_path: Path, name: str) -> None:
    plate = make_plate(tmp_path / "p", {"f1": IMAGE, "f12": IMAGE}, {name: LABEL_IMAGE})
    with pytest.raises(
        InputError, match=rf"labels/{name}\.tif: .*seems to belong to the image f1; give it the same name"
    ):
        pair_files(plate)


@pytest.mark.parametrize(("other", "part"), [("Masks", "labels"), ("Annotations", "labels"), ("raw", "images")])
def test_a_folder_of_another_name_is_told_its_right_one(plate: Path, other: str, part: str) -> None:
    (plate / part).rename(plate / other)
    with pytest.raises(InputError, match=rf"has a folder {other}/; rename it to {part}/"):
        pair_files(plate)
