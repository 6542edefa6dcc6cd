"""Show scores as one page that stands alone: F1 curves, error rates, panels of the errors, and what was scored.

Several methods that were scored on the same plates are compared: one table, one figure, then a part for each.
"""

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pydantic

from tasks import tracking
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, TaskParams, Workspace, in_store
from tasks.nuclei import figures, shared_proposals
from tasks.nuclei.errors import InputError
from tasks.nuclei.inside import inside
from tasks.nuclei.intervals import FEW_FIELDS
from tasks.nuclei.own_proposals import MARK as MARK_OF_OWN
from tasks.nuclei.own_proposals import MEANING
from tasks.nuclei.plates.files import Fov, Plate
from tasks.nuclei.plates.image_files import read_ignored, read_image, read_label_image
from tasks.nuclei.plates.info import PlateInfo
from tasks.nuclei.scoring import OBJECT_LEVEL_IOU, PIXEL_LEVEL_IOU
from tasks.nuclei.tables import read_csv
from tasks.nuclei.usability import MARK, shortcoming
from tasks.steps import pages
from tasks.steps.pages.label_sets import F1, LabelSet, f1_curve, f1_of, label_sets_shown
from tasks.store.provenance import history_of, plate_at, plate_of_segmentation, result_of, segmentations_of_scores

log = logging.getLogger("nucleus")

ERROR_COLUMNS = {
    "false positives": ("false_positives", "fp_rate"),
    "false negatives": ("false_negatives", "fn_rate"),
    "merges": ("merges", "merge_rate"),
    "splits": ("splits", "split_rate"),
}
"""Kinds of errors, in the order of the paper's Fig. S3, with their columns in errors.csv."""
RANDOM_ALONE = (
    "patches of these plates were annotated because they are difficult; on those alone that were drawn at random, "
    "which stand for the whole plates"
)
NONE_AT_RANDOM = "not known, since none of them was"


class Params(TaskParams):
    scores: dict[str, str] = pydantic.Field(min_length=1)
    """Outputs of `score`, relative to the store, by the names under which they are shown; all of the same plates."""
    fovs_per_plate: int = pydantic.Field(default=2, ge=1, le=20)
    """Fields of each plate whose errors are shown: 1 is the worst, 2 the worst and the median, more lie between."""


class Error(NamedTuple):
    number: int
    rate: float


@dataclass(frozen=True)
class Group:
    """A row of the tables: a cell line, a plate or all."""

    name: str
    fovs: int
    true_nuclei: int
    predicted_nuclei: int
    object_level: F1
    pixel_level: F1
    errors: tuple[Error, ...]
    """In the order of `ERROR_COLUMNS`."""

    @property
    def shortcoming(self) -> str:
        """What is wrong with a model that can't be used; empty if it can."""
        return shortcoming(self.errors[list(ERROR_COLUMNS).index("false negatives")].rate)


@dataclass(frozen=True)
class PlateRow(Group):
    digest: str
    info: PlateInfo


@dataclass(frozen=True)
class Panel:
    plate: str
    cell_line: str
    caption: str
    alt: str
    source: str
    """Address of the image: the PNG itself, in base64."""


@dataclass(frozen=True)
class Scores:
    """The tables of `score`."""

    f1: pd.DataFrame
    errors: pd.DataFrame
    fovs: pd.DataFrame
    label_sets: pd.DataFrame | None
    """None where no plate has several."""
    at_random: pd.DataFrame | None
    """F1 on random patches alone; None where patches of no plate were chosen."""

    def curve(self, group: str, name: str) -> figures.F1Curve:
        return f1_curve(self.f1[(self.f1["group"] == group) & (self.f1["name"] == name)], name)

    def f1_at_random(self) -> str:
        """Give F1 at 0.7 of cell lines in words; empty where no patches were chosen."""
        if self.at_random is None:
            return ""
        table = self.at_random[self.at_random["group"] == "cell_line"]
        curves = [f1_curve(table[table["name"] == name], name) for name in table["name"].unique()]
        return ", ".join(f"{curve.name} {f1_of(curve, OBJECT_LEVEL_IOU)}" for curve in curves) or NONE_AT_RANDOM

    def f1_at(self, group: str, name: str, iou_threshold: float) -> F1:
        return f1_of(self.curve(group, name), iou_threshold)

    def groups(self, group: str) -> list[Group]:
        rows = self.errors[self.errors["group"] == group].to_dict("records")
        return [
            Group(
                row["name"],
                row["fovs"],
                row["true_nuclei"],
                row["predicted_nuclei"],
                self.f1_at(group, row["name"], OBJECT_LEVEL_IOU),
                self.f1_at(group, row["name"], PIXEL_LEVEL_IOU),
                tuple(Error(row[number], row[rate]) for number, rate in ERROR_COLUMNS.values()),
            )
            for row in rows
        ]


