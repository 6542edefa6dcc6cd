"""Results in the store, as their tasks wrote them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nucleus_dags.in_store import in_store
from nucleus_dags.page.damaged import left_out_if_damaged, reading
from nucleus_dags.page.remembered import remembered
from nucleus_dags.plates.names import is_result_key

RESULT = "result.json"


@dataclass(frozen=True)
class StoredResult:
    """The output folder of a task."""

    folder: Path
    made_at: datetime
    content: Mapping[str, Any]
    """result.json"""

    @property
    def key(self) -> str:
        return self.folder.name

    @property
    def store(self) -> Path:
        return self.folder.parent.parent

    @property
    def path(self) -> str:
        """Relative to the store."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def params(self) -> Mapping[str, Any]:
        params: Mapping[str, Any] = self.content["params"]
        return params

    def output(self, name: str) -> Path | None:
        """Give the file of an output; None where the result has none of this name."""
        path = self.content["outputs"].get(name)
        return in_store(self.store, path) if path else None


def results_of(store: Path, task: str) -> list[StoredResult]:
    """Give all results of a task, that which was asked for last at the end. Damaged ones are left out."""
    found: list[tuple[float, StoredResult]] = []
    for path in store.glob(f"{task}/[!.]*/{RESULT}"):
        with left_out_if_damaged(path):
            # Of a result that is there already, `execute` dates only the folder anew.
            found.append((path.parent.stat().st_mtime, result_at(path.parent)))
    return [result for _, result in sorted(found, key=lambda dated: dated[0])]


def find_result(store: Path, task: str, key: str) -> StoredResult | None:
    """Give a result by its key, which may come from an address: of what can't be one, there is none."""
    return result_in(store, f"{task}/{key}") if is_result_key(key) else None


def result_at(folder: Path) -> StoredResult:
    """Read a result; raises as `reading`."""
    return _result_of(folder / RESULT)


def result_in(store: Path, path: str) -> StoredResult | None:
    """Give the result that a path of another one's params lies in; None where it is lost or damaged."""
    place = "/".join(path.split("/")[:2])
    # A clean-up may have removed it: only what is damaged is worth a word.
    with left_out_if_damaged(store / place / RESULT), suppress(FileNotFoundError):
        return result_at(in_store(store, place))
    return None


def rows_of(path: Path) -> list[dict[str, str]]:
    """Read a table in CSV; raises as `reading`."""
    with reading(path), path.open(newline="") as file:
        text = file.read()
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        if not text.endswith("\n") or any(None in row or None in row.values() for row in rows):
            raise ValueError("it is cut off, or has a row without all columns")
        return rows


def read_json(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file that is too large to be remembered; raises as `reading`."""
    with reading(path):
        content: Any = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it holds no object")
        return content


json_at = remembered(read_json)
"""As `read_json`; others must not change what it gives."""


@remembered
def _result_of(path: Path) -> StoredResult:
    made_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    content = read_json(path)
    if not all(isinstance(content[name], dict) for name in ("params", "outputs")):
        raise ValueError("it is no result of a task")
    return StoredResult(path.parent, made_at, content)
