"""Tables of a segmented plate, of which some rows are shown: a plate may have half a million nuclei.

All that read a file raise as `reading`.

In nuclei.csv, the nuclei of a field follow one another, in the order of their labels. Where the rows of each field lie
is read once.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

from nucleus_dags.manifest import manifest
from nucleus_dags.page.damaged import reading

_FORMULA = ("=", "+", "-", "@", "\t")
"""Texts that begin so have an apostrophe in front, for spreadsheets; see `write_csv` in `tasks/nuclei/tables.py`."""

Row = dict[str, str]


class Rows(NamedTuple):
    """First rows of a table."""

    columns: list[str]
    rows: list[list[str]]


class NucleiOfField(NamedTuple):
    """What the table has of a field, and where."""

    begin: int
    end: int
    """Bytes of the file."""
    nuclei: int
    doubtful: int | None
    """Nuclei with a low confidence; None where they have none."""
    confidence: float | None
    """Mean of its nuclei's."""


NO_NUCLEI = NucleiOfField(0, 0, 0, None, None)


def first_rows(path: Path, most: int, left_out: Collection[str]) -> Rows:
    """Give so many rows of a table, without some of its columns."""
    with reading(path), path.open(newline="") as file:
        columns, *rows = islice(csv.reader(file), most + 1)
        kept = [number for number, column in enumerate(columns) if column not in left_out]
        return Rows(
            [columns[number] for number in kept], [[_unescaped(row[number]) for number in kept] for row in rows]
        )


def nuclei_by_field(path: Path) -> Mapping[str, NucleiOfField]:
    """Give what a nuclei.csv has of each field with nuclei."""
    with reading(path):
        return _nuclei_by_field(path, path.stat().st_mtime_ns)


def nuclei_in(path: Path, field: str) -> list[Row]:
    """Give the rows of the nuclei of a field, by the names of their columns."""
    place = nuclei_by_field(path).get(field, NO_NUCLEI)
    with reading(path), path.open("rb") as file:
        columns = next(csv.reader([file.readline().decode()]))
        file.seek(place.begin)
        text = file.read(place.end - place.begin).decode()
        rows = csv.reader(io.StringIO(text, newline=""))
        return [dict(zip(columns, map(_unescaped, row), strict=True)) for row in rows]


def is_doubtful(nucleus: Mapping[str, str]) -> bool:
    """Whether a nucleus has a low confidence; one without any isn't known to be doubtful."""
    confidence = nucleus.get("confidence")
    return bool(confidence) and float(confidence or 0) < manifest()["doubtful_below"]


@lru_cache(maxsize=8)
def _nuclei_by_field(path: Path, state: int) -> Mapping[str, NucleiOfField]:
    found = {}
    with path.open("rb") as file:
        lines = _Lines(file)
        rows = csv.reader(lines)
        columns = next(rows)
        fov = columns.index("fov")
        confidence = columns.index("confidence") if "confidence" in columns else None
        begin = lines.end
        placed = ((row[fov], row[confidence] if confidence is not None else "", lines.end) for row in rows)
        for field, of_field in groupby(placed, lambda row: row[0]):
            _, confidences, ends = zip(*of_field, strict=True)
            found[_unescaped(field)] = _of_field(begin, ends[-1], len(ends), [float(one) for one in confidences if one])
            begin = ends[-1]
    return found


def _of_field(begin: int, end: int, nuclei: int, confidences: list[float]) -> NucleiOfField:
    if not confidences:
        return NucleiOfField(begin, end, nuclei, None, None)
    doubtful = sum(confidence < manifest()["doubtful_below"] for confidence in confidences)
    return NucleiOfField(begin, end, nuclei, doubtful, sum(confidences) / len(confidences))


class _Lines:
    """The lines of a file as text, and how many bytes have been given."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.end = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.end += len(line)
            yield line.decode()


def _unescaped(text: str) -> str:
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text
