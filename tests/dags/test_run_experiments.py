"""The DAG `run_experiments`."""

from itertools import pairwise
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from nucleus_dags.planning.types import ExperimentsPlan
from tests.dags.test_dags import DAGS, keys_taken_from

CHAIN = ["train", "calibrate", "segment", "score"]


@pytest.fixture(scope="module")
def dag() -> Any:
    bag = DagBag(str(DAGS / "run_experiments.py"))
    assert bag.import_errors == {}
    return bag.dags["run_experiments"]


def test_an_experiment_is_one_part_of_each_step_so_that_it_goes_on_alone_and_is_cleared_alone(dag: Any) -> None:
    (group,) = dag.task_group.get_task_group_dict().keys() - {None}
    of_group = dag.task_group.get_child_by_label(group)
    assert sorted(of_group.children) == sorted(CHAIN)
    for first, following in pairwise(CHAIN):
        assert first in dag.get_task(following).upstream_task_ids
        assert dag.get_task(following).trigger_rule == "all_success"


def test_rois_or_experiments_that_failed_do_not_keep_back_the_others(dag: Any) -> None:
    assert dag.get_task("rois_are_made").trigger_rule == "all_done"
    assert "augment" not in dag.get_task("train").upstream_task_ids
    assert dag.get_task("tabulate").trigger_rule == "all_done"


def test_a_matrix_that_is_started_twice_does_not_run_side_by_side(dag: Any) -> None:
    assert dag.max_active_runs == 1


def test_trainings_share_the_pool_of_the_gpus(dag: Any) -> None:
    assert {task.task_id for task in dag.tasks if task.pool == "gpu"} == {"train"}


def test_the_end_runs_after_a_failure_and_does_not_hide_it(dag: Any) -> None:
    assert {task.task_id for task in dag.teardowns} == {"summary", "close_run"}
    assert dag.get_task("summary").on_failure_fail_dagrun


def test_what_tasks_take_of_the_plan_is_in_it(dag: Any) -> None:
    assert keys_taken_from(dag, "plan") <= {*ExperimentsPlan.__annotations__, "plan", "return_value"}
