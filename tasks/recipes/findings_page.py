"""Write a page of what matrices found on the paper's statements, with figures, uncertainty and cost.

    python -m tasks.recipes.findings_page FOLDER [NAME=DATA ...]

DATA is the folder `data` that `tabulate` made of a matrix and logged to MLflow. FOLDER gets README.md and figures/, and
keeps the scores and costs of each matrix in data/NAME, to which those of later runs are added.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.contract import BAD_INPUT, DONE
from tasks.nuclei.errors import InputError
from tasks.nuclei.own_proposals import MARK, MEANING
from tasks.recipes import markdown
from tasks.steps.experiments.data import OWN, Data, merged, read_data, write_data
from tasks.steps.experiments.drawing import file_name
from tasks.steps.experiments.findings import NOT_RUN, findings_of
from tasks.steps.tabulate import COST_FIGURE, DATA, FIGURES, SPEC, Spec, draw, read_spec

TEMPLATE = "findings.md.jinja"
PAGE = "README.md"
DRAWN = ("replicates", "dots", "curves")
"""Forms of figures that the page shows; panels are too large to be kept beside it."""


@dataclass(frozen=True)
class Found:
    """What is said of a matrix."""

    name: str
    title: str
    statements: list[dict[str, Any]]
    """Each with `paper`, `table`, `both`, `of`, `against` and its `rows`, one for each cell line."""
    not_run: dict[str, list[str]]
    """Statements of which the matrix has no experiments, with the pairs of these."""
    figures: dict[str, str]
    """Addresses relative to the page, by name."""
    plates: list[dict[str, Any]]
    experiments: int
    cpu_hours: float
    """Of all experiments, each as if it shared nothing with others."""
    is_flattered: bool
    """Whether models proposed some of the labels that they were scored against."""


def write_page(folder: Path, matrices: Mapping[str, Path]) -> Path:
    """Write the page and the figures that it shows, of these matrices and those that it has kept; gives its path."""
    for name, data in matrices.items():
        _keep(data, folder / DATA / name)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / FIGURES, ignore_errors=True)
    all_kept = sorted(path.parent for path in (folder / DATA).glob(f"*/{SPEC}"))
    found = [_found(kept.name, kept, folder) for kept in all_kept]
    (folder / PAGE).write_text(markdown.render(TEMPLATE, matrices=found, mark=MARK, meaning=MEANING))
    return folder / PAGE


def _keep(folder: Path, kept: Path) -> None:
    """Add what a run of a matrix found to what earlier ones did."""
    if not (folder / SPEC).exists():
        raise InputError(f"{folder} has no {SPEC}; give the folder data that `tabulate` made.")
    data = read_data(folder)
    if kept.exists():
        data = merged(read_data(kept), data)
    kept.mkdir(parents=True, exist_ok=True)
    write_data(data, kept)
    shutil.copyfile(folder / SPEC, kept / SPEC)


def _found(name: str, folder: Path, page_folder: Path) -> Found:
    spec, data = read_spec(folder), read_data(folder)
    given = spec.model_dump()
    rows = findings_of(given["findings"], given["tables"], data, list(spec.columns), spec.published)
    # A plate has a row for each of its label sets.
    plates = data.plates.drop_duplicates("plate").sort_values(["cell_line", "role", "plate"])
    statements = [_statement(of_one) for _, of_one in rows.groupby("finding")] if len(rows) else []
    return Found(
        name,
        spec.title,
        [one for one in statements if one["rows"]],
        _not_run([one for one in statements if not one["rows"]]),
        dict(_drawn(name, spec, data, page_folder)),
        [dict(zip(plates.columns, row, strict=True)) for row in plates.itertuples(index=False)],
        data.scores["experiment"].nunique(),
        float(data.costs["cpu_hours"].sum()),
        bool(data.costs[OWN].any()),
    )


def _statement(rows: pd.DataFrame) -> dict[str, Any]:
    """Give a statement with the rows of the cell lines that were run."""
    first = rows.iloc[0]
    told = {name: str(first[name]) for name in ("paper", "table", "expected", "both", "of", "against")}
    return {**told, "rows": rows[rows["verdict"] != NOT_RUN].to_dict("records")}


def _not_run(statements: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Give each statement once, with the pairs of experiments that it is about."""
    pairs: dict[str, list[str]] = {}
    for one in statements:
        pair = f"{one['of']} against {one['against']}"
        pairs.setdefault(f"{one['table']}. {one['paper']}", []).append(
            f"{one['both']}, {pair}" if one["both"] else pair
        )
    return pairs


def _drawn(name: str, spec: Spec, data: Data, page_folder: Path) -> Iterator[tuple[str, str]]:
    """Draw the figures of a matrix and keep those that the page shows."""
    shown = [figure for table in spec.tables for figure, form in table.figures.items() if form in DRAWN]
    kept = page_folder / FIGURES / name
    kept.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as drawn:
        draw(spec, data, [], Path(drawn))
        for figure in (*shown, COST_FIGURE):
            source = Path(drawn) / FIGURES / f"{file_name(figure)}.svg"
            if source.exists():
                shutil.copy(source, kept)
                yield figure, f"{FIGURES}/{name}/{source.name}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tasks.recipes.findings_page", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("folder", type=Path, help="for README.md, figures/ and data/")
    parser.add_argument("matrices", nargs="*", help="name of a matrix and its folder of data, as NAME=DATA")
    args = parser.parse_args(argv)
    try:
        pairs = [matrix.partition("=") for matrix in args.matrices]
        print(write_page(args.folder, {name: Path(data) for name, _, data in pairs}))
    except InputError as error:
        print(error, file=sys.stderr)
        return BAD_INPUT
    return DONE


if __name__ == "__main__":
    sys.exit(main())