@dataclass(frozen=True)
class Method:
    """What is shown of one method: a part of the page."""

    name: str
    score_key: str
    cell_lines: list[Group]
    pooled: Group
    plates: list[PlateRow]
    doubtful_fovs: int
    """Fields whose label images look wrong, of `pooled.fovs`."""
    own_proposals: int
    """True labels that the model itself proposed."""
    f1_at_random: str
    """In words; empty where patches of no plate were chosen."""
    f1_figure: str
    error_rate_figure: str
    panels: list[Panel]
    label_sets: list[LabelSet]

    @property
    def few_fields(self) -> str:
        """Cell lines whose intervals rest more on assumptions than on their fields."""
        return ", ".join(f"{row.name} ({row.fovs})" for row in self.cell_lines if row.fovs < FEW_FIELDS)


def run(params: Params, workspace: Workspace) -> Outcome:
    scores = {name: _open_scores(path, workspace) for name, path in params.scores.items()}
    _refuse_other_plates(scores)
    methods = [_shown(name, params, scores[name], workspace) for name in params.scores]
    comparison = workspace.output_dir / "figures" / "f1.png"
    if len(methods) > 1:
        curves = [table.curve("all", "all")._replace(name=name) for name, table in scores.items()]
        figures.f1_figure(curves).savefig(comparison)
    steps = list(history_of(params.scores.values(), workspace.store))
    page = pages.render(
        "report.html.jinja",
        methods=methods,
        error_kinds=list(ERROR_COLUMNS),
        least_fields=FEW_FIELDS,
        random_alone=RANDOM_ALONE,
        mark=MARK_OF_OWN,
        meaning=MEANING,
        shared_mark=shared_proposals.MARK,
        shared_meaning=shared_proposals.MEANING,
        comparison=_embedded(comparison) if len(methods) > 1 else None,
        steps=steps,
        libraries=_library_versions(steps),
    )
    (workspace.output_dir / "report.html").write_text(page)
    (workspace.output_dir / "summary.md").write_text(_summary(methods))
    outputs = {"report": "report.html", "figures": "figures", "summary": "summary.md"}
    return Outcome(outputs=outputs, metrics={}, counts={"panels": sum(len(method.panels) for method in methods)})


def log_result(params: Params, result: Result, store: Path) -> None:
    """Copy the page, its figures and the tables to MLflow and make the table of F1 the run's note."""
    mlflow_run = tracking.Run()
    mlflow_run.log_artifact(store / result.outputs["report"], "report")
    mlflow_run.log_artifact(store / result.outputs["summary"], "report")
    for path in sorted((store / result.outputs["figures"]).iterdir()):
        mlflow_run.log_artifact(path, "report")
    for name, scores in params.scores.items():
        for table in ("f1.csv", "errors.csv", "fovs.csv"):
            mlflow_run.log_artifact(in_store(store, scores) / table, f"scores/{name}")
    mlflow_run.set_note((store / result.outputs["summary"]).read_text())


