"""Make the tables and figures of a matrix of experiments in the paper's form, on one page.

Writes tables/ (CSV), figures/ (SVG and PNG), experiments.html with all of them, and data/ with what they are made of,
from which `tasks.recipes.draw_experiments` draws them again. The best of each column is bold; rows without the
pretrained weights that they ask for are marked, and F1 against labels that the scored model proposed itself.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import pydantic

from tasks import tracking
from tasks.contract import PROCESSING, Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.nuclei import shared_proposals
from tasks.nuclei.inside import inside
from tasks.nuclei.own_proposals import MARK, MEANING
from tasks.nuclei.scoring import OBJECT_LEVEL_IOU
from tasks.nuclei.tables import write_csv
from tasks.steps import pages
from tasks.steps.experiments.data import OWN, SHARED, Data, collect, refuse_nothing, write_data
from tasks.steps.experiments.drawing import NO_WEIGHTS, cost_of_all, figures_of, file_name
from tasks.steps.experiments.findings import Expected, findings_of
from tasks.steps.experiments.overfitting import COLUMNS, overfitting_of, verdicts
from tasks.steps.experiments.panels import PanelField, collect_panels, write_panels
from tasks.steps.experiments.tables import Table, errors_of, images_of, table_of

DATA, TABLES, FIGURES, PAGE, SPEC = "data", "tables", "figures", "experiments.html", "spec.json"
COSTS, COST_FIGURE, FINDINGS = "Costs", "F1 and CPU hours", "Findings"
FORMATS = ("svg", "png")
FigureForm = Literal["curves", "dots", "replicates", "errors", "agreement", "panels"]
OF_F1: tuple[FigureForm, ...] = ("curves", "dots", "replicates")
"""Forms that show F1 of models."""
OWN_NOTE = f"Some of this F1 is {MEANING}."
SHARED_NOTE = f"{shared_proposals.MARK} {shared_proposals.MEANING}."

log = logging.getLogger("nucleus")


class Experiment(TaskParams):
    name: str = pydantic.Field(min_length=1)
    words: dict[str, str]
    """By the names of the matrix's columns."""
    replicate: int = pydantic.Field(1, ge=1)
    key: str
    """Changes with whatever would change its scores."""
    scores: str
    """Output of `score` on the test plates."""
    training_scores: str | None = None
    """Output of `score` on the training plates."""
    missing_weights: str = ""
    """Why it ran without the pretrained weights that it asks for; empty if it ran with them."""


class TableSpec(TaskParams):
    name: str = pydantic.Field(min_length=1, max_length=100)
    title: str = ""
    kind: Literal["f1", "replicates", "annotations", "training", "plates"] = "f1"
    rows: list[list[str]] = pydantic.Field(default_factory=list)
    """The experiments that are shown: a word of every column, and the number of the replicate."""
    by: list[str] = pydantic.Field(default_factory=list)
    """Columns whose words tell the rows apart."""
    at: list[float] = pydantic.Field(default_factory=lambda: [OBJECT_LEVEL_IOU])
    """IoU thresholds."""
    figures: dict[str, FigureForm] = pydantic.Field(default_factory=dict)
    """Forms of the figures, by their names."""


class Finding(TaskParams):
    """A statement of the paper, as a difference of F1 at 0.7 between two experiments."""

    paper: str = pydantic.Field(min_length=1)
    """What the paper says."""
    table: str
    """Its table that shows it, whose published values stand beside."""
    of: list[str]
    """A word of every column; all replicates count."""
    against: list[str]
    """The experiment that it is compared with."""
    expected: Expected
    """Whether F1 of the first is more than, less than, the same as, or not less than that of the second."""
    cell_lines: list[str] = pydantic.Field(default_factory=list)
    """Those that the statement is about; all without any."""


class Prices(TaskParams):
    currency: str = ""
    core_hour: float | None = pydantic.Field(None, ge=0)
    gpu_hour: float | None = pydantic.Field(None, ge=0)


class Spec(TaskParams):
    """What is shown of the data, and how."""

    title: str
    columns: dict[str, str] = pydantic.Field(min_length=1)
    """Titles of the matrix's columns."""
    tables: list[TableSpec] = pydantic.Field(default_factory=list)
    findings: list[Finding] = pydantic.Field(default_factory=list)
    published: Literal["paper"] | None = None
    """Whose published values stand beside."""
    scale: float | None = pydantic.Field(None, gt=0)
    """Of ROIs and cycles, by those that the words of the matrix stand for; stands beside differences."""
    prices: Prices = Prices()


class Params(Spec):
    experiments: list[Experiment] = pydantic.Field(min_length=1)
    plates: list[str] = pydantic.Field(min_length=1)
    """Imported plates that were trained or scored on."""


