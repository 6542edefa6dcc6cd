"""Say of each cell line what the next hundred annotated nuclei are expected to bring, and whether to go on annotating.

Every output of `score` is a round: F1 at IoU 0.7 against the nuclei that people had annotated of the plates that its
model, and those before it, were trained on. Where patches of test plates were chosen to be annotated, those alone count
that were drawn at random. What was proposed for random patches of annotated plates is scored against what came back, so
that there is an unbiased estimate without a test plate too. Writes rounds.csv, at_random.csv, learning_curves.png and
learning_curves.html, a page that stands alone. `tasks.nuclei.learning_curve` says what is assumed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pydantic

from tasks import tracking
from tasks.annotation.request import read_request
from tasks.contract import Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.nuclei import figures
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.learning_curve import CONFIDENCE, MORE_NUCLEI, Expectation, Round, expected
from tasks.nuclei.patch_grid import Patch
from tasks.nuclei.plates.chosen_patches import patches_of, read_chosen_patches
from tasks.nuclei.plates.files import Fov, Plate
from tasks.nuclei.plates.image_files import read_ignored, read_label_image
from tasks.nuclei.random_patches import Estimate, estimate_of, scores_in
from tasks.nuclei.scoring import OBJECT_LEVEL_IOU, InstanceScores
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
    annotated: list[str] = pydantic.Field(default_factory=list)
    """Imported plates of which patches were chosen to be annotated: outputs of `ingest`."""


def run(params: Params, workspace: Workspace) -> Outcome:
    _refuse_other_plates(params, workspace.store)
    rounds = _rounds(params, workspace)
    estimates = _estimates(params, workspace)
    advice = {cell_line: expected(rounds.get(cell_line, [])) for cell_line in dict.fromkeys([*rounds, *estimates])}
    write_csv(_table(rounds), workspace.output_dir / "rounds.csv")
    write_csv(_table_of(estimates), workspace.output_dir / "at_random.csv")
    figure = workspace.output_dir / "learning_curves.png"
    figures.learning_curve_figure(rounds).savefig(figure)
    page = pages.render(
        "learning_curves.html.jinja",
        rounds={cell_line: sorted(of_line) for cell_line, of_line in rounds.items()},
        advice=advice,
        flattered=any(one.own_proposals for of_line in rounds.values() for one in of_line),
        estimates={cell_line: estimates.get(cell_line, []) for cell_line in advice},
        figure=pages.embedded(figure.read_bytes()),
        more_nuclei=MORE_NUCLEI,
        confidence_percent=round(100 * CONFIDENCE),
    )
    (workspace.output_dir / "learning_curves.html").write_text(page)
    outputs = {
        "page": "learning_curves.html",
        "rounds": "rounds.csv",
        "at_random": "at_random.csv",
        "figure": "learning_curves.png",
    }
    values = {
        cell_line: {"advice": one.advice, "why": one.why, "at_random": _newest(estimates.get(cell_line, []))}
        for cell_line, one in advice.items()
    }
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
        own = _own_proposals(path, workspace.store)
        for row in _f1_of_cell_lines(workspace.input(path)).to_dict("records"):
            name = row["name"]
            one = Round(nuclei.get(name, 0), row["f1"], row["f1_low"], row["f1_high"], own.get(name, 0))
            rounds.setdefault(row["name"], []).append(one)
    return rounds


def _own_proposals(scores: str, store: Path) -> dict[str, int]:
    """Count, by cell line, the true labels that the scored model itself proposed."""
    own: dict[str, int] = {}
    for path in segmentations_of_scores(scores, store):
        cell_line = plate_at(plate_of_segmentation(path, store), store).info.cell_line
        own[cell_line] = own.get(cell_line, 0) + result_of(path, store).counts.get("own_proposals", 0)
    return own


def _f1_of_cell_lines(scores: Path) -> pd.DataFrame:
    """Give F1 at 0.7: of a cell line with random patches on these alone, so that difficult ones don't count."""
    at_random = scores / "f1_at_random.csv"
    paths = [*([at_random] if at_random.exists() else []), scores / "f1.csv"]
    f1 = pd.concat([read_csv(path, dtype={"name": str}) for path in paths])
    shown = f1[(f1["group"] == "cell_line") & (f1["iou_threshold"] == OBJECT_LEVEL_IOU)]
    return shown.drop_duplicates("name")


def _estimates(params: Params, workspace: Workspace) -> dict[str, list[Estimate]]:
    """Give F1 on random patches by cell line, for each model that proposed some; the one of the last plate is last."""
    found: dict[tuple[str, str], list[tuple[int, InstanceScores]]] = {}
    for path in params.annotated:
        plate = plate_at(path, workspace.store)
        for model, patches, scores in _proposed(plate, workspace):
            found.setdefault((plate.info.cell_line, model), []).append((patches, scores))
    estimates: dict[str, list[Estimate]] = {}
    for (cell_line, model), fields in found.items():
        estimates.setdefault(cell_line, []).append(estimate_of(model, fields))
    return estimates


def _proposed(plate: Plate, workspace: Workspace) -> Iterator[tuple[str, int, InstanceScores]]:
    """Give what the store has of proposals for random patches of a plate: the model, their number and the scores."""
    chosen = read_chosen_patches(plate.folder)
    for fov in plate.fovs:
        for key, rows in chosen[chosen["fov"] == fov.name].groupby("request"):
            folder, patches = inside(workspace.store, f"send_to_annotation/{key}"), patches_of(rows, fov.name, "random")
            sent = folder / "sent" / f"{fov.name}.tif"
            if patches and sent.exists():
                yield read_request(folder).model, len(patches), _scored(fov, patches, sent)


def _scored(fov: Fov, patches: Sequence[Patch], sent: Path) -> InstanceScores:
    assert fov.labels_path is not None
    ignored = read_ignored(fov.ignored_path) if fov.ignored_path else None
    return scores_in(patches, read_label_image(fov.labels_path), read_label_image(sent), ignored)


def _newest(estimates: Sequence[Estimate]) -> str:
    """Give the last estimate in words; empty if there is none."""
    return str(estimates[-1]) if estimates else ""


def _table_of(estimates: Mapping[str, Sequence[Estimate]]) -> pd.DataFrame:
    rows = [{"cell_line": line, **one._asdict()} for line, of_line in estimates.items() for one in of_line]
    return pd.DataFrame(rows, columns=["cell_line", *Estimate._fields])


def _table(rounds: Mapping[str, Sequence[Round]]) -> pd.DataFrame:
    return pd.DataFrame(
        {"cell_line": cell_line, **one._asdict()} for cell_line, of_line in rounds.items() for one in sorted(of_line)
    )


def _metrics(advice: Mapping[str, Expectation]) -> dict[str, float]:
    return {f"expected_gain/{name}": one.gain for name, one in advice.items() if one.gain is not None}


TASK = Task(
    name="learning_curves",
    version=2,
    params_type=Params,
    run=run,
    log=log_result,
    resources=Resources(memory_gib=2),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
