"""From the registered versions and the plates of a store to the settings of a comparison's tasks."""

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from nucleus_dags import comparison
from nucleus_dags.assets import ANNOTATED_PLATES, REGISTERED_MODELS
from nucleus_dags.comparison import NothingToCompare
from tasks.steps import forgetting
from tasks.steps.score import Params as ScoreParams
from tasks.steps.segment import Params as SegmentParams
from tests.repository import REPOSITORY
from tests.stored_results import store_result

DAGS = REPOSITORY / "dags"
LISTED = {"outputs": {"models": "models.json"}}
THRESHOLDS = {"marker_threshold": 0.5, "foreground_threshold": 0.1}


def add_plate(store: Path, name: str, role: str, digest: str = "0" * 12, day: int = 1) -> str:
    path = f"ingest/{name}@{digest}"
    (store / path).mkdir(parents=True)
    (store / path / "plate.json").write_text(json.dumps({"name": name, "role": role, "cell_line": "U2OS"}))
    (store / path / "report.json").write_text(json.dumps({"frozen_at": f"2026-11-{day:02}T00:00:00"}))
    return path


def listed(version: int, in_store: bool = True, *aliases: str) -> dict[str, Any]:
    model = f"register_model/{version}" if in_store else None
    return {"version": version, "model": model, "aliases": list(aliases)}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two test plates, and three versions; the store lacks the model of the second."""
    for name, role in (("a", "test"), ("b", "test"), ("other", "train")):
        add_plate(tmp_path, name, role)
    for version in (1, 3):
        store_result(tmp_path, f"register_model/{version}", {"networks": [f"train_fpn/{version}"], **THRESHOLDS})
    models = [listed(1), listed(2, False), listed(3, True, "champion")]
    (tmp_path / "models.json").write_text(json.dumps(models))
    return tmp_path


def plan(store: Path) -> dict[str, Any]:
    return comparison.plan(store, LISTED, "manual__2026-11-23T04:18:05")


def test_every_version_that_the_store_holds_segments_every_test_plate_as_it_was_registered(store: Path) -> None:
    settings = comparison.segmentations(store, plan(store))
    assert [(setting["networks"], setting["plate"]) for setting in settings] == [
        (["train_fpn/1"], "ingest/a@000000000000"),
        (["train_fpn/1"], "ingest/b@000000000000"),
        (["train_fpn/3"], "ingest/a@000000000000"),
        (["train_fpn/3"], "ingest/b@000000000000"),
    ]
    for setting in settings:
        params = SegmentParams(**setting)
        assert (params.marker_threshold, params.fovs, params.model) == (0.5, None, None)


def test_of_a_test_plate_the_newest_version_counts(store: Path) -> None:
    corrected = add_plate(store, "a", "test", "1" * 12, day=2)
    assert plan(store)["plates"] == [corrected, "ingest/b@000000000000"]


def test_scores_come_back_to_their_versions_and_a_version_without_a_model_has_none(store: Path) -> None:
    planned = plan(store)
    scorings = comparison.scorings(planned, [{"outputs": {"segmentation": f"segment/{n}"}} for n in range(4)])
    assert [ScoreParams(**scoring).segmentations for scoring in scorings] == [
        ["segment/0", "segment/1"],
        ["segment/2", "segment/3"],
    ]
    settings = comparison.matrix_settings(planned, [{"outputs": {"scores": f"score/{n}"}} for n in range(2)])
    versions = forgetting.Params(**settings).versions
    assert [(scored.version, scored.aliases, scored.scores) for scored in versions] == [
        (1, [], "score/0"),
        (2, [], None),
        (3, ["champion"], "score/1"),
    ]


def test_without_a_test_plate_or_a_model_there_is_nothing_to_do(store: Path) -> None:
    (store / "models.json").write_text(json.dumps([listed(2, False)]))
    with pytest.raises(NothingToCompare, match="no registered model that the store holds"):
        plan(store)
    (store / "models.json").write_text(json.dumps([listed(1)]))
    for name in "ab":
        (store / "ingest" / f"{name}@000000000000").rename(store / name)
    with pytest.raises(NothingToCompare, match="No test plate is in the store; put one into the inbox"):
        plan(store)


MATRIX = """version,plate,cell_line,f1_at_0.7,f1_at_0.9,forgotten_at_0.7,forgotten_at_0.9
1,a,U2OS,0.9,0.5,,
1,b,HeLa,0.8,0.4,,
2,a,U2OS,,,,
2,b,HeLa,,,,
3,a,U2OS,0.75,0.5,0.15,0.0
3,b,HeLa,0.81,0.4,0.0,0.0
"""


@pytest.fixture
def matrix(tmp_path: Path) -> list[dict[str, str]]:
    (tmp_path / "matrix.csv").write_text(MATRIX)
    return comparison.read_matrix(tmp_path / "matrix.csv")


def test_the_table_has_the_newest_version_on_top_and_says_what_is_unknown(matrix: list[dict[str, str]]) -> None:
    assert comparison.matrix_table(matrix, [listed(1), listed(2, False), listed(3, True, "champion")]) == [
        "| version | a, U2OS | b, HeLa |",
        "|---|---|---|",
        "| 3 (champion) | 0.750 / 0.500 | 0.810 / 0.400 |",
        "| 2 | ? / ? | ? / ? |",
        "| 1 | 0.900 / 0.500 | 0.800 / 0.400 |",
    ]


def test_what_was_forgotten_is_named_and_a_gain_is_not(matrix: list[dict[str, str]]) -> None:
    assert comparison.forgotten_lines(matrix) == [
        "- version 3 on a: F1 at 0.7 0.750, 0.150 below the best earlier version"
    ]


def test_the_dags_and_the_task_mean_the_same_by_forgotten() -> None:
    assert comparison.NOTICEABLE_DROP == forgetting.NOTICEABLE_DROP


def test_a_comparison_starts_when_plates_have_come_or_versions_have_changed() -> None:
    dags = DagBag(str(DAGS)).dags
    assert dags["compare_models"].schedule == ANNOTATED_PLATES | REGISTERED_MODELS
    announcing = {dag_id for dag_id, dag in dags.items() for task in dag.tasks if REGISTERED_MODELS in task.outlets}
    assert announcing == {"train_models", "retrain_champion", "promote_model"}


def test_the_end_of_a_comparison_runs_after_a_failure_and_does_not_hide_it() -> None:
    dag = DagBag(str(DAGS / "compare_models.py")).dags["compare_models"]
    assert {task.task_id for task in dag.teardowns} == {"summary", "close_run"}
    assert dag.get_task("summary").on_failure_fail_dagrun
