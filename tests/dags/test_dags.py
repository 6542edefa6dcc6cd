"""What holds for all DAGs."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import XComArg

from nucleus_dags.launchers import note_failure
from nucleus_dags.launchers.kinds import TRAIN
from nucleus_dags.manifest import HERE, manifest
from nucleus_dags.planning.types import RetrainingPlan, TrainModelsPlan
from tests.repository import REPOSITORY

DAGS = REPOSITORY / "dags"
DAG_IDS = sorted(path.stem for path in DAGS.glob("*.py"))
METHODS = REPOSITORY / "tasks/methods"
METHOD_NAMES = sorted(path.parent.name for path in METHODS.glob("*/method.py"))


@pytest.fixture(scope="module")
def dags() -> dict[str, Any]:
    bag = DagBag(str(DAGS))
    assert bag.import_errors == {}
    return bag.dags


def launched(dag: Any) -> dict[str, str]:
    """Give the tasks of the manifest that a DAG launches, by task id."""
    tasks = [task for task in dag.tasks if task.task_type == "LocalProcessOperator"]
    return {task.task_id: task.partial_kwargs["task"] if task.is_mapped else task.task for task in tasks}


def test_a_dag_file_holds_the_dag_of_its_name(dags: dict[str, Any]) -> None:
    assert sorted(dags) == DAG_IDS


def test_a_dag_and_its_modules_of_planning_and_of_the_form_have_one_name(dags: dict[str, Any]) -> None:
    shared = {
        "typed",
        "errors_plugin",
        "baseline",
        "candidates",
        "drift",
        "gate",
        "fields",
        "initial_weights",
        "methods",
        "own_proposals",
        "remarks",
        "retrainings",
    }
    shared |= {"runs", "segmentations", "types", "usability", "retraining_decision"}
    shared |= {"experiments", "experiment_params", "experiments_plan", "experiments_schema"}
    for folder in ("planning", "forms"):
        modules = {path.stem for path in (DAGS / "nucleus_dags" / folder).glob("*.py")} - {"__init__"}
        assert modules - shared <= set(dags)
    for dag_id, dag in dags.items():
        assert bool(dag.params) == (DAGS / "nucleus_dags/forms" / f"{dag_id}.py").exists()


def test_every_task_of_the_manifest_is_launched_by_a_dag_and_every_launched_one_is_there(dags: dict[str, Any]) -> None:
    trainings = {method["task"] for method in manifest()["methods"].values()}
    in_dags = {task for dag in dags.values() for task in launched(dag).values()}
    assert in_dags - {TRAIN} == set(manifest()["tasks"]) - trainings - {"synthesize"}
    for entry in manifest()["tasks"].values():
        assert (REPOSITORY / f"{entry['module'].replace('.', '/')}.py").exists()


def test_the_manifest_is_current() -> None:
    command = [sys.executable, "-m", "tasks.manifest", "--check"]
    checked = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert json.loads(HERE.read_text()) == manifest()


def words_in(path: Path) -> set[str]:
    return set(re.findall(r"\w+", path.read_text()))


@pytest.mark.parametrize("path", sorted(path.relative_to(DAGS).as_posix() for path in DAGS.glob("**/*.py")))
def test_no_module_of_the_dags_names_a_method(path: str) -> None:
    assert words_in(DAGS / path) & set(METHOD_NAMES) == set()


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_no_module_of_the_tasks_outside_of_its_folder_names_a_method(name: str) -> None:
    others = [path for path in (REPOSITORY / "tasks").glob("**/*.py") if not path.is_relative_to(METHODS / name)]
    assert [path for path in others if name in words_in(path)] == []


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_a_dag_says_what_it_does_and_explains_every_field_of_its_form(dags: dict[str, Any], dag_id: str) -> None:
    dag = dags[dag_id]
    assert dag.description
    assert dag.doc_md
    for name, param in dag.params.items():
        assert dag.params.get_param(name).description, param


def test_no_task_of_any_dag_fails_without_a_word_in_the_note(dags: dict[str, Any]) -> None:
    for task in (task for dag in dags.values() for task in dag.tasks):
        callback = task.partial_kwargs["on_failure_callback"] if task.is_mapped else task.on_failure_callback
        assert callback in (note_failure, [note_failure]), task.task_id


def test_dags_that_start_by_themselves_are_unpaused_by_a_person_and_run_one_at_a_time(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        if dag.timetable.can_be_scheduled:
            assert (dag.is_paused_upon_creation, dag.max_active_runs, dag.catchup) == (True, 1, False)


@pytest.mark.parametrize("dag_id", ["compare_models", "retrain_champion", "train_models"])
def test_before_models_segment_test_plates_one_task_asks_the_store_for_all_of_it(
    dags: dict[str, Any], dag_id: str
) -> None:
    segment = dags[dag_id].get_task("segment")
    assert list(segment.expand_input.value) == ["each"]
    assert segment.expand_input.value["each"].operator.task_id == "find_stored"
    assert dags[dag_id].get_task("score").upstream_task_ids >= {"segment"}


@pytest.mark.parametrize(("dag_id", "most"), [("train_models", 17), ("retrain_champion", 22)])
def test_the_grid_has_few_rows(dags: dict[str, Any], dag_id: str, most: int) -> None:
    assert len(dags[dag_id].tasks) <= most


@pytest.mark.parametrize("dag_id", ["train_models", "retrain_champion"])
def test_no_row_is_of_one_method_so_that_none_is_skipped_because_it_was_not_chosen(
    dags: dict[str, Any], dag_id: str
) -> None:
    assert not any(task_id.startswith("train_") for task_id in dags[dag_id].task_ids)
    assert launched(dags[dag_id])["train"] == TRAIN
    if dag_id == "train_models":
        assert {task.trigger_rule for task in dags[dag_id].tasks if not task.is_teardown} == {"all_success"}
        assert not any("branch" in task.task_type.lower() for task in dags[dag_id].tasks)


@pytest.mark.parametrize(
    ("dag_id", "keys"),
    [("train_models", TrainModelsPlan.__annotations__), ("retrain_champion", RetrainingPlan.__annotations__)],
)
def test_what_tasks_take_of_a_plan_is_in_the_plan(dags: dict[str, Any], dag_id: str, keys: dict[str, Any]) -> None:
    taken = keys_taken_from(dags[dag_id], "plan")
    assert {"open_run", "augment", "candidates", "settings"} <= taken <= {*keys, "return_value"}


def keys_taken_from(dag: Any, task_id: str) -> set[str]:
    """Give the keys of the XComs that the other tasks of a DAG take from a task."""
    taken = set()
    for task in dag.tasks:
        arguments = {**task.partial_kwargs, **task.expand_input.value} if task.is_mapped else task
        taken |= {key for operator, key in XComArg.iter_xcom_references(arguments) if operator.task_id == task_id}
    return taken


def test_a_retraining_without_anything_new_skips_its_decision_too(dags: dict[str, Any]) -> None:
    decide = dags["retrain_champion"].get_task("decide")
    assert decide.upstream_task_ids == {"plan", "report", "score", "judge"}
    assert decide.trigger_rule == "none_failed_min_one_success"


def test_the_programs_that_a_person_starts_do_not_load_airflow_themselves() -> None:
    program = "import sys, nucleus_dags.local.demo; sys.exit('airflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=DAGS).returncode == 0
