"""How well models do, from the store: F1 by cell line and test plate, and how they were judged against one another.

A model is known by what it segments with, whichever task wrote it down: networks and settings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from nucleus_dags.in_store import in_store
from nucleus_dags.manifest import manifest
from nucleus_dags.page.damaged import left_out_if_damaged
from nucleus_dags.page.known_plates import known_plates
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
    own_proposals: Mapping[Group, int]
    """True labels that the model itself, or one that it began from, proposed: with any, F1 of the group is too good."""

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
        with left_out_if_damaged(path):
            return _intervals(path)
        return {}

    @property
    def errors(self) -> list[dict[str, str]]:
        """One row per group: nuclei, and rates of splits, merges, false positives and false negatives."""
        path = self.result.folder / "errors.csv"
        with left_out_if_damaged(path):
            return rows_of(path)
        return []


@dataclass(frozen=True)
class Judgement:
    """An output of `judge`: two models on the same test plates."""

    result: StoredResult
    scores: tuple[str, ...]
    """Paths of the results of `score` that were judged, the champion's first."""
    champion: frozenset[str]
    """Keys of the model that was in force, under register_model/."""
    challenger: frozenset[str]

    @property
    def content(self) -> Mapping[str, Any]:
        """judgement.json: outcome, rules, and what was said."""
        if path := self.result.output("judgement"):
            with left_out_if_damaged(path):
                return json_at(path)
        return {"outcome": "", "rules": []}

    @property
    def plates(self) -> list[dict[str, str]]:
        """One row per plate: plate, cell_line, true_nuclei, gained, lost."""
        if path := self.result.output("plates"):
            with left_out_if_damaged(path):
                return rows_of(path)
        return []


@dataclass(frozen=True)
class Measured:
    """All that the store knows of how well registered models do; they go by their keys under register_model/."""

    scores: Mapping[str, Scores]
    """Of several, those on the most test plates that are in the version that counts, and of these the newest."""
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

        Settings that came to a method later have the value that they had, which is their default.
        """
        settings, defaults = _settings(used), _defaults(used.get("method", ""))
        known = self.by_networks.get(_networks(used), [])
        return frozenset(
            key
            for key, wanted in known
            if settings == {name: defaults.get(name, value) for name, value in settings.items()} | {**wanted}
        )


def measured(store: Path) -> Measured:
    """Read what the store holds of scores and judgements."""
    known = _known(store)
    counting = {Path(plate.newest.path).name for plate in known_plates(store).values()}
    chosen: dict[str, tuple[int, Scores]] = {}
    for result in results_of(store, "score"):
        with left_out_if_damaged(result.folder / RESULT), suppress(FileNotFoundError):
            scores, keys = _scores(result.folder / RESULT), known.keys_of(_used(result.folder / RESULT))
            plates = len(counting.intersection(scores.plates)) if scores else 0
            chosen |= {key: (plates, scores) for key in keys if scores and plates >= chosen.get(key, (0,))[0]}
    return Measured({key: scores for key, (_, scores) in chosen.items()}, tuple(_judgements(store, known)))


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


def _defaults(method: str) -> Mapping[str, Any]:
    """Give the defaults of a method's settings; none of a method that there isn't any more."""
    methods = manifest()["methods"]
    properties = methods[method]["settings"].get("properties", {}) if method in methods else {}
    return {name: setting["default"] for name, setting in properties.items() if "default" in setting}


# What the store has lost raises FileNotFoundError, and so isn't remembered: it may come back.
@remembered
def _used(path: Path) -> Mapping[str, Any]:
    """Give what was scored, as params of `segment`."""
    return _segmentations_of(result_at(path.parent))[0].params


@remembered
def _scores(path: Path) -> Scores | None:
    """Give scores; None where not all plates are test plates."""
    result = result_at(path.parent)
    own_proposals: Counter[Group] = Counter()
    plates = []
    for segmentation in _segmentations_of(result):
        plate = str(segmentation.params["plate"])
        info = json_at(in_store(result.store, plate) / "plate.json")
        if info["role"] != "test":
            return None
        plates.append(Path(plate).name)
        for group in (OVERALL, Group("cell_line", info["cell_line"]), Group("plate", info["name"])):
            # Segmentations that were made before these were counted don't have them.
            own_proposals[group] += segmentation.content["counts"].get("own_proposals", 0)
    return Scores(result, tuple(sorted(plates)), own_proposals)


def _segmentations_of(scores: StoredResult) -> list[StoredResult]:
    """Give the results of `segment` that were scored, one for each plate. Raises FileNotFoundError for a lost one."""
    return [segmentation_in(scores.store, path) for path in scores.params["segmentations"]]


def segmentation_in(store: Path, path: str) -> StoredResult:
    """Give the result of `segment`, that of the first of parts that were put together. Raises FileNotFoundError."""
    result = result_in(store, path)
    if result is None:
        raise FileNotFoundError(f"The store has lost {path}.")
    return segmentation_in(store, result.params["segmentations"][0]) if "segmentations" in result.params else result


def _judgements(store: Path, known: _Known) -> list[Judgement]:
    found: list[Judgement] = []
    for result in results_of(store, "judge"):
        with left_out_if_damaged(result.folder / RESULT), suppress(FileNotFoundError):
            scores = tuple("/".join(Path(result.params[name]).parts[:2]) for name in ("champion", "challenger"))
            before, after = (known.keys_of(_used(in_store(store, path) / RESULT)) for path in scores)
            found.append(Judgement(result, scores, before, after))
    return found


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
