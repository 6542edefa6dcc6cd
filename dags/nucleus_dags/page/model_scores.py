"""How well models do, from the store: F1 by cell line and test plate, and how they were judged against one another.

A model is known by what it segments with, whichever task wrote it down: networks and settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nucleus_dags.manifest import manifest
from nucleus_dags.page.remembered import remembered
from nucleus_dags.page.store_results import RESULT, StoredResult, json_at, result_at, result_in, results_of, rows_of
from nucleus_dags.planning.usability import MARK, shortcoming

ALL = "all"
OF_A_PLATE = ("plate", "fovs", "nuclear_diameter_px", "made_by", "method", "networks")
"""Params of `segment` that are no settings."""


class Group(NamedTuple):
    """What F1 is of: a cell line, a plate, or all plates together."""

    kind: str
    """`cell_line`, `plate` or `all`."""
    name: str


OVERALL = Group(ALL, ALL)


class F1(NamedTuple):
    """F1 at an IoU threshold with its 95 % CI, which old scores lack."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Scores:
    """An output of `score` for a model on test plates."""

    result: StoredResult
    plates: tuple[str, ...]
    """Keys of the plates, sorted."""

    @property
    def metrics(self) -> Mapping[str, float]:
        metrics: Mapping[str, float] = self.result.content["metrics"]
        return metrics

    @property
    def cell_lines(self) -> list[str]:
        first = f"f1_at_{shown_thresholds()[0]}/"
        return sorted(
            name.removeprefix(first) for name in self.metrics if name.startswith(first) and name != first + ALL
        )

    @property
    def plate_names(self) -> list[str]:
        return [plate.rpartition("@")[0] for plate in self.plates]

    def f1(self, group: Group, threshold: float) -> float | None:
        """Give F1 of a group; None for one that wasn't scored."""
        if group.kind != "plate":
            return self.metrics.get(f"f1_at_{threshold}/{group.name}")
        found = self.intervals.get((group, threshold))
        return found.value if found else None

    def shortcoming(self, cell_line: str = ALL) -> str:
        """Say in words if the model can't be used; empty if it can."""
        return shortcoming(self.metrics, cell_line).removeprefix(f"{MARK} ")

    @property
    def intervals(self) -> Mapping[tuple[Group, float], F1]:
        """F1 with its interval, of all groups and shown thresholds."""
        path = self.result.folder / "f1.csv"
        return _intervals(path) if path.is_file() else {}

    @property
    def errors(self) -> list[dict[str, str]]:
        """One row per group: nuclei, and rates of splits, merges, false positives and false negatives."""
        return rows_of(self.result.folder / "errors.csv")


@dataclass(frozen=True)
class Judgement:
    """An output of `judge`: two models on the same test plates."""

    result: StoredResult
    champion: frozenset[str]
    """Keys of the model that was in force, under register_model/."""
    challenger: frozenset[str]

    @property
    def content(self) -> Mapping[str, Any]:
        """judgement.json: outcome, rules, and what was said."""
        path = self.result.output("judgement")
        return json_at(path) if path else {"outcome": "", "rules": []}

    @property
    def plates(self) -> list[dict[str, str]]:
        """One row per plate: plate, cell_line, true_nuclei, gained, lost."""
        path = self.result.output("plates")
        return rows_of(path) if path else []


@dataclass(frozen=True)
class Measured:
    """All that the store knows of how well registered models do; they go by their keys under register_model/."""

    scores: Mapping[str, Scores]
    """Of several, those on the most test plates, and of these the newest."""
    judgements: tuple[Judgement, ...]
    """The oldest first."""

    def judged(self, challenger: str) -> Judgement | None:
        """Give the last judgement on a model as a challenger."""
        found = [one for one in self.judgements if challenger in one.challenger - one.champion]
        return found[-1] if found else None

    def of_pair(self, before: str, after: str) -> tuple[Judgement, int] | None:
        """Give the last judgement on a pair, and the sign of its differences: -1 if it was made the other way round."""
        for one in reversed(self.judgements):
            if before in one.champion and after in one.challenger:
                return one, 1
            if after in one.champion and before in one.challenger:
                return one, -1
        return None


