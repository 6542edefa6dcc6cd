"""Nothing that the paper's matrix asks for is left out, on plates of its four cell lines with two label sets."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tifffile

from nucleus_dags.forms.run_experiments import run_experiments_form
from nucleus_dags.planning import run_experiments
from tasks.contract import Result, execute
from tasks.recipes.paper_plates import SETS_OF_TABLE_S1, TRAINING
from tasks.steps.experiments.drawing import file_name
from tasks.steps.tabulate import COST_FIGURE, COSTS, FINDINGS, TASK, Params
from tests.dags.forms.filled import filled
from tests.dags.stored_plates import add_plate
from tests.steps.test_tabulate import FOUND, image, plate, scored

pytestmark = pytest.mark.long


def paper_plate(store: Path, cell_line: str, kind: str) -> str:
    """Store a plate of the paper's name; those to test on have manual labels too."""
    path = plate(store, f"{cell_line}_{kind}", cell_line)
    info = store / path / "plate.json"
    role = "train" if kind == TRAINING else "test"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"role": role}))
    if role == "test":
        manual = store / path / "label_sets/manual"
        manual.mkdir(parents=True)
        tifffile.imwrite(manual / "f1.tif", image(FOUND[2]))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params, Result]:
    """The tables of the paper's matrix, from scores of models that find all nuclei, or two of three."""
    store = tmp_path_factory.mktemp("store")
    kinds = [(line, kind) for line, of_line in SETS_OF_TABLE_S1.items() for kind in of_line]
    plates = {(line, kind): paper_plate(store, line, kind) for line, kind in kinds}
    of_roles = [
        [path for (_, kind), path in plates.items() if (kind == TRAINING) == training] for training in (False, True)
    ]
    scores = {
        found: [scored(store, paths, found, f"{n}{found}") for n, paths in enumerate(of_roles)] for found in (2, 3)
    }
    imported = tmp_path_factory.mktemp("imported")
    for line, kind in kinds:
        add_plate(imported, f"{line}_{kind}", "train" if kind == TRAINING else "test", cell_line=line)
    planned = run_experiments.plan(filled(run_experiments_form(), matrix="paper"), imported, "manual__1")
    asked = {one["name"]: one["score_training"] for one in planned["find"]["experiments"]}
    content: dict[str, Any] = {
        "experiments": [
            {"name": name, "key": "0123456789abcdef", "missing": "", "scores": test}
            | {"training_scores": training if score_training else None}
            for number, (name, score_training) in enumerate(asked.items())
            for test, training in [scores[2 + number % 2]]
        ]
    }
    given = planned["tabulate"] | {"plates": list(plates.values())}
    params = Params(**run_experiments.tables_of(given, content, []))
    return store, params, execute(TASK, params, store)


def test_every_table_of_the_paper_is_made(made: tuple[Path, Params, Result]) -> None:
    store, params, result = made
    names = {path.stem for path in (store / result.outputs["tables"]).iterdir()}
    tables = {f"Table_{name}" for name in (*range(1, 9), "S1", "S3", "S4")}
    assert {file_name(table.name) for table in params.tables} == tables
    assert names == {*tables, "Table_S4_overfitting", "Fig._S3", "images", COSTS, FINDINGS}
    for name in tables - {"Table_S1"}:
        table = pd.read_csv(store / result.outputs["tables"] / f"{name}.csv")
        assert set(table["cell_line"]) == set(SETS_OF_TABLE_S1), name
        assert table["published"].notna().all(), name


def test_every_figure_of_the_paper_is_made(made: tuple[Path, Params, Result]) -> None:
    store, params, result = made
    wanted = {name for table in params.tables for name in table.figures} | {COST_FIGURE}
    wanted = {*(wanted - {"Fig. S3"}), *(f"Fig. S3{letter}" for letter in "ABCD")}
    assert len(wanted) == 19
    drawn = Counter(path.stem for path in (store / result.outputs["figures"]).iterdir())
    assert drawn == dict.fromkeys(map(file_name, wanted), 2)
    page = (store / result.outputs["page"]).read_text()
    assert "Figures that aren't here" not in page
    assert page.count("data:image/png") == len(wanted)


def test_every_image_set_of_the_paper_stands_beside_ours(made: tuple[Path, Params, Result]) -> None:
    store, _, result = made
    images = pd.read_csv(store / result.outputs["tables"] / "Table_S1.csv")
    assert len(images) == 12
    assert images["nuclei_difference"].notna().all()


def test_every_statement_of_the_paper_is_tried(made: tuple[Path, Params, Result]) -> None:
    store, _, result = made
    findings = pd.read_csv(store / result.outputs["tables"] / f"{FINDINGS}.csv")
    assert set(findings["verdict"]) <= {"agrees", "differs", "undecided"}
