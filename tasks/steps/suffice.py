"""Say which models are good enough on a plate, with intervals, and what a training would cost.

Writes answers.csv: one row per model and IoU threshold, with F1, its 95 % CI and the answer; and answers.html, a page
that stands alone. A model that was trained on the plate is marked, since its scores say nothing about other plates.
Where patches of the plate were chosen to be annotated, F1 is that on those alone that were drawn at random.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import pydantic

from tasks import tracking
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.methods.method import PRESETS
from tasks.nuclei.intervals import FEW_FIELDS
from tasks.nuclei.scoring import OBJECT_LEVEL_IOU, PIXEL_LEVEL_IOU
from tasks.nuclei.sufficiency import Score
from tasks.nuclei.tables import read_csv, write_csv
from tasks.steps import pages
from tasks.store.provenance import (
    generations,
    plate_at,
    plate_of_segmentation,
    result_of,
    segmentations_of_scores,
)
from tasks.store.training_costs import last_training

AtRandom = Literal["whole", "random", "difficult"]
"""What F1 is of: a plate of which no patches were chosen, random patches, or only such as a model was unsure of."""
CHOSEN_PATCHES: dict[AtRandom, str] = {
    "random": "Patches of this plate were chosen to be annotated: F1 is of those alone that were drawn at random.",
    "difficult": "F1 is of difficult patches: this plate's were chosen because a model was unsure there, and none was "
    "drawn at random. On all of the plate it is probably higher.",
}

log = logging.getLogger("nucleus")


class Params(TaskParams):
    scores: dict[str, str] = pydantic.Field(min_length=1)
    """Outputs of `score` by the names of the models, all of the same plates."""
    least_f1_of_objects: float = pydantic.Field(0.8, gt=0, lt=1, title="Good enough at IoU 0.7")
    """A model is good enough at finding nuclei if F1 at IoU 0.7 is this at least, by the lower end of its 95 % CI. The
    paper's FPN2-WS reaches 0.97 on MCF10A, 0.94 on U2OS, 0.84 on HCT116 and 0.48 on eosinophils."""
    least_f1_of_outlines: float = pydantic.Field(0.6, gt=0, lt=1, title="Good enough at IoU 0.9")
    """Its outlines are good enough, as for areas and intensities, if F1 at IoU 0.9 is this at least, by the lower end
    of its 95 % CI. The paper's FPN2-WS reaches 0.97 on MCF10A, 0.92 on U2OS, 0.20 on HCT116 and 0.21 on eosinophils."""
    dag_run_id: str = pydantic.Field(min_length=1)
    """DAG run that asks: what a training costs is seen in the store as it is then."""

    @property
    def levels(self) -> dict[float, float]:
        """Give the least F1 by IoU threshold."""
        return {OBJECT_LEVEL_IOU: self.least_f1_of_objects, PIXEL_LEVEL_IOU: self.least_f1_of_outlines}


@dataclass(frozen=True)
class Tried:
    """A model with its scores."""

    name: str
    scores: dict[float, Score]
    """By IoU threshold."""
    reservation: str
    """Why its scores may be too good; empty without a reason."""

    def answer(self, iou_threshold: float, least_f1: float) -> str:
        return self.reservation or self.scores[iou_threshold].answer(least_f1)


def run(params: Params, workspace: Workspace) -> Outcome:
    tried = [_tried(name, path, params, workspace) for name, path in params.scores.items()]
    first = workspace.input(next(iter(params.scores.values())))
    f1, at_random = _f1_of_all(first)
    nuclei, fovs = int(f1[["tp", "fn"]].iloc[0].sum()), int(_all_row(first / "errors.csv")["fovs"].iloc[0])
    write_csv(_table(tried, params.levels), workspace.output_dir / "answers.csv")
    in_short = _in_short(tried, params.levels)
    remarks = [
        *_lacking(tried, params.levels, nuclei),
        *_cautions(tried, fovs, at_random),
        f"A training: {_cost(workspace.store)}",
    ]
    lines = [*_lines(tried, params.levels), "", *(f"- {remark}" for remark in remarks)]
    (workspace.output_dir / "answers.html").write_text(_page(tried, in_short, remarks, params, workspace.store))
    log.info("%s", in_short)
    counts = {"models": len(tried), "true_nuclei": nuclei, "fovs": fovs}
    values = {"in_short": in_short, "lines": lines}
    return Outcome({"answers": "answers.csv", "page": "answers.html"}, {}, counts, values=values)


def log_result(params: Params, result: Result, store: Path) -> None:
    run = tracking.Run()
    for name in result.outputs:
        run.log_artifact(store / result.outputs[name], "suffice")
    run.log_params({"least_f1": params.levels}, "suffice")


def _page(tried: Sequence[Tried], in_short: str, remarks: Sequence[str], params: Params, store: Path) -> str:
    segmentations = segmentations_of_scores(next(iter(params.scores.values())), store)
    return pages.render(
        "answers.html.jinja",
        plates=[plate_at(plate_of_segmentation(path, store), store).info.name for path in segmentations],
        in_short=in_short,
        levels=params.levels,
        tried=_best_first(tried),
        remarks=remarks,
    )