class Shown(NamedTuple):
    """A part of the page."""

    table: Table
    figures: dict[str, str]
    """Addresses of the images, by the names of the figures."""
    errors: list[dict[str, Any]]
    """One for each row and cell line, with percent by kind of error; none where the matrix asks for no such figure."""
    overfitting: list[dict[str, Any]]
    """One for each row, cell line and threshold of a table that compares training with test plates."""
    verdicts: dict[str, str]
    """On overfitting, by row."""
    missing: dict[str, str]
    """Why figures aren't there, by their names."""


def run(params: Params, workspace: Workspace) -> Outcome:
    experiments = [experiment.model_dump() for experiment in params.experiments]
    data = collect(experiments, params.plates, params.prices.model_dump(), workspace.store)
    refuse_nothing(data)
    (workspace.output_dir / DATA).mkdir()
    write_data(data, workspace.output_dir / DATA)
    spec = Spec.model_validate({name: getattr(params, name) for name in Spec.model_fields})
    (workspace.output_dir / DATA / SPEC).write_text(spec.model_dump_json(indent=1))
    panels = collect_panels(_in_panels(experiments, spec), workspace.store)
    if panels:
        write_panels(panels, workspace.output_dir / DATA)
    figures = draw(spec, data, panels, workspace.output_dir)
    outputs = {"data": DATA, "tables": TABLES, "figures": FIGURES, "page": PAGE}
    counts = {"experiments": len(experiments), "tables": len(params.tables), "figures": figures}
    best = data.costs.dropna(subset=["f1_at_0.7"])["f1_at_0.7"]
    return Outcome(outputs, {"best_f1_at_0.7": float(best.max())} if len(best) else {}, counts)


def _in_panels(experiments: Sequence[Mapping[str, Any]], spec: Spec) -> list[Mapping[str, Any]]:
    """Give the experiments of tables that have panels."""
    rows = {tuple(row) for table in spec.tables if "panels" in table.figures.values() for row in table.rows}
    return [
        one for one in experiments if (*(one["words"][name] for name in spec.columns), str(one["replicate"])) in rows
    ]


def draw(spec: Spec, data: Data, panels: Sequence[PanelField], folder: Path) -> int:
    """Write tables, figures and the page of all into a folder; gives how many figures there are."""
    for name in (TABLES, FIGURES):
        (folder / name).mkdir(exist_ok=True)
    shown = [part for table in spec.tables if (part := _shown(table, spec, data, panels, folder))]
    images = images_of(data.plates, spec.published)
    write_csv(images, folder / TABLES / "images.csv")
    write_csv(data.costs, folder / TABLES / f"{COSTS}.csv")
    findings = _findings(spec, data)
    if len(findings):
        write_csv(findings, folder / TABLES / f"{FINDINGS}.csv")
    colours = next((table.by[0] for table in spec.tables if table.by), next(iter(spec.columns)))
    of_costs = bool(data.costs[OWN].any())
    forms = {form for table in spec.tables for form in table.figures.values()}
    shares_proposals = "agreement" in forms and data.agreement[SHARED].any()
    cost = _saved(COST_FIGURE, cost_of_all(data, colours, spec.columns[colours]), folder, OWN_NOTE if of_costs else "")
    page = pages.render(
        "experiments.html.jinja",
        title=spec.title,
        parts=shown,
        plates=images.to_dict("records"),
        is_compared=spec.published is not None,
        scale=spec.scale,
        plates_table=next((table for table in spec.tables if table.kind == "plates"), None),
        costs=data.costs.sort_values("cpu_hours").to_dict("records"),
        currency=spec.prices.currency,
        has_money=bool(data.costs["money"].notna().any()),
        has_gpus=bool((data.costs["gpu_seconds"] > 0).any()),
        cost_figure=cost,
        has_panels=bool(panels),
        findings=findings.to_dict("records"),
        mark=MARK,
        meaning=MEANING,
        no_weights=NO_WEIGHTS,
        shared_note=SHARED_NOTE if shares_proposals else "",
        is_flattered=of_costs or any(part.table.is_flattered for part in shown),
        left_out=[table.name for table in spec.tables if table.kind != "plates" and table.name not in _names(shown)],
        missing_figures=_missing_figures(spec, shown),
    )
    (folder / PAGE).write_text(page)
    return len(list((folder / FIGURES).glob("*.svg")))


def _findings(spec: Spec, data: Data) -> pd.DataFrame:
    given = spec.model_dump()
    return findings_of(given["findings"], given["tables"], data, list(spec.columns), spec.published)


def _missing_figures(spec: Spec, shown: Sequence[Shown]) -> dict[str, list[str]]:
    """Give the names of figures that the matrix asks for and that aren't there, by the reason."""
    missing: dict[str, list[str]] = {}
    of_tables = {part.table.name: part.missing for part in shown}
    for table in spec.tables:
        unscored = dict.fromkeys(table.figures, f"no experiment of {table.name} has scores yet")
        for name, reason in of_tables.get(table.name, unscored).items():
            missing.setdefault(reason, []).append(name)
    return missing


