"""What holds for all DAGs."""

from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from nucleus_dags.catalogue import CATALOGUE
from tests.repository import REPOSITORY

DAG_IDS = sorted(path.stem for path in (REPOSITORY / "dags").glob("*.py"))


@pytest.fixture(scope="module")
def dags() -> dict[str, Any]:
    bag = DagBag(str(REPOSITORY / "dags"))
    assert bag.import_errors == {}
    return bag.dags


def launched(dag: Any) -> set[str]:
    tasks = [task for task in dag.tasks if task.task_type == "LocalProcessOperator"]
    return {task.partial_kwargs["task"] if task.is_mapped else task.task for task in tasks}


def test_a_dag_file_holds_the_dag_of_its_name(dags: dict[str, Any]) -> None:
    assert sorted(dags) == DAG_IDS


def test_every_launched_task_is_in_the_catalogue_and_every_one_of_the_catalogue_is_a_module(
    dags: dict[str, Any],
) -> None:
    assert set().union(*map(launched, dags.values())) == set(CATALOGUE) - {"synthesize"}
    for entry in CATALOGUE.values():
        assert (REPOSITORY / f"{entry.module.replace('.', '/')}.py").exists()


@pytest.mark.parametrize("dag_id", DAG_IDS)
def test_a_dag_says_what_it_does_and_explains_every_field_of_its_form(dags: dict[str, Any], dag_id: str) -> None:
    dag = dags[dag_id]
    assert dag.description
    assert dag.doc_md
    for name, param in dag.params.items():
        assert dag.params.get_param(name).description, param


def test_dags_that_start_by_themselves_are_switched_on_by_a_person_and_run_one_at_a_time(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        if dag.timetable.can_be_scheduled:
            assert (dag.is_paused_upon_creation, dag.max_active_runs, dag.catchup) == (True, 1, False)
