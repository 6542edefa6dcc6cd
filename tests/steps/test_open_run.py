"""The MLflow runs of a DAG run: one, and one below it for each of its parts."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.contract import Result, execute
from tasks.steps import close_run
from tasks.steps.open_run import TASK, Params
from tasks.tracking import PARENT_TAG
from tests.tracked import track_in


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    track_in(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return tmp_path


def open_runs(store: Path, dag_run_id: str, *children: str) -> Result:
    params = Params(experiment="e", dag_run_id=dag_run_id, run_name="2026-11-26", children=list(children))
    return execute(TASK, params, store)


def test_a_dag_run_has_a_run_and_below_it_one_for_each_part_in_their_order(store: Path) -> None:
    result = open_runs(store, "first", "mask_rcnn", "fpn2_ws")
    children = [MlflowClient().get_run(run_id) for run_id in result.values["children"]]
    assert [child.info.run_name for child in children] == ["mask_rcnn, 2026-11-26", "fpn2_ws, 2026-11-26"]
    assert {child.data.tags[PARENT_TAG] for child in children} == {result.mlflow_run_id}
    parent = MlflowClient().get_run(str(result.mlflow_run_id))
    assert (parent.info.run_name, parent.data.tags.get(PARENT_TAG)) == ("2026-11-26", None)


def test_parts_may_have_a_name_of_their_own_that_says_on_what_they_are_trained(store: Path) -> None:
    params = Params(
        experiment="e", dag_run_id="d", run_name="2 methods", children=["fpn2_ws"], name_of_children="on a + b"
    )
    (child,) = execute(TASK, params, store).values["children"]
    assert MlflowClient().get_run(child).info.run_name == "fpn2_ws on a + b"


def test_a_dag_run_without_parts_has_one_run(store: Path) -> None:
    assert open_runs(store, "first").values == {"children": []}


def test_a_retry_finds_the_runs_that_a_first_attempt_opened(store: Path) -> None:
    first = open_runs(store, "first", "fpn2_ws")
    with_another = open_runs(store, "first", "fpn2_ws", "mask_rcnn")
    assert with_another.mlflow_run_id == first.mlflow_run_id
    assert with_another.values["children"][0] == first.values["children"][0]
    assert open_runs(store, "second", "fpn2_ws").values["children"] != first.values["children"]


def test_all_of_them_are_ended_together(store: Path) -> None:
    opened = open_runs(store, "first", "fpn2_ws", "mask_rcnn")
    runs = [str(opened.mlflow_run_id), *opened.values["children"]]
    execute(close_run.TASK, close_run.Params(mlflow_run_ids=runs, succeeded=True), store)
    assert {MlflowClient().get_run(run_id).info.status for run_id in runs} == {"FINISHED"}