def worst_to_median(rows: pd.DataFrame, number: int) -> list[Mapping[Any, Any]]:
    """Give `number` rows of fovs.csv, evenly from the lowest F1 at 0.7 to the median; fewer if there are fewer."""
    in_order = rows.sort_values(["f1_at_0.7", "fov"]).to_dict("records")
    ranks = np.unique(np.linspace(0, len(in_order) // 2, number).round().astype(int))
    return [in_order[rank] for rank in ranks]


def _read_table(path: Path) -> pd.DataFrame:
    # A field may be called 0012, a cell line NA.
    return read_csv(path, dtype=dict.fromkeys(("name", "plate", "cell_line", "fov", "labels", "label_set"), str))


def _open_scores(path: str, workspace: Workspace) -> Scores:
    result_of(path, workspace.store, "score")
    folder = workspace.input(path)
    f1, errors, fovs = (_read_table(folder / f"{name}.csv") for name in ("f1", "errors", "fovs"))
    further = (folder / "label_sets.csv", folder / "f1_at_random.csv")
    label_sets, at_random = (_read_table(table) if table.exists() else None for table in further)
    return Scores(f1, errors, fovs, label_sets, at_random)


def _refuse_other_plates(scores: Mapping[str, Scores]) -> None:
    plates = {name: sorted(set(table.fovs["plate"])) for name, table in scores.items()}
    first, *others = plates
    for name in others:
        if plates[name] != plates[first]:
            raise InputError(
                f"scores: those of {first} are of the plates {', '.join(plates[first])}, those of {name} of "
                f"{', '.join(plates[name])}; give scores of the same plates."
            )


def _shown(name: str, params: Params, scores: Scores, workspace: Workspace) -> Method:
    """Draw the figures of a method into a folder of its name."""
    folder = inside(workspace.output_dir / "figures", name)
    folder.mkdir(parents=True)
    _draw_charts(scores, folder)
    score_folder = workspace.input(params.scores[name])
    segmentations = segmentations_of_scores(params.scores[name], workspace.store)
    plates = [(path, plate_at(plate_of_segmentation(path, workspace.store), workspace.store)) for path in segmentations]
    counts = result_of(params.scores[name], workspace.store).counts
    panels = [
        panel for path, plate in plates for panel in _draw_panels(plate, workspace.input(path), scores, params, folder)
    ]
    return Method(
        name,
        score_folder.name,
        scores.groups("cell_line"),
        scores.groups("all")[0],
        _plate_rows(scores, [plate for _, plate in plates]),
        # Scores that were made before these were looked for don't have them.
        counts.get("doubtful_fovs", 0),
        counts.get("own_proposals", 0),
        scores.f1_at_random(),
        _embedded(folder / "f1.png"),
        _embedded(folder / "error_rates.png"),
        panels,
        [] if scores.label_sets is None else list(label_sets_shown(scores.label_sets, folder)),
    )


def _draw_charts(scores: Scores, folder: Path) -> None:
    cell_lines = scores.groups("cell_line")
    curves = [scores.curve("cell_line", row.name) for row in cell_lines]
    figures.f1_figure(curves, scores.curve("all", "all")).savefig(folder / "f1.png")
    rates = {
        kind: {row.name: row.errors[number].rate for row in cell_lines} for number, kind in enumerate(ERROR_COLUMNS)
    }
    figures.error_rate_figure(rates).savefig(folder / "error_rates.png")


def _draw_panels(plate: Plate, segmentation: Path, scores: Scores, params: Params, folder: Path) -> Iterator[Panel]:
    rows = scores.fovs[scores.fovs["plate"] == plate.info.name]
    fovs = {fov.name: fov for fov in plate.fovs}
    for number, row in enumerate(worst_to_median(rows, params.fovs_per_plate), start=1):
        log.info("report: drawing the errors in %s of %s", row["fov"], plate.info.name)
        path = folder / f"errors_{plate.info.name}_{number}.png"
        caption = _caption(row)
        title = f"{plate.info.name} · {row['fov']} · F1 at 0.7: {row['f1_at_0.7']:.3f}"
        _draw_panel(plate, fovs[row["fov"]], segmentation, title, path)
        alt = f"Image, true labels, predicted labels and errors of a field of view of {plate.info.name}. {caption}"
        yield Panel(plate.info.name, plate.info.cell_line, caption, alt, _embedded(path))


def _caption(row: Mapping[Any, Any]) -> str:
    return (
        f"{row['fov']}: F1 at 0.7 is {row['f1_at_0.7']:.3f}; of {row['true_nuclei']} nuclei "
        f"{row['fn_at_0.7']} missed, {row['splits']} split; of {row['predicted_nuclei']} predicted "
        f"{row['fp_at_0.7']} extra, {row['merges']} merged."
    )


def _draw_panel(plate: Plate, fov: Fov, segmentation: Path, title: str, path: Path) -> None:
    assert fov.labels_path is not None
    figure = figures.error_panel(
        read_image(fov.image_path),
        read_label_image(fov.labels_path),
        read_label_image(segmentation / "labels" / f"{fov.name}.tif"),
        plate.info.pixel_size_um,
        title,
        read_ignored(fov.ignored_path) if fov.ignored_path else None,
    )
    figure.savefig(path)


def _embedded(path: Path) -> str:
    return pages.embedded(path.read_bytes())


def _plate_rows(scores: Scores, plates: Iterable[Plate]) -> list[PlateRow]:
    groups = {group.name: group for group in scores.groups("plate")}
    return [
        PlateRow(**vars(groups[plate.info.name]), digest=plate.folder.name.rpartition("@")[2], info=plate.info)
        for plate in plates
    ]


def _library_versions(steps: Iterable[Result]) -> dict[str, str]:
    versions: dict[str, set[str]] = {}
    for step in steps:
        for name, version in step.libraries.items():
            versions.setdefault(name, set()).add(version)
    return {name: ", ".join(sorted(versions[name])) for name in sorted(versions)}


def _summary(methods: Sequence[Method]) -> str:
    """Give the table of F1 and errors as Markdown."""
    header = ["method", "cell line", "fields", "nuclei", "F1 at 0.7 (95 % CI)", "F1 at 0.9 (95 % CI)", *ERROR_COLUMNS]
    lines = [header, ["---"] * 2 + ["---:"] * (len(header) - 2)]
    for method in methods:
        for row in [*method.cell_lines, method.pooled]:
            rates = [f"{100 * error.rate:.1f} %" for error in row.errors]
            f1 = f"{MARK} {row.shortcoming}: {row.object_level}" if row.shortcoming else str(row.object_level)
            numbers = [str(row.fovs), str(row.true_nuclei), f1, str(row.pixel_level)]
            lines.append([method.name, row.name, *numbers, *rates])
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    look_wrong = (
        f"\n{method.name}: {method.doubtful_fovs} of {method.pooled.fovs} label images look wrong, "
        "and are in the scores.\n"
        for method in methods
        if method.doubtful_fovs
    )
    at_random = (
        f"\n{method.name}: {RANDOM_ALONE}, is F1 at 0.7 {method.f1_at_random}.\n"
        for method in methods
        if method.f1_at_random
    )
    flattered = (f"\n{method.name}: {_flattered(method)}.\n" for method in methods if method.own_proposals)
    notes = [
        "Errors at an IoU of 0.7, in percent of the true nuclei.",
        "The 95 % CI is of F1 on all fields that could have been imaged of these plates, not on other plates.",
    ]
    if few := methods[0].few_fields:
        notes.append(f"Too few fields to rely on the CI: {few}; give {FEW_FIELDS} or more of each cell line.")
    if len(methods) > 1:
        notes.append(f"The best of {len(methods)} on the same plates is so partly by luck: expect less on others.")
    return f"{table}\n\n{' '.join(notes)}\n{''.join(look_wrong)}{''.join(at_random)}{''.join(flattered)}"


def _flattered(method: Method) -> str:
    """Mark scores against labels that the model itself proposed."""
    return (
        f"{method.own_proposals} of the {method.pooled.true_nuclei} true labels were proposed by this model or "
        "one that it began from, so its F1 is better than it would be against labels made without it"
    )


TASK = Task(
    name="report", version=5, params_type=Params, run=run, log=log_result, resources=Resources(PROCESSING, memory_gib=4)
)

if __name__ == "__main__":
    sys.exit(TASK.main())
