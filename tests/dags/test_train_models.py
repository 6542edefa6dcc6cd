"""The DAG `train_models`."""

import json
import subprocess
import sys
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from tests.repository import REPOSITORY

DAGS = REPOSITORY / "dags"


@pytest.fixture(scope="module")
def dag() -> Any:
    bag = DagBag(str(DAGS / "train_models.py"))
    assert bag.import_errors == {}
    return bag.dags["train_models"]


STEPS = (
    "open_run",
    "ingest_train",
    "ingest_test",
    "augment",
    "train",
    "calibrate",
    "register_model",
    "find_stored",
    "segment",
    "score",
    "first_champion",
    "report",
    "close_run",
)


def is_launched(task: Any) -> bool:
    return task.task_type == "LocalProcessOperator"


def test_the_steps_of_the_work_are_the_tasks(dag: Any) -> None:
    assert {task.task_id for task in filter(is_launched, dag.tasks)} == set(STEPS)


def test_launched_tasks_are_tried_again_later_and_later(dag: Any) -> None:
    for task in filter(is_launched, dag.tasks):
        assert task.retries == (8 if task.task_id == "train" else 2)
        assert task.retry_exponential_backoff == 2


def test_trainings_of_all_methods_share_a_pool(dag: Any) -> None:
    assert {task.task_id for task in dag.tasks if task.pool == "gpu"} == {"train"}


def test_tasks_that_need_much_memory_share_a_pool(dag: Any) -> None:
    large = {"ingest_train", "ingest_test", "augment", "calibrate", "register_model", "segment", "score", "report"}
    assert {task.task_id for task in dag.tasks if task.pool == "processing"} == large


def test_the_end_runs_after_a_failure_and_does_not_hide_it(dag: Any) -> None:
    assert {task.task_id for task in dag.teardowns} == {"summary", "close_run"}
    assert dag.get_task("summary").on_failure_fail_dagrun
    assert dag.get_task("report").downstream_task_ids == {"summary"}


def test_the_dag_file_is_read_fast_and_without_the_libraries_of_the_tasks() -> None:
    program = """
import airflow.sdk, json, sys, time
import airflow.providers.standard
started = time.process_time()
import train_models
print(json.dumps([time.process_time() - started, sorted(sys.modules)]))
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=DAGS, capture_output=True, text=True, check=True)
    seconds, modules = json.loads(ended.stdout.splitlines()[-1])
    assert seconds < 1
    assert not {"tasks", "numpy", "pandas", "tensorflow", "mlflow", "kubernetes"} & set(modules)
