"""What `compare_models` does, task by task: from the registered versions and the store to the settings of each."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleus_dags.plan import run_name
from nucleus_dags.plate_store import newest_plates, read_result

NOTICEABLE_DROP = 0.01
MOST_DROPS_SHOWN = 5


class NothingToCompare(Exception):
    """There is no model or no test plate; says what to do."""


def plan(store: Path, listed: Mapping[str, Any], dag_run_id: str) -> dict[str, Any]:
    """Give the versions, the newest version of each test plate, and the settings of `open_run`.

    `listed` is the result of `list_models`.
    """
    versions = json.loads((store / listed["outputs"]["models"]).read_text())
    if not any(version["model"] for version in versions):
        raise NothingToCompare("There is no registered model that the store holds; train one.")
    plates = [plate.path for plate in newest_plates(store, "test")]
    if not plates:
        raise NothingToCompare("No test plate is in the store; put one into the inbox whose plate.json has role test.")
    return {
        "versions": versions,
        "plates": plates,
        "open_run": {"experiment": "experiments", "dag_run_id": dag_run_id, "run_name": run_name(dag_run_id)},
    }


def segmentations(store: Path, planned: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the settings of `segment` for every version and plate, version after version.

    They are the same as for a retraining, so that what was segmented there is there.
    """
    return [
        {**read_result(store, version["model"])["params"], "plate": plate}
        for version in _usable(planned)
        for plate in planned["plates"]
    ]


def scorings(planned: Mapping[str, Any], segmented: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the settings of `score` for each version, in the order of `segmentations`."""
    paths = [result["outputs"]["segmentation"] for result in segmented]
    count = len(planned["plates"])
    return [{"segmentations": paths[first : first + count]} for first in range(0, len(paths), count)]


def matrix_settings(planned: Mapping[str, Any], scored: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give the settings of `forgetting`: every version, with scores where it could be used."""
    numbers = [version["version"] for version in _usable(planned)]
    scores = dict(zip(numbers, (result["outputs"]["scores"] for result in scored), strict=True))
    return {
        "versions": [
            {
                "version": version["version"],
                "aliases": version["aliases"],
                "scores": scores.get(version["version"]),
            }
            for version in planned["versions"]
        ]
    }


def read_matrix(path: Path) -> list[dict[str, str]]:
    """Read the matrix.csv of `forgetting`; a field is empty where nothing is known."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def forgotten_lines(matrix: Sequence[Mapping[str, str]]) -> list[str]:
    """Give a line for each of the largest drops of F1 at 0.7."""
    drops = [row for row in matrix if float(row["forgotten_at_0.7"] or 0) >= NOTICEABLE_DROP]
    drops.sort(key=lambda row: -float(row["forgotten_at_0.7"]))
    return [
        f"- version {row['version']} on {row['plate']}: F1 at 0.7 {float(row['f1_at_0.7']):.3f}, "
        f"{float(row['forgotten_at_0.7']):.3f} below the best earlier version"
        for row in drops[:MOST_DROPS_SHOWN]
    ]


def matrix_table(matrix: Sequence[Mapping[str, str]], versions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the lines of a Markdown table: F1 at 0.7 and 0.9 of every version on every plate, the newest version first.

    A note has little room, and its end is cut off.
    """
    plates = list(dict.fromkeys((row["plate"], row["cell_line"]) for row in matrix))
    cells = {(row["version"], row["plate"]): _cell(row) for row in matrix}
    columns = [f"{plate}, {cell_line}" for plate, cell_line in plates]
    lines = [f"| version | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for version in reversed(versions):
        values = [cells[str(version["version"]), plate] for plate, _ in plates]
        lines.append(f"| {_title(version)} | {' | '.join(values)} |")
    return lines


def _usable(planned: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [version for version in planned["versions"] if version["model"]]


def _cell(row: Mapping[str, str]) -> str:
    return " / ".join(f"{float(row[name]):.3f}" if row[name] else "?" for name in ("f1_at_0.7", "f1_at_0.9"))


def _title(version: Mapping[str, Any]) -> str:
    names = ", ".join(version["aliases"])
    return f"{version['version']} ({names})" if names else str(version["version"])
