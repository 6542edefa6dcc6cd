"""Put the scores of all versions on all test plates side by side, and say what a version forgot.

Writes matrix.csv, one row per version and plate: F1 at 0.7 and 0.9, and how far each is below the best of the
earlier versions (`forgotten_at_0.7`; 0 where it isn't, empty where nothing is known), and how many of the true labels
it proposed itself, which makes its F1 too good (`own_proposals`); and matrix.png, its heat maps.
What needs no training is shown beside the versions, as a baseline: baseline.csv has F1 of it on each plate.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pydantic

from tasks import tracking
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.nuclei import figures
from tasks.nuclei.errors import InputError
from tasks.nuclei.figures import ScoreMatrix
from tasks.nuclei.plates.info import read_plate_info
from tasks.nuclei.scoring import SHOWN_IOU_THRESHOLDS
from tasks.nuclei.tables import read_csv, write_csv
from tasks.store.provenance import own_proposals_of_plates, plate_of_segmentation, segmentations_of_scores

CHAMPION = "champion"
NOTICEABLE_DROP = 0.01
"""What counts as forgotten."""

log = logging.getLogger("nucleus")


class ScoredVersion(pydantic.BaseModel):
    """A version of the registered model."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    version: int = pydantic.Field(ge=1)
    aliases: list[str] = []
    """Such as champion."""
    scores: str | None = None
    """Output of `score` for it on the test plates; none where it can't be scored."""

    @property
    def title(self) -> str:
        names = ", ".join(self.aliases)
        return f"version {self.version}" + (f", {names}" if names else "")


class Params(TaskParams):
    versions: list[ScoredVersion] = pydantic.Field(min_length=1)
    """Every version to compare; each is held against those with a lower number."""
    baseline: dict[str, str] = pydantic.Field(default_factory=dict)
    """Outputs of `score` on the same plates for what needs no training, by the names under which they are shown."""


def run(params: Params, workspace: Workspace) -> Outcome:
    versions = _in_order(params)
    plates = _plates([*(scored.scores for scored in versions if scored.scores), *params.baseline.values()], workspace)
    matrix = _with_forgotten(_matrix(versions, plates, workspace))
    baseline = _of_baseline(params, plates, workspace)
    write_csv(matrix, workspace.output_dir / "matrix.csv")
    write_csv(baseline, workspace.output_dir / "baseline.csv")
    rows = pd.concat([baseline, matrix], ignore_index=True)
    figure = figures.matrix_figure(
        [_score_matrix(rows, iou_threshold, len(plates)) for iou_threshold in SHOWN_IOU_THRESHOLDS],
        [*params.baseline, *(scored.title for scored in versions)],
        list(plates["plate"]),
        list(plates["cell_line"]),
    )
    figure.savefig(workspace.output_dir / "matrix.png")
    drops = matrix[[f"forgotten_at_{iou_threshold}" for iou_threshold in SHOWN_IOU_THRESHOLDS]]
    counts = {
        "versions": len(versions),
        "plates": len(plates),
        "missing": int(matrix["f1_at_0.7"].isna().sum()),
        "forgotten": int((drops >= NOTICEABLE_DROP).any(axis=1).sum()),
    }
    outputs = {"matrix": "matrix.csv", "baseline": "baseline.csv", "figure": "matrix.png"}
    return Outcome(outputs, _metrics(versions, matrix), counts)


def log_result(params: Params, result: Result, store: Path) -> None:
    """Show table and figure, and curves over the versions: the step is the number of the version.

    Every version gets its F1 on each plate, by which MLflow sorts models: the base model was scored on none before, and
    a version on no plate that came after it.
    """
    run = tracking.Run()
    for name in result.outputs:
        run.log_artifact(store / result.outputs[name], "forgetting")
    matrix = read_csv(store / result.outputs["matrix"], dtype={"plate": str, "cell_line": str})
    run.log_points([tracking.Point(name, value) for name, value in result.metrics.items()])
    run.log_points(list(_curves(matrix)))
    own = matrix[matrix["own_proposals"] > 0].groupby("plate")["version"].unique()
    run.set_tags(
        {f"{tracking.OWN_PROPOSALS}/{plate}": f"versions {', '.join(map(str, of))}" for plate, of in own.items()}
    )
    if run.id:
        _log_scores_of_versions(params, matrix, store)


def _log_scores_of_versions(params: Params, matrix: pd.DataFrame, store: Path) -> None:
    runs = {found.version: found.mlflow_run_id for found in tracking.all_models()}
    for scored in params.versions:
        if scored.scores and runs.get(scored.version):
            f1 = matrix[matrix["version"] == scored.version].set_index("plate")
            plates = [Path(path).name.rpartition("@") for path in _plates_of(scored.scores, store)]
            scores = [
                tracking.PlateScores(
                    *(name, digest, {t: float(f1[f"f1_at_{t}"][name]) for t in SHOWN_IOU_THRESHOLDS}),
                    own_proposals=int(f1["own_proposals"][name]),
                )
                for name, _, digest in plates
            ]
            tracking.log_scores_of_plates(runs[scored.version], scores)


def _in_order(params: Params) -> list[ScoredVersion]:
    numbers = [scored.version for scored in params.versions]
    repeated = sorted({number for number in numbers if numbers.count(number) > 1})
    if repeated:
        raise InputError(f"versions: {', '.join(map(str, repeated))} is there more than once; give each once.")
    return sorted(params.versions, key=lambda scored: scored.version)


