"""Tests of tasks.steps.ingest: further label images of the same fields, and how a plate was annotated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.nuclei.errors import InputError
from tasks.nuclei.plates.chosen_patches import read_chosen_patches
from tasks.nuclei.plates.files import open_plate
from tasks.nuclei.plates.image_files import read_label_image
from tasks.nuclei.plates.origins import COLUMNS, read_origins, write_origins
from tests.plates import make_plate
from tests.steps.ingesting import IMAGE, LABEL_IMAGE, ingest, report_of

ONE_NUCLEUS = np.where(LABEL_IMAGE == 1, LABEL_IMAGE, 0)
FIELDS = {"a": IMAGE, "b": IMAGE}
LABELS = dict.fromkeys(FIELDS, LABEL_IMAGE)
ROWS = [("a", 1, "corrected", "version 3", "fpn2_ws:x"), ("a", 2, "drawn", "", "")]


def plate_with_origins(folder: Path, rows: list[tuple[str, int, str, str, str]]) -> Path:
    plate = make_plate(folder, FIELDS, LABELS)
    write_origins(pd.DataFrame(rows, columns=["fov", "label", "origin", "model", "proposed_by"]), plate)
    return plate


def test_a_set_of_labels_is_kept_beside_those_that_count_and_changes_no_number_of_the_plate(
    tmp_path: Path, store: Path
) -> None:
    alone = ingest(make_plate(tmp_path / "p", FIELDS, LABELS), store)
    plate = make_plate(tmp_path / "q", FIELDS, LABELS, label_sets={"anna": {"b": ONE_NUCLEUS}}, name="p")
    both = ingest(plate, store)
    assert both.counts == alone.counts
    assert both.outputs["plate"] != alone.outputs["plate"]
    stored = open_plate(store / both.outputs["plate"])
    assert {name: list(files) for name, files in stored.label_sets.items()} == {"anna": ["b"]}
    np.testing.assert_array_equal(read_label_image(stored.label_sets["anna"]["b"]), ONE_NUCLEUS)


@pytest.mark.parametrize(
    ("name", "file", "labels", "message"),
    [
        ("anna", "c", ONE_NUCLEUS, r"label_sets/anna/c\.tif: there is no field of this name with labels"),
        ("anna", "a", ONE_NUCLEUS[1:], r"label_sets/anna/a\.tif: is 19 x 30 px and its image 20 x 30 px"),
        ("anna", "a", -1 * ONE_NUCLEUS.astype(int), r"label_sets/anna/a\.tif: has the negative label"),
        ("of Anna", "a", ONE_NUCLEUS, r"label_sets/of Anna: must be a folder .* rename it"),
    ],
)
def test_a_faulty_set_is_refused_with_the_name_of_the_file(
    name: str, file: str, labels: np.ndarray, message: str, tmp_path: Path, store: Path
) -> None:
    plate = make_plate(tmp_path / "p", FIELDS, LABELS, label_sets={name: {file: labels}})
    with pytest.raises(InputError, match=message):
        ingest(plate, store)


def test_where_labels_come_from_is_kept_and_counted(tmp_path: Path, store: Path) -> None:
    result = ingest(plate_with_origins(tmp_path / "p", ROWS), store)
    assert report_of(result, store)["origins"] == {"drawn": 1, "corrected": 1, "accepted": 0}
    table = read_origins(store / result.outputs["plate"])
    assert list(table.itertuples(index=False, name=None)) == ROWS


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", 7, "drawn", "", "")], "has a row for label 7 of a, which has no label 7"),
        ([("c", 1, "drawn", "", "")], "has a row for label 1 of c, which has no labels"),
        ([("a", 1, "guessed", "", "")], "origin is 'guessed'; allowed are drawn, corrected, accepted"),
        ([ROWS[0], ROWS[0]], "label 1 of a stands there more than once"),
    ],
)
def test_origins_of_other_nuclei_are_refused(
    rows: list[tuple[str, int, str, str, str]], message: str, tmp_path: Path, store: Path
) -> None:
    with pytest.raises(InputError, match=message):
        ingest(plate_with_origins(tmp_path / "p", rows), store)


def set_with_origins(folder: Path, label: int) -> Path:
    plate = make_plate(folder, FIELDS, LABELS, label_sets={"anna": {"b": ONE_NUCLEUS}})
    row = ("b", label, "accepted", "version 3", "fpn2_ws:x")
    write_origins(pd.DataFrame([row], columns=list(COLUMNS)), plate / "label_sets/anna")
    return plate


def test_where_labels_of_a_further_set_come_from_is_a_part_of_the_plate_and_counted_by_itself(
    tmp_path: Path, store: Path
) -> None:
    result = ingest(set_with_origins(tmp_path / "p", 1), store)
    stored = open_plate(store / result.outputs["plate"])
    assert list(stored.label_sets["anna"]) == ["b"]
    assert read_origins(stored.folder / "label_sets/anna")["proposed_by"].to_list() == ["fpn2_ws:x"]
    report = report_of(result, store)
    assert report["origins_of_label_sets"] == {"anna": {"drawn": 0, "corrected": 0, "accepted": 1}}
    assert "origins" not in report
    without = make_plate(tmp_path / "q", FIELDS, LABELS, label_sets={"anna": {"b": ONE_NUCLEUS}}, name="p")
    assert ingest(without, store).outputs["plate"] != result.outputs["plate"]


def test_origins_of_a_further_set_are_of_its_own_nuclei(tmp_path: Path, store: Path) -> None:
    # Label 2 is one of the labels that count alone.
    with pytest.raises(
        InputError, match=r"label_sets/anna/origins\.csv: has a row for label 2 of b, which has no label 2"
    ):
        ingest(set_with_origins(tmp_path / "p", 2), store)


def test_other_columns_of_origins_are_refused(tmp_path: Path, store: Path) -> None:
    plate = make_plate(tmp_path / "p", FIELDS, LABELS)
    (plate / "origins.csv").write_text("fov,label\na,1\n")
    with pytest.raises(InputError, match=r"has the columns fov, label; it has fov, label, origin"):
        ingest(plate, store)


def plate_with_patches(folder: Path, rows: str) -> Path:
    plate = make_plate(folder, FIELDS, LABELS)
    (plate / "chosen_patches.csv").write_text(f"fov,y0,x0,y1,x1,choice,request\n{rows}\n")
    return plate


def test_how_patches_were_chosen_is_kept_counted_and_a_part_of_the_plate(tmp_path: Path, store: Path) -> None:
    result = ingest(plate_with_patches(tmp_path / "p", "a,0,0,20,15,random,key\na,0,15,20,30,ranked,key"), store)
    assert report_of(result, store)["chosen_patches"] == {"random": 1, "ranked": 1}
    assert read_chosen_patches(store / result.outputs["plate"])["choice"].to_list() == ["random", "ranked"]
    alone = ingest(make_plate(tmp_path / "q", FIELDS, LABELS, name="p"), store)
    assert alone.outputs["plate"] != result.outputs["plate"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,0,0,20,31,random,", "rows 0 to 20 and columns 0 to 31 of a, which has 20 x 30 px; remove the row"),
        ("c,0,0,20,30,random,", "of c, which isn't a field of the plate"),
        ("a,0,0,20,30,best,", "choice is 'best'; allowed are random, ranked"),
        ("a,0,0,20,half,random,", r"chosen_patches\.csv: can't be read"),
    ],
)
def test_patches_that_cannot_be_are_refused(row: str, message: str, tmp_path: Path, store: Path) -> None:
    with pytest.raises(InputError, match=message):
        ingest(plate_with_patches(tmp_path / "p", row), store)