def _best_first(tried: Sequence[Tried]) -> list[Tried]:
    return sorted(tried, key=lambda model: -model.scores[OBJECT_LEVEL_IOU].f1)


def _tried(name: str, path: str, params: Params, workspace: Workspace) -> Tried:
    table, _ = _f1_of_all(workspace.input(path))
    rows = table.to_dict("records")
    of_all = {row["iou_threshold"]: Score(row["f1"], row["f1_low"], row["f1_high"]) for row in rows}
    scores = {at: of_all[at] for at in params.levels}
    return Tried(name, scores, _reservation(path, workspace.store))


def _f1_of_all(scores: Path) -> tuple[pd.DataFrame, AtRandom]:
    """Give F1 on all of the plate: where patches were chosen, on the random ones alone, if there are any."""
    path = scores / "f1_at_random.csv"
    if not path.exists():
        return _all_row(scores / "f1.csv"), "whole"
    at_random = _all_row(path)
    return (_all_row(scores / "f1.csv"), "difficult") if at_random.empty else (at_random, "random")


def _all_row(path: Path) -> pd.DataFrame:
    table = read_csv(path, dtype={"name": str})
    return table[table["group"] == "all"]


def _reservation(scores: str, store: Path) -> str:
    """Say why F1 of a model may be too good: it learnt from the plate, or proposed some of its labels."""
    for segmentation in segmentations_of_scores(scores, store):
        plate = plate_at(plate_of_segmentation(segmentation, store), store).info.name
        networks = result_of(segmentation, store).params["networks"]
        learnt_from = {Path(path).name.partition("@")[0] for one in generations(networks, store) for path in one.plates}
        if plate in learnt_from:
            return "was trained on this plate"
    return "proposed some of the labels" if result_of(scores, store).counts.get("own_proposals", 0) else ""


def _table(tried: Sequence[Tried], levels: dict[float, float]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": model.name,
            "iou_threshold": at,
            "f1": model.scores[at].f1,
            "f1_low": model.scores[at].low,
            "f1_high": model.scores[at].high,
            "least_f1": least_f1,
            "answer": model.answer(at, least_f1),
        }
        for model in tried
        for at, least_f1 in levels.items()
    )


def _in_short(tried: Sequence[Tried], levels: dict[float, float]) -> str:
    parts = []
    for at, least_f1 in levels.items():
        good = [model.name for model in tried if model.answer(at, least_f1) == "good enough"]
        parts.append(f"at IoU {at} (F1 {least_f1:g} or more): {', '.join(good) or 'none'}")
    return f"Good enough {'; '.join(parts)}"


def _lines(tried: Sequence[Tried], levels: dict[float, float]) -> list[str]:
    """Give a table in Markdown, the best first."""
    columns = ["model", *(text for at in levels for text in (f"F1 at {at} (95 % CI)", ""))]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for model in _best_first(tried):
        cells = [text for at, least in levels.items() for text in (str(model.scores[at]), model.answer(at, least))]
        lines.append(f"| {' | '.join([model.name, *cells])} |")
    return lines


def _lacking(tried: Sequence[Tried], levels: dict[float, float], nuclei: int) -> list[str]:
    lines = []
    for at, least_f1 in levels.items():
        open_ones = {
            model.name: model.scores[at].nuclei_lacking(least_f1, nuclei)
            for model in tried
            if model.answer(at, least_f1) == "can't be told"
        }
        if open_ones:
            few = ", ".join(f"{name} about {number:,}" for name, number in open_ones.items())
            lines.append(f"At {at} it can't be told on {nuclei} nuclei; more in further fields that would tell: {few}.")
    return lines


def _cautions(tried: Sequence[Tried], fovs: int, at_random: AtRandom) -> list[str]:
    lines = [CHOSEN_PATCHES[at_random]] if at_random in CHOSEN_PATCHES else []
    lines += ["The 95 % CI is of F1 on all fields that could have been imaged of this plate, not on other plates."]
    if fovs < FEW_FIELDS:
        lines.append(f"{fovs} fields are few for a CI; give {FEW_FIELDS} or more.")
    if len(tried) > 1:
        lines.append(f"The best of {len(tried)} on one plate is so partly by luck: expect less on others.")
    return lines


def _cost(store: Path) -> str:
    if (last := last_training(store)) is not None:
        return f"{last}. Its labels: the paper's 1,349 nuclei took a person 2 hours to correct, 12 to draw."
    presets = ", ".join(f"{text} with the preset {name}" for name, text in PRESETS.items())
    return f"none is in the store to go by; usually {presets}. Correcting the paper's 1,349 nuclei took 2 hours."


TASK = Task(
    name="suffice",
    version=2,
    params_type=Params,
    run=run,
    log=log_result,
    resources=Resources(PROCESSING),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
