"""Nothing that the paper's matrix asks for is left out, on plates of its four cell lines with two label sets."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from nucleus_dags.planning import run_experiments
from tasks.contract import Result, execute
from tasks.recipes.paper_plates import SETS_OF_TABLE_S1
from tasks.steps.experiments.drawing import file_name
from tasks.steps.tabulate import COST_FIGURE, COSTS, FINDINGS, TASK, Params
from tests.paper_matrix import find, plan, store_paper_matrix
from tests.tracked import track_in

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params, Result]:
    """The tables of the paper's matrix, as if the pretrained weights had been there."""
    store = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        track_in(store, patch)
        store_paper_matrix(store)
        planned = plan(store)
        found = [one | {"missing": ""} for one in find(store, planned)["experiments"]]
        params = Params(**run_experiments.tables_of(planned["tabulate"], {"experiments": found}, []))
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
