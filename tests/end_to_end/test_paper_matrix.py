"""The paper's matrix with a real Airflow and a real MLflow, where the store has all of it: what a second start does."""

import os
import time
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from tasks.recipes.paper_plates import SETS_OF_TABLE_S1
from tests.end_to_end.laboratory import Laboratory, laboratory
from tests.paper_matrix import EXPERIMENTS, store_paper_matrix

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

DAG_ID = "run_experiments"
TABLES = {f"Table_{name}.csv" for name in (*range(1, 9), "S1", "S3", "S4", "S4_overfitting")}
TABLES |= {"Fig._S3.csv", "images.csv", "Costs.csv", "Findings.csv"}
FIGURES = ["2A", "2B", "3A", "3B", "4A", "4B", "4C", "4D", "5A", "5B"]
FIGURES += ["S1A", "S1B", "S2A", "S2B", "S3A", "S3B", "S3C", "S3D"]
MOST_SECONDS = 180
"""On a machine that does other things too; by itself it is under a minute."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    with laboratory(tmp_path_factory.mktemp("nucleus")) as started:
        with patch.dict(os.environ, {"MLFLOW_TRACKING_URI": started.servers.mlflow_url}):
            store_paper_matrix(started.home.store)
        yield started


@pytest.fixture(scope="module")
def first(lab: Laboratory) -> str:
    return lab.run(DAG_ID, matrix="paper", stop_after_plan=False)


def test_all_experiments_are_found_and_every_table_and_figure_of_the_paper_is_in_mlflow(
    lab: Laboratory, first: str
) -> None:
    assert lab.note(DAG_ID, first).startswith(f"{EXPERIMENTS} experiments are scored, 0 of them in this run; 0 failed")
    assert lab.states(DAG_ID, first)["train"] == "skipped"
    [tabulated] = lab.results(DAG_ID, first)["tabulate"]
    run_id = tabulated["mlflow_run_id"]
    tables, figures = (
        {item.path.rpartition("/")[2] for item in lab.mlflow.list_artifacts(run_id, name)}
        for name in ("tables", "figures")
    )
    assert tables == TABLES
    assert {f"Fig._{name}.{ending}" for name in FIGURES for ending in ("svg", "png")} <= figures


def test_started_again_with_nothing_to_do_the_whole_matrix_is_soon_done(
    lab: Laboratory, first: str, record_property: Any
) -> None:
    started = time.monotonic()
    again = lab.run(DAG_ID, matrix="paper", stop_after_plan=False)
    seconds = time.monotonic() - started
    record_property("seconds with nothing to do", round(seconds))
    assert lab.note(DAG_ID, again).startswith(f"{EXPERIMENTS} experiments are scored, 0 of them in this run; 0 failed")
    assert seconds < MOST_SECONDS
    assert len(list((lab.home.store / "ingest").iterdir())) == sum(map(len, SETS_OF_TABLE_S1.values()))