@dataclass(frozen=True)
class _Known:
    """The registered models of a store."""

    by_networks: Mapping[tuple[str, ...], list[tuple[str, Mapping[str, Any]]]]
    """Key and settings of those that segment with these networks."""

    def keys_of(self, used: Mapping[str, Any]) -> frozenset[str]:
        """Give the models that segmented with these params of `segment`.

        Settings that came to a method later have the value that they had.
        """
        settings = _settings(used)
        known = self.by_networks.get(_networks(used), [])
        return frozenset(key for key, wanted in known if settings.items() >= wanted.items())


def measured(store: Path) -> Measured:
    """Read what the store holds of scores and judgements."""
    known = _known(store)
    chosen: dict[str, Scores] = {}
    for result in results_of(store, "score"):
        used, scores = _scored(result.folder / RESULT)
        for key in known.keys_of(used) if used and scores else ():
            if scores and len(scores.plates) >= (len(chosen[key].plates) if key in chosen else 0):
                chosen[key] = scores
    judgements = [_judged(result, known) for result in results_of(store, "judge")]
    return Measured(chosen, tuple(one for one in judgements if one))


def shown_thresholds() -> list[float]:
    return manifest()["shown_iou_thresholds"]


def _known(store: Path) -> _Known:
    found: dict[tuple[str, ...], list[tuple[str, Mapping[str, Any]]]] = {}
    for result in results_of(store, "register_model"):
        found.setdefault(_networks(result.params), []).append((result.key, _settings(result.params)))
    return _Known(found)


def _networks(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the networks, or the name of a method that has none."""
    return tuple(params["networks"]) or (params["method"],)


def _settings(params: Mapping[str, Any]) -> Mapping[str, Any]:
    # The settings of all methods stood among the params once.
    settings: Mapping[str, Any] = params.get("settings", params)
    return {name: value for name, value in settings.items() if name not in OF_A_PLATE}


@remembered
def _scored(path: Path) -> tuple[Mapping[str, Any] | None, Scores | None]:
    """Give what was scored, as params of `segment`; without scores where not all plates are test plates.

    Nothing of a segmentation that the store has lost.
    """
    result = result_at(path.parent)
    segmentations = [_segmentation(result.store, path) for path in result.params["segmentations"]]
    there = [one for one in segmentations if one]
    if len(there) < len(segmentations):
        return None, None
    plates = [str(one.params["plate"]) for one in there]
    is_test = all(_is_for_testing(result.store / plate) for plate in plates)
    scores = Scores(result, tuple(sorted(Path(plate).name for plate in plates))) if is_test else None
    return there[0].params, scores


def _segmentation(store: Path, path: str) -> StoredResult | None:
    """Give the result of `segment`, that of the first of parts that were put together."""
    result = result_in(store, path)
    if result is not None and "segmentations" in result.params:
        return _segmentation(store, result.params["segmentations"][0])
    return result


def _is_for_testing(plate: Path) -> bool:
    try:
        return bool(json_at(plate / "plate.json").get("role") == "test")
    except OSError:
        return False


def _judged(result: StoredResult, known: _Known) -> Judgement | None:
    scores = [result_in(result.store, result.params[name]) for name in ("champion", "challenger")]
    before, after = (_scored(one.folder / RESULT)[0] if one else None for one in scores)
    return Judgement(result, known.keys_of(before), known.keys_of(after)) if before and after else None


@remembered
def _intervals(path: Path) -> dict[tuple[Group, float], F1]:
    return {
        (Group(row["group"], row["name"]), float(row["iou_threshold"])): F1(
            float(row["f1"]), _number(row.get("f1_low")), _number(row.get("f1_high"))
        )
        for row in rows_of(path)
        if float(row["iou_threshold"]) in shown_thresholds()
    }


def _number(text: str | None) -> float | None:
    return float(text) if text else None
