"""Tables of nuclei."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.nuclei.tables import doubts_about_sizes, read_csv, write_csv
from tests.repository import REPOSITORY


@pytest.mark.parametrize(
    ("areas_px", "confidences", "is_doubted"),
    [
        ([400, 900], [0.9, 0.4], False),
        ([400, 30_000], [0.9, 0.9], True),
        ([400, 30_000], [np.nan, np.nan], True),
        ([400, 9_000], [0.9, 0.95], False),
        ([400, 9_000], [0.9, 0.5], True),
        ([400, 9_000], [np.nan, np.nan], False),
        ([], [], False),
    ],
)
def test_what_covers_much_of_a_field_is_doubted_and_less_if_its_confidence_is_low(areas_px, confidences, is_doubted):
    nuclei = pd.DataFrame({"area_px": np.array(areas_px, int), "confidence": np.array(confidences, float)})
    doubts = doubts_about_sizes(nuclei, 100_000)
    assert len(doubts) == is_doubted
    assert all("uneven light of an empty well" in doubt for doubt in doubts)


NAMES = (
    *("=1+2", "+49 30", "-f1", "@SUM(A1)", "\tf1", '=HYPERLINK("x")', "-1+cmd|' /C calc'!A0"),
    *("'f1", "'=1", "''=1", "f=1", "0012", "NA", "-5", "+1.5e3", "", 'a, "b"'),
)
"""Of fields; a file may be called all of this but the tab."""


def test_texts_that_a_spreadsheet_would_run_are_written_as_text_and_read_as_they_were(tmp_path: Path) -> None:
    table = pd.DataFrame({"fov": NAMES, "shift": np.linspace(-1, 1, len(NAMES))})
    write_csv(table, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        written = [row["fov"] for row in csv.DictReader(file)]
    assert [text for text in written if text.startswith(("=", "+", "-", "@", "\t"))] == ["-5", "+1.5e3"]
    assert written[0] == "'=1+2"
    read = read_csv(tmp_path / "a.csv", dtype={"fov": str})
    assert tuple(read["fov"]) == NAMES
    np.testing.assert_allclose(read["shift"], table["shift"])


def test_a_table_from_before_texts_were_protected_keeps_its_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("fov\n=1+2\n'f1\nf2\n")
    assert list(read_csv(tmp_path / "a.csv")["fov"]) == ["=1+2", "'f1", "f2"]


def test_a_protected_table_that_is_read_as_text_and_written_again_is_the_same(tmp_path: Path) -> None:
    table = pd.DataFrame({"fov": ["=1", "f2"], "x": [-0.5, 2.0], "missing": [np.nan, "=2"]})
    write_csv(table, tmp_path / "a.csv")
    write_csv(read_csv(tmp_path / "a.csv", dtype=str), tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text() == (tmp_path / "a.csv").read_text()


def test_no_other_module_writes_or_reads_tables_of_names() -> None:
    files = [path for path in (REPOSITORY / "tasks").rglob("*.py") if path.name != "tables.py"]
    assert [path for path in files if "to_csv(" in path.read_text() or "pd.read_csv(" in path.read_text()] == []


def test_a_text_stays_whatever_it_is_and_an_empty_number_is_missing(tmp_path):
    table = pd.DataFrame({"fov": ["NA", "null", ""], "area_px": [1.0, np.nan, 3.0], "unit": ["None", "nan", "px"]})
    write_csv(table, tmp_path / "a.csv")
    read = read_csv(tmp_path / "a.csv", dtype={"fov": str})
    assert read["fov"].tolist() == ["NA", "null", ""]
    assert read["unit"].tolist() == ["None", "nan", "px"]
    assert read["area_px"].isna().tolist() == [False, True, False]
