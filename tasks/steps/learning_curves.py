"""Say of each cell line what the next hundred annotated nuclei are expected to bring, and whether to go on annotating.

Every output of `score` is a round: F1 at IoU 0.7 against the nuclei that people had annotated of the plates that its
model, and those before it, were trained on. Writes rounds.csv, learning_curves.png and learning_curves.html, a page
that stands alone. `tasks.nuclei.learning_curve` says what is assumed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pydantic

from tasks import tracking
from tasks.contract import Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.nuclei import figures
from tasks.nuclei.errors import InputError
from tasks.nuclei.learning_curve import CONFIDENCE, MORE_NUCLEI, Expectation, Round, expected
from tasks.nuclei.scoring import OBJECT_LEVEL_IOU
from tasks.nuclei.tables import read_csv, write_csv
from tasks.steps import pages
from tasks.store.provenance import (
    nuclei_trained_on,
    plate_at,
    plate_of_segmentation,
    result_of,
    segmentations_of_scores,
)


class Params(TaskParams):
    scores: list[str] = pydantic.Field(min_length=1)
    """Outputs of `score` for the same test plates, one for each model, in any order."""


def run(params: Params, workspace: Workspace) -> Outcome:
    _refuse_other_plates(params, workspace.store)
    rounds = _rounds(params, workspace)
    advice = {cell_line: expected(of_line) for cell_line, of_line in rounds.items()}
    write_csv(_table(rounds), workspace.output_dir / "rounds.csv")
    figure = workspace.output_dir / "learning_curves.png"
    figures.learning_curve_figure(rounds).savefig(figure)
    page = pages.render(
        "learning_curves.html.jinja",
        rounds={cell_line: sorted(of_line) for cell_line, of_line in rounds.items()},
        advice=advice,
        figure=pages.embedded(figure.read_bytes()),
        more_nuclei=MORE_NUCLEI,
        confidence_percent=round(100 * CONFIDENCE),
    )
    (workspace.output_dir / "learning_curves.html").write_text(page)
    outputs = {"page": "learning_curves.html", "rounds": "rounds.csv", "figure": "learning_curves.png"}
    values = {cell_line: {"advice": one.advice, "why": one.why} for cell_line, one in advice.items()}
    return Outcome(outputs, _metrics(advice), {"rounds": len(params.scores)}, values=values)


def log_result(params: Params, result: Result, store: Path) -> None:
    """Show the page in MLflow."""
    tracking.Run().log_artifact(store / result.outputs["page"], "annotation")


def _refuse_other_plates(params: Params, store: Path) -> None:
    """Refuse scores on different test plates, whose F1 can't be compared."""
    first = params.scores[0]
    for path in params.scores[1:]:
        if (plates := _test_plates(path, store)) != _test_plates(first, store):
            raise InputError(
                f"scores: {path} is on {', '.join(plates)}, and {first} on {', '.join(_test_plates(first, store))}; "
                "give scores on the same test plates."
            )


def _test_plates(scores: str, store: Path) -> list[str]:
    """Give the names of the plates that were scored; a plate's versions have one name."""
    segmentations = segmentations_of_scores(scores, store)
    return sorted(plate_at(plate_of_segmentation(path, store), store).info.name for path in segmentations)


def _rounds(params: Params, workspace: Workspace) -> dict[str, list[Round]]:
    """Give the rounds of each cell line that was scored."""
    rounds: dict[str, list[Round]] = {}
    for path in params.scores:
        segmented = result_of(segmentations_of_scores(path, workspace.store)[0], workspace.store)
        nuclei = nuclei_trained_on(segmented.params["networks"], workspace.store)
        f1 = read_csv(workspace.input(path) / "f1.csv", dtype={"name": str})
        shown = f1[(f1["group"] == "cell_line") & (f1["iou_threshold"] == OBJECT_LEVEL_IOU)]
        for row in shown.to_dict("records"):
            one = Round(nuclei.get(row["name"], 0), row["f1"], row["f1_low"], row["f1_high"])
            rounds.setdefault(row["name"], []).append(one)
    return rounds


def _table(rounds: Mapping[str, Sequence[Round]]) -> pd.DataFrame:
    return pd.DataFrame(
        {"cell_line": cell_line, **one._asdict()} for cell_line, of_line in rounds.items() for one in sorted(of_line)
    )


def _metrics(advice: Mapping[str, Expectation]) -> dict[str, float]:
    return {f"expected_gain/{name}": one.gain for name, one in advice.items() if one.gain is not None}


TASK = Task(
    name="learning_curves",
    version=1,
    params_type=Params,
    run=run,
    log=log_result,
    resources=Resources(memory_gib=2),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
