"""The DAG `segment_plate`."""

from pathlib import Path
from typing import Any

import pytest

import segment_plate
from nucleus_dags.plates.stored import read_plate
from tests.dags.stored_plates import add_plate

ASSEMBLED: Any = {"counts": {"nuclei": 5000, "fovs": 382}, "key": "0123456789abcdef"}
WHERE = "nucleus-data/results/s/v3"
VERSION_3 = {"version": 3, "key": "0123456789abcdef"}


def note_of(store: Path, **report: Any) -> list[str]:
    plate = read_plate(store, add_plate(store, "s", "screen", fovs=[{}] * 382, **report))
    return segment_plate._lines("run", plate, ASSEMBLED, WHERE, [], 0)


def write_labels(store: Path) -> None:
    labels = store / "assemble_plate/0123456789abcdef/labels/a.tif"
    labels.parent.mkdir(parents=True)
    labels.write_text("labels")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NUCLEUS_STORE", str(tmp_path))
    return tmp_path


def test_the_note_says_how_many_fields_were_left_out_of_how_many_and_which(store: Path) -> None:
    fields = [("B07", "images/x_B07.tif: is cut short"), ("", "images/y.tif: every pixel is 0")]
    first, *lines = note_of(store, left_out=[{"well": well, "problem": problem} for well, problem in fields])
    assert first == "5000 nuclei in 382 fields; 2 of 384 fields were left out as faulty"
    assert lines[-3:] == [
        "- **s**: 2 of 384 fields were left out as faulty:",
        "  - well B07: images/x_B07.tif: is cut short",
        "  - images/y.tif: every pixel is 0",
    ]


def test_the_note_says_nothing_of_fields_that_are_all_there(store: Path) -> None:
    first, *lines = note_of(store)
    assert first == "5000 nuclei in 382 fields"
    assert not [line for line in lines if "left out" in line]


def test_the_note_names_the_folder_of_plate_and_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    monkeypatch.setenv("NUCLEUS_STORE", str(store))
    write_labels(store)
    plate = read_plate(store, add_plate(store, "s", "screen", fovs=[{}] * 382))
    where = segment_plate._named(plate, VERSION_3, ASSEMBLED)
    assert where == str(tmp_path / "results/s/v3")
    assert (Path(where) / "labels/a.tif").read_text() == "labels"
    assert f"Label images, tables and pictures: {where}" in segment_plate._lines("run", plate, ASSEMBLED, where, [], 0)


def test_where_no_link_can_be_made_the_note_says_so_and_names_the_folder_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    monkeypatch.setenv("NUCLEUS_STORE", str(store))
    write_labels(store)
    (tmp_path / "results").write_text("a file")
    plate = read_plate(store, add_plate(store, "s", "screen"))
    where = segment_plate._named(plate, VERSION_3, ASSEMBLED)
    assert where.startswith(f"{store}/assemble_plate/0123456789abcdef (in results/ there is no link to it: ")


def test_the_first_line_points_to_label_images_that_look_wrong(store: Path) -> None:
    plate = read_plate(store, add_plate(store, "s", "screen", fovs=[{}] * 382))
    remark = "- **s**: 1 of 382 label images look wrong, and count all the same; look at them:"
    first, *lines = segment_plate._lines("run", plate, ASSEMBLED, WHERE, [], 0, [remark])
    assert first == "5000 nuclei in 382 fields; look at the remarks below"
    assert remark in lines


def test_the_note_of_a_model_that_misses_too_many_nuclei_begins_with_it(store: Path) -> None:
    plate = read_plate(store, add_plate(store, "s", "screen", fovs=[{}] * 382))
    warning = "🔴 The model misses 62 % of the nuclei of its test plates."
    first, *_ = segment_plate._lines("run", plate, ASSEMBLED, WHERE, [], 0, warning=warning)
    assert first == f"{warning} 5000 nuclei in 382 fields"


def test_the_note_says_what_to_look_at_in_images_that_are_doubtful(store: Path) -> None:
    doubt = "images/x.tif: 4.0% of its pixels are exactly 0 in long stretches"
    assert note_of(store, doubts=[doubt])[-2:] == [
        "- **s**: 1 doubt about its labels or images; nuclei may be missing there; look at them:",
        f"  - {doubt}",
    ]
