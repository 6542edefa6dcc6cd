"""Compare a plate with the training plates of its cell line: intensity, background, focus, nuclear area, density
and the share of nuclei at the border, field by field, as `ingest` measured them.

Writes drift.csv (one row per measure), drift.html, a page that stands alone, and warnings.txt, one line per outlier.
A plate without labels has no nuclei to compare before it is segmented. Intensities are compared among
fields of one bit depth, focus among fields of one pixel size.
"""

import io
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tasks import tracking
from tasks.contract import NothingToDo, Outcome, Resources, Result, Task, TaskParams, Workspace
from tasks.nuclei import figures
from tasks.nuclei.drift import LEAST_SPREAD_OF_MEDIAN, OUTLIER_DISTANCE, Drift, compare, field_table, with_nuclei_found
from tasks.nuclei.errors import InputError, raise_if_any
from tasks.nuclei.plates.files import FROZEN_REPORT, Plate, open_plate
from tasks.nuclei.tables import read_csv, write_csv
from tasks.steps import pages
from tasks.store.imported_plates import measured_rows
from tasks.store.provenance import plate_at, plate_of_segmentation

log = logging.getLogger("nucleus")


class Params(TaskParams):
    plate: str
    """Plate to compare, as `ingest` froze it."""
    references: list[str]
    """Training plates of the same cell line, as `ingest` froze them."""
    segmentation: str | None = None
    """Output of `assemble_plate` for the plate: compare the nuclei found, not those labelled."""


def run(params: Params, workspace: Workspace) -> Outcome:
    plate = _open(params.plate, workspace)
    if not params.references:
        raise NothingToDo(f"There is no training plate of {plate.info.cell_line} to compare {plate.info.name} with.")
    references = [_open(path, workspace) for path in params.references]
    _refuse_others(plate, references)

    rows = measured_rows(plate)
    if params.segmentation:
        rows = _with_nuclei_found(rows, _segmentation(params, workspace))
    fields_of_references = pd.concat(
        [field_table(one.info, measured_rows(one)) for one in references], ignore_index=True
    )
    drifts = compare(field_table(plate.info, rows), fields_of_references)
    warnings = [_warning(drift) for drift in drifts if drift.is_outlier]
    for warning in warnings:
        log.warning("%s is an outlier: %s", plate.info.name, warning)
    (workspace.output_dir / "warnings.txt").write_text("".join(f"{warning}\n" for warning in warnings))
    write_csv(_table(drifts), workspace.output_dir / "drift.csv")
    (workspace.output_dir / "drift.html").write_text(_page(params, plate, references, drifts, warnings))
    return Outcome(
        outputs={"page": "drift.html", "table": "drift.csv", "warnings": "warnings.txt"},
        metrics={drift.measure.name: drift.distance for drift in drifts if drift.is_compared},
        counts={"outliers": len(warnings)},
    )


def log_result(params: Params, result: Result, store: Path) -> None:
    """Show the distances, the page and, as the run's note, the warnings in MLflow."""
    run = tracking.Run()
    run.log_points([tracking.Point(f"drift/{name}", distance) for name, distance in result.metrics.items()])
    for name in ("page", "table"):
        run.log_artifact(store / result.outputs[name], "drift")
    info = plate_at(params.plate, store).info
    warnings = (store / result.outputs["warnings"]).read_text().splitlines()
    run.set_tags({"plate": info.name, "cell_line": info.cell_line, "drift": "outlier" if warnings else "none"})
    run.set_note("\n".join(f"- {warning}" for warning in warnings) or "No measure is an outlier.")


def _open(path: str, workspace: Workspace) -> Plate:
    folder = workspace.input(path)
    if not (folder / FROZEN_REPORT).exists():
        raise InputError(f"{path} is no imported plate; give the output of the task ingest.")
    return open_plate(folder)


def _segmentation(params: Params, workspace: Workspace) -> Path:
    """Give the folder of the segmented plate, after a look that it is of this plate."""
    segmented = plate_of_segmentation(str(params.segmentation), workspace.store, "assemble_plate")
    if segmented != params.plate:
        raise InputError(f"{params.segmentation} is of {segmented}; give the segmentation of {params.plate}.")
    return workspace.input(str(params.segmentation))


def _refuse_others(plate: Plate, references: Sequence[Plate]) -> None:
    """Refuse references that say nothing of what this plate should be like."""
    problems = []
    for reference in references:
        info = reference.info
        if (info.role, info.cell_line) != ("train", plate.info.cell_line):
            problems.append(f"the reference {info.name} is a {info.role} plate of {info.cell_line}")
        if info.name == plate.info.name:
            problems.append(f"the reference {info.name} is this plate itself, or a version of it")
    if problems:
        problems.append(f"give other training plates of {plate.info.cell_line}")
    raise_if_any(problems, plate.folder)


def _with_nuclei_found(rows: Sequence[dict[str, Any]], segmentation: Path) -> list[dict[str, Any]]:
    """Give the rows of report.json with the nuclei of `nuclei.csv` in place of the labelled ones."""
    columns = ["fov", "area_px", "touches_edge"]
    return with_nuclei_found(rows, read_csv(segmentation / "nuclei.csv", usecols=columns, dtype={"fov": str}))


def _warning(drift: Drift) -> str:
    plate, references = (_shown(value, drift.measure.unit) for value in (drift.plate_median, drift.reference_median))
    found = f"{drift.measure.title} {plate}, on the training plates {references} (distance {drift.distance:+.1f})"
    return f"{found}; perhaps {drift.perhaps}."


def _shown(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{number} {unit}".strip()


def _table(drifts: Sequence[Drift]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "measure": drift.measure.name,
            "unit": drift.measure.unit,
            "plate_fields": len(drift.plate),
            "reference_fields": len(drift.references),
            "plate_median": drift.plate_median,
            "reference_median": drift.reference_median,
            "spread": drift.spread,
            "distance": drift.distance,
            "is_outlier": drift.is_outlier,
        }
        for drift in drifts
    )


def _page(
    params: Params, plate: Plate, references: Sequence[Plate], drifts: Sequence[Drift], warnings: Sequence[str]
) -> str:
    compared = [drift for drift in drifts if drift.is_compared]
    names = [one.info.name for one in (plate, *references)]
    return pages.render(
        "drift.html.jinja",
        plate=plate,
        references=references,
        drifts=drifts,
        compared=compared,
        warnings=warnings,
        segmentation=params.segmentation,
        figure=pages.embedded(_drawn(compared, names)) if compared else None,
        shown=_shown,
        limit=OUTLIER_DISTANCE,
        least_spread_percent=100 * LEAST_SPREAD_OF_MEDIAN,
    )


def _drawn(drifts: Sequence[Drift], plates: Sequence[str]) -> bytes:
    """Give the strip plots as a PNG."""
    png = io.BytesIO()
    figures.strip_figure([_strip(drift) for drift in drifts], plates).savefig(png)
    return png.getvalue()


def _strip(drift: Drift) -> figures.Strip:
    fields = pd.concat([drift.plate, drift.references])
    values = {str(name): group.to_list() for name, group in fields.groupby("plate")[drift.measure.name]}
    width = OUTLIER_DISTANCE * drift.spread
    usual = (max(0.0, drift.reference_median - width), drift.reference_median + width)
    return figures.Strip(drift.measure.title, drift.measure.unit, values, usual)


TASK = Task(
    name="drift",
    version=3,
    params_type=Params,
    run=run,
    log=log_result,
    resources=Resources(memory_gib=2),
)

if __name__ == "__main__":
    sys.exit(TASK.main())
