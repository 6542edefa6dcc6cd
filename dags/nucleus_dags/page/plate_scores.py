"""How well the champion does on plates, and how unusual plates are: from results of `score` and `drift`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from nucleus_dags.page.damaged import left_out_if_damaged
from nucleus_dags.page.model_scores import F1, Group, measured, segmentation_in, shown_thresholds
from nucleus_dags.page.registered import Version
from nucleus_dags.page.store_results import StoredResult, results_of


class PlateScore(NamedTuple):
    """How well a model does on a plate."""

    f1: tuple[F1, ...]
    """At each of the IoU thresholds that are shown."""
    own_proposals: int
    """True labels that the model proposed itself: with any, F1 is too good."""


class Drift(NamedTuple):
    """How a plate compares with the training plates of its cell line."""

    segmented: bool
    """Whether its nuclei are those that a model found, not those labelled."""
    references: int
    warnings: tuple[str, ...]
    """A sentence for each measure in which it is an outlier."""
    page: Path


def scores_of(model: Version | None, store: Path) -> dict[str, PlateScore]:
    """Give how well a model does on the test plates that it was scored on, by their paths in the store.

    Each version of a plate is one of its own.
    """
    scores = measured(store).scores.get((model.key or "") if model else "")
    if scores is None:
        return {}
    found: dict[str, PlateScore] = {}
    for path in scores.result.params["segmentations"]:
        with left_out_if_damaged(scores.result.folder / "f1.csv"), suppress(FileNotFoundError):
            plate = segmentation_in(store, path).params["plate"]
            group = Group("plate", Path(plate).name.rpartition("@")[0])
            f1 = tuple(scores.intervals[group, at] for at in shown_thresholds())
            found[plate] = PlateScore(f1, scores.own_proposals[group])
    return found


def drifts(store: Path) -> dict[str, Drift]:
    """Give the latest comparison of each plate that was compared, by its path in the store."""
    found: dict[str, Drift] = {}
    for result in results_of(store, "drift"):
        with left_out_if_damaged(result.folder):
            if drift := _drift(result):
                found[result.params["plate"]] = drift
    return found


def _drift(result: StoredResult) -> Drift | None:
    page, warnings = result.output("page"), result.output("warnings")
    if page is None or warnings is None:
        return None
    segmented = result.params.get("segmentation") is not None
    return Drift(segmented, len(result.params["references"]), tuple(warnings.read_text().splitlines()), page)
