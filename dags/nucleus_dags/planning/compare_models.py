"""What `compare_models` does, task by task: from the registered versions and the store to the params of each."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nucleus_dags.errors import FormError
from nucleus_dags.launchers.task_operator import Result
from nucleus_dags.manifest import manifest
from nucleus_dags.planning.own_proposals import explained, mark_of
from nucleus_dags.planning.types import ListedVersion, Model, Params, StoredPlatePath
from nucleus_dags.plates.stored import newest_plates

NOTICEABLE_DROP = 0.01
MOST_DROPS_SHOWN = 5


class NothingToCompare(Exception):
    """There is no model or no test plate; says what to do."""


def plan(store: Path, versions: Sequence[ListedVersion]) -> list[StoredPlatePath]:
    """Give the newest version of each test plate. Raises NothingToCompare without a usable version or a plate."""
    if not any(version["model"] for version in versions):
        raise NothingToCompare("There is no registered model that the store holds; train one.")
    plates = [plate.path for plate in newest_plates(store, "test")]
    if not plates:
        raise NothingToCompare("No test plate is in the store; put one into the inbox whose plate.json has role test.")
    return [{"plate": path} for path in plates]


def pair_of(before: int | None, after: int | None, versions: Sequence[ListedVersion]) -> list[int]:
    """Give the two versions that are compared nucleus by nucleus; none if none were named. Raises FormError."""
    if before is None and after is None:
        return []
    if before is None or after is None or before == after:
        raise FormError("Version, With version: give two different versions, or none.")
    usable = [version["version"] for version in versions if version["model"]]
    if unknown := [str(number) for number in (before, after) if number not in usable]:
        raise FormError(
            f"Version, With version: {' and '.join(unknown)} can't be used. Versions that the store holds are "
            f"{', '.join(map(str, usable))}."
        )
    return [before, after]


def judgement_of(given: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `judge` for the pair: the first version takes the place of the champion."""
    usable = [version["version"] for version in known["versions"]["versions"] if version["model"]]
    scores = dict(zip(usable, _scores(known)[0], strict=True))
    before, after = known["pair"]["versions"]
    return {**given, "champion": scores[before], "challenger": scores[after], "gate": known["pair"]["gate"]}


def pair_lines(pair: Sequence[int], judged: Result | None) -> list[str]:
    """Say what the second of two versions gains and loses; nothing if none were named."""
    if not pair or judged is None:
        return []
    before, after = pair
    counts = judged["counts"]
    return [
        f"Version {after} against version {before}: {counts['gained']} nuclei gained, {counts['lost']} lost. The page "
        "Nuclei shows them under Models."
    ]


def usable_models(listed: Result, known: Mapping[str, Any]) -> list[Model]:
    """Hand on, of `list_models`, what each version segments with, but for those that the store lacks.

    The params are the same as for a retraining, so that what was segmented there isn't segmented again.
    """
    versions: Sequence[ListedVersion] = listed["values"]["versions"]
    return [version["model"] for version in versions if version["model"]]


def matrix_of(given: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `forgetting`: every version, with scores where it could be used, and the baseline."""
    versions: Sequence[ListedVersion] = known["versions"]["versions"]
    of_versions, of_baseline = _scores(known)
    scores = iter(of_versions)
    return {
        "baseline": {manifest()["baseline"]["name"]: of_baseline},
        "versions": [
            {
                "version": version["version"],
                "aliases": version["aliases"],
                "scores": next(scores) if version["model"] else None,
            }
            for version in versions
        ],
    }


def rounds_of(given: Mapping[str, Any], known: Mapping[str, Any]) -> Params:
    """Give the params of `learning_curves`: every version that was scored is a round."""
    of_versions, _ = _scores(known)
    return {**given, "scores": list(dict.fromkeys(of_versions))}


def _scores(known: Mapping[str, Any]) -> tuple[list[str], str]:
    """Give the scores of the versions that could be used, and those of the baseline, which was scored after them."""
    *of_versions, of_baseline = (result["outputs"]["scores"] for result in known["scored"])
    return of_versions, of_baseline


def annotated_patches(store: Path) -> list[str]:
    """Give the plates, in their newest versions, of which patches were chosen to be annotated; the last one last."""
    plates = sorted((*newest_plates(store, "train"), *newest_plates(store, "test")), key=lambda plate: plate.frozen_at)
    return [plate.path for plate in plates if plate.chosen_patches]


def advice_lines(curves: Result) -> list[str]:
    """Give a line for each cell line on whether more of it should be annotated, and what random patches say."""
    none = "No patch of it that was drawn at random has come back yet"
    return [
        f"- annotating {name}: {of_line['advice']}. {of_line['why']} {of_line['at_random'] or none}."
        for name, of_line in curves["values"].items()
    ]


def read_table(path: Path) -> list[dict[str, str]]:
    """Read a table of `forgetting`; a field is empty where nothing is known."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def forgotten_lines(matrix: Sequence[Mapping[str, str]]) -> list[str]:
    """Give a line for each of the largest drops of F1 at the object level."""
    at = manifest()["shown_iou_thresholds"][0]
    drops = [row for row in matrix if float(row[f"forgotten_at_{at}"] or 0) >= NOTICEABLE_DROP]
    drops.sort(key=lambda row: -float(row[f"forgotten_at_{at}"]))
    return [
        f"- version {row['version']} on {row['plate']}: F1 at {at} {float(row[f'f1_at_{at}']):.3f}, "
        f"{float(row[f'forgotten_at_{at}']):.3f} below the best earlier version"
        for row in drops[:MOST_DROPS_SHOWN]
    ]


def matrix_table(
    matrix: Sequence[Mapping[str, str]],
    baseline: Sequence[Mapping[str, str]],
    versions: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Give the lines of a Markdown table of F1 on every plate: of the baseline, then of the versions, the newest first.

    A note has little room, and its end is cut off.
    """
    plates = list(dict.fromkeys((row["plate"], row["cell_line"]) for row in matrix))
    cells = {(row["version"], row["plate"]): _cell(row) for row in matrix}
    columns = [f"{plate}, {cell_line}" for plate, cell_line in plates]
    lines = [f"| version | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    names = dict.fromkeys(row["name"] for row in baseline)
    of_baseline = {(row["name"], row["plate"]): _cell(row) for row in baseline}
    lines += [f"| {name} | {' | '.join(of_baseline[name, plate] for plate, _ in plates)} |" for name in names]
    for version in reversed(versions):
        values = [cells[str(version["version"]), plate] for plate, _ in plates]
        lines.append(f"| {_title(version)} | {' | '.join(values)} |")
    is_flattered = any(_is_flattered(row) for row in (*matrix, *baseline))
    return [*lines, *explained(is_flattered)]


def _cell(row: Mapping[str, str]) -> str:
    columns = [f"f1_at_{at}" for at in manifest()["shown_iou_thresholds"]]
    f1 = " / ".join(f"{float(row[name]):.3f}" if row[name] else "?" for name in columns)
    return f1 + mark_of(_is_flattered(row))


def _is_flattered(row: Mapping[str, str]) -> bool:
    return float(row["own_proposals"] or 0) > 0


def _title(version: Mapping[str, Any]) -> str:
    names = ", ".join(version["aliases"])
    return f"{version['version']} ({names})" if names else str(version["version"])