def _plates(scores: Sequence[str], workspace: Workspace) -> pd.DataFrame:
    """One row per plate, ordered by cell line: plate, cell_line. All scores must be on the same labels of a plate."""
    paths = sorted({path for of_one in scores for path in _plates_of(of_one, workspace.store)})
    if not paths:
        raise InputError("versions: none of them has scores; give an output of the task score for at least one.")
    infos = [read_plate_info(workspace.input(path)) for path in paths]
    names = [info.name for info in infos]
    different = [path for path, name in zip(paths, names, strict=True) if names.count(name) > 1]
    if different:
        raise InputError(f"versions: scored on {' and '.join(different)}; score all on the same version of a plate.")
    plates = pd.DataFrame([{"plate": info.name, "cell_line": info.cell_line} for info in infos])
    return plates.sort_values(["cell_line", "plate"], ignore_index=True)


def _plates_of(scores: str, store: Path) -> list[str]:
    return [plate_of_segmentation(path, store) for path in segmentations_of_scores(scores, store)]


def _matrix(versions: Sequence[ScoredVersion], plates: pd.DataFrame, workspace: Workspace) -> pd.DataFrame:
    """One row per version and plate: version, plate, cell_line, f1_at_0.7, f1_at_0.9, own_proposals."""
    known = pd.concat(
        _f1_of_plates(scored.scores, workspace).assign(version=scored.version) for scored in versions if scored.scores
    )
    every = pd.DataFrame({"version": [scored.version for scored in versions]}).merge(plates, how="cross")
    return every.merge(known, how="left", on=["version", "plate"])


def _of_baseline(params: Params, plates: pd.DataFrame, workspace: Workspace) -> pd.DataFrame:
    """One row per name and plate: name, plate, cell_line, f1_at_0.7, f1_at_0.9, own_proposals."""
    tables = [
        plates.merge(_f1_of_plates(scores, workspace), how="left", on="plate").assign(name=name)
        for name, scores in params.baseline.items()
    ]
    f1 = [f"f1_at_{iou_threshold}" for iou_threshold in SHOWN_IOU_THRESHOLDS]
    columns = ["name", *plates.columns, *f1, "own_proposals"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _f1_of_plates(scores: str, workspace: Workspace) -> pd.DataFrame:
    """One row per plate: plate, f1_at_0.7, f1_at_0.9, own_proposals."""
    curves = read_csv(workspace.input(scores) / "f1.csv", dtype={"name": str})
    of_plates = curves[curves["group"] == "plate"]
    points = of_plates.pivot(index="name", columns="iou_threshold", values="f1")[list(SHOWN_IOU_THRESHOLDS)]
    own = own_proposals_of_plates(segmentations_of_scores(scores, workspace.store), workspace.store)
    table = points.add_prefix("f1_at_").rename_axis(index="plate", columns=None).reset_index()
    return table.assign(own_proposals=table["plate"].map(own))


def _with_forgotten(matrix: pd.DataFrame) -> pd.DataFrame:
    """Add the drop against the best earlier version; the rows of a plate are in the order of the versions."""
    drops = {}
    for iou_threshold in SHOWN_IOU_THRESHOLDS:
        f1 = matrix[f"f1_at_{iou_threshold}"]
        best_before = f1.groupby(matrix["plate"]).transform(lambda of_plate: of_plate.cummax().ffill().shift())
        drops[f"forgotten_at_{iou_threshold}"] = (best_before - f1).clip(lower=0)
    return matrix.assign(**drops)


def _score_matrix(rows: pd.DataFrame, iou_threshold: float, plates: int) -> ScoreMatrix:
    f1, forgotten = (
        rows[f"{name}_at_{iou_threshold}"].to_numpy(float).reshape(-1, plates) for name in ("f1", "forgotten")
    )
    own = rows["own_proposals"].fillna(0).to_numpy(float).reshape(-1, plates)
    return ScoreMatrix(f"F1 at IoU {iou_threshold}", f1, forgotten, own > 0)


def _metrics(versions: Sequence[ScoredVersion], matrix: pd.DataFrame) -> dict[str, float]:
    """The champion's worst drop, where there is a champion and a version before it."""
    champions = [scored.version for scored in versions if CHAMPION in scored.aliases]
    of_champion = matrix[matrix["version"].isin(champions)]
    worst = {f"forgotten_at_{t}/champion": of_champion[f"forgotten_at_{t}"].max() for t in SHOWN_IOU_THRESHOLDS}
    return {name: float(drop) for name, drop in worst.items() if pd.notna(drop)}


def _curves(matrix: pd.DataFrame) -> Iterator[tracking.Point]:
    """F1 of every plate and the worst drop, over the versions."""
    for iou_threshold in SHOWN_IOU_THRESHOLDS:
        f1, forgotten = f"f1_at_{iou_threshold}", f"forgotten_at_{iou_threshold}"
        for plate, version, value in matrix[["plate", "version", f1]].dropna().itertuples(index=False):
            yield tracking.Point(f"{f1}/{plate}", value, version)
        for version, drop in matrix.groupby("version")[forgotten].max().dropna().items():
            yield tracking.Point(f"{forgotten}/worst", drop, int(str(version)))


TASK = Task(
    name="forgetting",
    version=3,
    params_type=Params,
    run=run,
    log=log_result,
    resources=Resources(PROCESSING, memory_gib=4),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
