"""Rows of tables of nuclei, and files as one zip."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from nucleus_dags.page.nuclei_tables import first_rows, is_doubtful, nuclei_by_field, nuclei_in
from nucleus_dags.page.zips import files_below, zipped
from tasks.nuclei.tables import write_csv

FIELDS = ["=1+1, a", "'b", "c"]
"""Names that a spreadsheet would run, that have a comma, and that begin with an apostrophe."""


def table(path: Path, confidences: list[float] | None = None) -> Path:
    """Write a table of two nuclei in each field."""
    rows = pd.DataFrame({"fov": [field for field in FIELDS for _ in range(2)], "label": [1, 2] * 3, "model": "v, k"})
    write_csv(rows if confidences is None else rows.assign(confidence=confidences), path)
    return path


def test_the_rows_of_a_field_are_found_whatever_its_name(tmp_path: Path) -> None:
    path = table(tmp_path / "nuclei.csv")
    for field in FIELDS:
        assert [(row["fov"], row["label"], row["model"]) for row in nuclei_in(path, field)] == [
            (field, "1", "v, k"),
            (field, "2", "v, k"),
        ]
    assert nuclei_in(path, "none") == []


def test_fields_have_the_number_of_their_nuclei_the_doubtful_ones_and_their_mean_confidence(tmp_path: Path) -> None:
    path = table(tmp_path / "nuclei.csv", [0.9, 0.7, 0.69, 0.1, float("nan"), 0.8])
    found = nuclei_by_field(path)
    assert {name: (one.nuclei, one.doubtful) for name, one in found.items()} == dict(
        zip(FIELDS, [(2, 0), (2, 2), (2, 0)], strict=True)
    )
    assert [one.confidence for one in found.values()] == pytest.approx([0.8, 0.395, 0.8])


def test_nuclei_of_a_method_without_confidences_are_not_doubtful(tmp_path: Path) -> None:
    path = table(tmp_path / "nuclei.csv")
    assert {one.doubtful for one in nuclei_by_field(path).values()} == {None}
    assert [is_doubtful(nucleus) for nucleus in nuclei_in(path, "c")] == [False, False]


def test_the_first_rows_are_shown_as_texts_were(tmp_path: Path) -> None:
    assert first_rows(table(tmp_path / "nuclei.csv"), 3, ["model"]) == (
        ["fov", "label"],
        [[FIELDS[0], "1"], [FIELDS[0], "2"], [FIELDS[1], "1"]],
    )


def test_a_table_that_was_made_anew_is_read_anew(tmp_path: Path) -> None:
    path = table(tmp_path / "nuclei.csv")
    assert len(nuclei_by_field(path)) == 3
    path.write_text("fov,label\nother,1\n")
    assert list(nuclei_by_field(path)) == ["other"]


def test_a_table_without_nuclei_has_no_field(tmp_path: Path) -> None:
    (tmp_path / "nuclei.csv").write_text("fov,label,confidence\n")
    assert nuclei_by_field(tmp_path / "nuclei.csv") == {}


def files(folder: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_zip_has_all_files_below_a_folder_those_that_are_hidden_too(tmp_path: Path) -> None:
    contents: dict[str, Any] = {"b/c/.zarray": b"1", "b/c/0": b"22", ".zgroup": b"", "ä.tif": b"333"}
    folder = files(tmp_path / "plate", contents)
    content = b"".join(zipped(files_below(folder, "plate.ome.zarr")))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            f"plate.ome.zarr/{name}": value for name, value in contents.items()
        }
        # Not as for a pipe, with sizes behind the files.
        assert {info.flag_bits & 0x08 for info in archive.infolist()} == {0}


def test_a_zip_is_sent_file_by_file_with_no_more_in_memory(tmp_path: Path) -> None:
    size = 2**20
    folder = files(tmp_path / "many", {f"{number:02}": b"x" * size for number in range(30)})
    tracemalloc.start()
    sent = sum(len(part) for part in zipped(files_below(folder, "many")))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sent > 30 * size
    assert most < 6 * size
