"""A real Airflow tries what a new installation has on a labelled plate, before anything was trained."""

import os
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from nucleus_dags.local.home import Home
from tests.end_to_end.laboratory import Laboratory, laboratory
from tests.synthetic_plates import make_synthetic_plate
from tests.third_party_tools import make_tool, write_catalogue

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

DAG_ID = "try_models"


BROKEN = "external:stardist"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """With a tool whose weights it can't read."""
    folder, weights = tmp_path_factory.mktemp("nucleus"), tmp_path_factory.mktemp("weights")
    make_synthetic_plate(Home(folder).inbox / "annotated", role="test")
    write_catalogue(folder / "tools", {"stardist": make_tool(folder / "tools")})
    (weights / "stardist").mkdir()
    (weights / "stardist/threshold.txt").write_text("no number")
    with patch.dict(os.environ, {"NUCLEUS_WEIGHTS": str(weights)}), laboratory(folder) as started:
        yield started


def test_the_note_says_what_is_good_enough_and_what_was_not_tried(system: Laboratory) -> None:
    dag_run_id = system.run(DAG_ID, plate="annotated")
    note = system.note(DAG_ID, dag_run_id)
    assert note.startswith("Good enough at IoU 0.7 (F1 0.8 or more): ")
    assert "| base (version 1, champion) |" in note
    assert "| classical |" in note
    results = system.results(DAG_ID, dag_run_id)
    (answered,) = results["suffice"]
    assert answered["counts"]["models"] == 2
    assert list(results["report"][0]["params"]["scores"]) == ["base (version 1, champion)", "classical"]
    assert "none is in the store to go by" in answered["values"]["lines"][-1]


def test_a_model_that_breaks_is_named_with_its_error_and_the_others_are_judged(system: Laboratory) -> None:
    dag_run_id = system.run(DAG_ID, plate="annotated", models=["classical", BROKEN])
    note = system.note(DAG_ID, dag_run_id)
    assert "- **external stardist** failed, and isn't among the answers: stardist ended with status 1" in note
    assert "could not convert string to float: 'no number'" in note
    (answered,) = system.results(DAG_ID, dag_run_id)["suffice"]
    assert answered["counts"]["models"] == 1
    assert "| classical |" in note


def test_a_plate_is_segmented_by_a_model_that_needs_no_training(system: Laboratory) -> None:
    dag_run_id = system.run("segment_plate", plate="annotated", model="classical")
    (assembled,) = system.results("segment_plate", dag_run_id)["assemble_plate"]
    assert assembled["params"]["model"]["name"] == "classical"
    named = system.home.results / "annotated/classical"
    assert named.resolve() == system.home.store / assembled["outputs"]["assembled"]
    assert (named / "nuclei.csv").exists()
    assert str(named) in system.note("segment_plate", dag_run_id)