def _names(shown: Sequence[Shown]) -> set[str]:
    return {part.table.name for part in shown}


def _shown(table: TableSpec, spec: Spec, data: Data, panels: Sequence[PanelField], folder: Path) -> Shown | None:
    """Write a table and its figures; None for one of which no experiment has scores."""
    if table.kind == "plates":
        write_csv(images_of(data.plates, spec.published), folder / TABLES / f"{file_name(table.name)}.csv")
        return None
    given = table.model_dump()
    made = table_of(given, data, spec.columns, spec.published, spec.scale)
    if not made.rows:
        log.info("%s: none of its experiments has scores yet", table.name)
        return None
    write_csv(made.frame(), folder / TABLES / f"{file_name(table.name)}.csv")
    drawn = dict(figures_of(given, made, data, panels, spec.columns))
    missing = {name: figure for name, figure in drawn.items() if isinstance(figure, str)}
    figures = {
        name: _saved(name, figure, folder, _note(table.figures.get(name), made, data))
        for name, figure in drawn.items()
        if name not in missing
    }
    overfitting = _overfitting(table, spec, data, folder)
    return Shown(
        made,
        figures,
        list(_errors(table, spec, data, folder)),
        [{str(name): value for name, value in row.items()} for row in overfitting.to_dict("records")],
        verdicts(overfitting),
        missing,
    )


def _overfitting(table: TableSpec, spec: Spec, data: Data, folder: Path) -> pd.DataFrame:
    """Compare training with test plates where a table does, and write it; no rows of other tables."""
    if table.kind != "training":
        return pd.DataFrame(columns=COLUMNS)
    overfitting = overfitting_of(table.model_dump(), data, list(spec.columns), spec.published)
    write_csv(overfitting, folder / TABLES / f"{file_name(table.name)}_overfitting.csv")
    return overfitting


def _errors(table: TableSpec, spec: Spec, data: Data, folder: Path) -> Iterator[dict[str, Any]]:
    """Write the errors of a table that has a figure of them, and give them for the page."""
    wanted = next((name for name, form in table.figures.items() if form == "errors"), None)
    if wanted is None:
        return
    errors = errors_of(table.model_dump(), data, list(spec.columns), spec.published)
    write_csv(errors, folder / TABLES / f"{file_name(wanted)}.csv")
    yield from _error_rows(errors)


def _error_rows(errors: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for (row, cell_line), of_row in errors.groupby(["row", "cell_line"], sort=False):
        of_kinds = of_row.set_index("error")[["percent", "published_percent", "difference"]].to_dict("index")
        named = {"row": row, "cell_line": cell_line, "weights": of_row["without_weights"].iloc[0]}
        yield {**named, "nuclei": of_row["true_nuclei"].iloc[0], "of_kinds": of_kinds}


def _note(form: FigureForm | None, table: Table, data: Data) -> str:
    """Say why F1 in a figure may be too good."""
    if form == "agreement":
        return SHARED_NOTE if data.agreement[SHARED].any() else ""
    return OWN_NOTE if table.is_flattered and form in OF_F1 else ""


def _saved(name: str, figure: Any, folder: Path, note: str) -> str:
    """Save a figure as SVG and PNG, with a note below it if there is one; gives its address for the page."""
    path = folder / FIGURES / file_name(name)
    if note:
        figure.text(0, 0, note, va="top", fontsize=7)
    for ending in FORMATS:
        metadata = {"Date": None} if ending == "svg" else None
        figure.savefig(f"{path}.{ending}", metadata=metadata, bbox_inches="tight" if note else None)
    return pages.embedded(Path(f"{path}.png").read_bytes())


def log_result(params: Params, result: Result, store: Path) -> None:
    """Copy all of it to the MLflow run of the matrix."""
    run_of_matrix = tracking.Run()
    for path, folder in _files(result.outputs, store):
        run_of_matrix.log_artifact(path, folder)
    run_of_matrix.log_points([tracking.Point(name, value) for name, value in result.metrics.items()])
    run_of_matrix.set_tags({name: str(number) for name, number in result.counts.items()})


def _files(outputs: Mapping[str, str], store: Path) -> Iterator[tuple[Path, str]]:
    yield inside(store, outputs["page"]), "report"
    for name in (DATA, TABLES, FIGURES):
        yield from ((path, name) for path in sorted(inside(store, outputs[name]).iterdir()))


def read_spec(folder: Path) -> Spec:
    """Read what is shown, beside the data."""
    return Spec.model_validate(json.loads((folder / SPEC).read_text()))


TASK = Task(
    name="tabulate",
    version=5,
    params_type=Params,
    run=run,
    log=log_result,
    resources=Resources(PROCESSING, memory_gib=4),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
